//! The WIT of this host, in the binary: what a new plugin is given, and what one without copies of its own is built against.

/// `wit/platform.wit`: the worlds with everything in them.
pub(super) const PLATFORM: &str = include_str!("../../../../wit/platform.wit");

macro_rules! packages {
    ($($file:literal),+ $(,)?) => {
        /// `wit/deps`, one file for each package.
        pub(super) const PACKAGES: &[(&str, &str)] = &[$(($file, include_str!(concat!("../../../../wit/deps/", $file)))),+];
    };
}

packages![
    "plinth-audit.wit",
    "plinth-cache.wit",
    "plinth-context.wit",
    "plinth-database.wit",
    "plinth-hooks.wit",
    "plinth-log.wit",
    "plinth-metrics.wit",
    "plinth-outbox.wit",
    "plinth-queue.wit",
    "plinth-secrets.wit",
    "wasi-config.wit",
    "wasi-keyvalue-draft.wit",
    "wasi-keyvalue-draft2.wit",
    "wasi-logging.wit",
    "wasmcloud-messaging.wit",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path};

    #[test]
    fn every_package_is_in_the_binary() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/deps");
        let found: BTreeSet<String> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(found, PACKAGES.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
