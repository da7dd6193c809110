//! Which servers are installed, and the Debian packages of those that are not.

use std::{
    fs,
    path::{Path, PathBuf},
};

const POSTGRES: &str = "/usr/lib/postgresql";
/// The programs themselves: those of the same name in `/usr/sbin` change user and folder first.
pub(crate) const RABBITMQ: &str = "/usr/lib/rabbitmq/bin";

/// The Debian packages that the tests need and that are not there.
pub fn missing() -> Vec<&'static str> {
    let needed = [
        ("redis-server", on_path("redis-server")),
        ("rabbitmq-server", Path::new(RABBITMQ).join("rabbitmq-server").is_file() && on_path("epmd")),
        ("postgresql", postgres_programs().is_some()),
        ("openssl", on_path("openssl")),
        ("docker-registry", on_path("docker-registry")),
        ("util-linux", on_path("setpriv")),
        ("python3-venv", weed().is_file() || on_path("python3")),
    ];
    needed.into_iter().filter(|(_, there)| !there).map(|(package, _)| package).collect()
}

/// The S3-compatible server, in the folder of Python programs that `cargo xtask test` fills.
pub fn weed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/services/bin/weed")
}

/// The folder of the newest PostgreSQL that has its server.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRES).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("postgres").is_file().then_some((version, programs))
    });
    versions.max().map(|(_, programs)| programs)
}

fn on_path(program: &str) -> bool {
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(program).is_file())
}
