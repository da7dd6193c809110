//! What this host offers, read from the WIT at build time: the table the preflight compares with.

/// One interface of one package.
#[derive(Debug)]
pub(crate) struct Offered {
    /// `plinth:cache`
    pub(crate) package: &'static str,
    /// `buckets`
    pub(crate) interface: &'static str,
    /// `1.0.0`
    pub(crate) version: &'static str,
    pub(crate) functions: &'static [&'static str],
    /// Exported by plugins and called by the host, rather than the other way.
    pub(crate) hook: bool,
}

include!(concat!(env!("OUT_DIR"), "/contract.rs"));

/// Drafts of `wasi:config` with the same shape as the one in the table.
pub(crate) const CONFIG_DRAFTS: [&str; 2] = ["0.2.0-draft", "0.2.0-draft-2024-09-27"];

/// WASI packages that are linked and denied at run time, with their track.
pub(crate) const WASI: [&str; 7] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:http", "wasi:io", "wasi:random", "wasi:sockets"];
pub(crate) const WASI_TRACK: (u64, u64) = (0, 2);
