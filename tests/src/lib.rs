//! What the integration tests have in common: hosts, clients, packages, load, figures.
//!
//! A failure in here is a failed test, so these helpers panic with a reason.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test support: a failure here is a failed test")]
#![expect(clippy::print_stderr, reason = "figures and seeds are for whoever reads the test's output")]

pub mod client;
pub mod exposition;
pub mod figures;
pub mod gate;
pub mod host;
pub mod load;
pub mod package;
pub mod process;
pub mod scaffold;
pub mod wait;

pub use client::{Answer, Client};
pub use gate::Gate;
pub use host::TestHost;
pub use load::{Load, Neighbour};
pub use package::Package;
pub use process::{HostProcess, binary};
pub use scaffold::Scaffold;
pub use wait::{eventually, eventually_within};

use std::path::{Path, PathBuf};

/// The workspace's folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A generator from a seed that is printed, so that a failure can be had again.
pub fn seeded(what: &str, seed: u64) -> rand::rngs::StdRng {
    eprintln!("{what}: seed {seed}");
    rand::SeedableRng::seed_from_u64(seed)
}
