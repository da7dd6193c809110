//! Builds Rust guests into components, with whichever wasm toolchain the
//! machine has: what `cargo xtask`, the tests' build script and
//! `plinth plugin build` have in common.

mod all;
mod bomb;
mod cargo;
mod component;
mod guests;
mod surface;
mod toolchain;

pub use all::{Built, build_all, inputs};
pub use bomb::compile_bomb;
pub use cargo::Profile;
pub use component::{build_plugin, write_if_changed};
pub use guests::Kind;
pub use surface::{Surface, surface};
pub use toolchain::{INSTALLS, TARGET, Toolchain, ensure_toolchain, find_toolchain};

/// Goes to stderr, because a build script's stdout is read by cargo.
#[expect(clippy::print_stderr, reason = "a build tool tells its user what it does")]
fn say(text: &str) {
    eprintln!("guest-build: {text}");
}
