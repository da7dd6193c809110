//! Rust: cargo for `wasm32-unknown-unknown`, so that a plugin imports nothing but what it was given in WIT.

use super::{error::BuildError, project::Project, tools::Wanted};
use plinth_guest_build::{INSTALLS, Profile, TARGET, build_plugin, find_toolchain};

pub(super) fn make(project: &Project, release: bool) -> Result<Vec<u8>, BuildError> {
    let mut wanted = Wanted::default();
    let [anywhere, on_debian] = INSTALLS;
    let what = format!("a Rust compiler for {TARGET}");
    let with_rustup = format!("{anywhere}    # rustup itself: https://rustup.rs");
    let found = wanted.need(find_toolchain(), &what, &[&with_rustup, &format!("{on_debian}    # Debian, without rustup")]);
    let Some(toolchain) = found else { return Err(wanted.missing(project)) };
    let profile = if release { Profile::Plugin } else { Profile::Quick };
    build_plugin(&toolchain, &project.dir, profile, None).map_err(|error| BuildError::Rust(format!("{error:#}")))
}
