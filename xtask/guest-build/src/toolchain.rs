//! Finds, or installs, something that compiles for wasm.

use crate::{cargo::clean, say};
use anyhow::{Result, bail};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// No WASI import at all: what a plugin may do is what it imports.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];

/// How guests are compiled on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The compiler in use brings the target's standard library.
    Target { cargo: OsString, rustc: OsString },
    /// Debian's compiler brings its sources; the library is built from them.
    BuildStd { linker: PathBuf },
}

/// What a user runs where nothing compiles for wasm: anywhere, and on Debian without rustup.
pub const INSTALLS: [&str; 2] = ["rustup target add wasm32-unknown-unknown", "apt-get install rustc-web cargo-web rust-web-src lld-22"];

/// The first that is there: the compiler in use, Debian's with build-std.
pub fn find_toolchain() -> Option<Toolchain> {
    if has_std() { Some(target()) } else { debian() }
}

/// The first that fits: the compiler in use, the same after `rustup target
/// add`, Debian's with build-std, the same after `apt-get install`.
pub fn ensure_toolchain() -> Result<Toolchain> {
    if has_std() {
        return Ok(target());
    }
    if runs("rustup", &["--version"]) {
        say(&format!("the {TARGET} library is missing; running `rustup target add {TARGET}`"));
        if runs("rustup", &["target", "add", TARGET]) && has_std() {
            return Ok(target());
        }
        say("rustup could not add it");
    }
    if let Some(found) = debian() {
        return Ok(found);
    }
    if Path::new("/etc/debian_version").exists() {
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(DEBIAN_PACKAGES);
        say(&format!("running `apt-get update` and `apt-get {}`", arguments.join(" ")));
        // Old lists are often good enough, so a failed update decides nothing.
        runs("apt-get", &["update"]);
        if runs("apt-get", &arguments)
            && let Some(found) = debian()
        {
            return Ok(found);
        }
        say("apt-get could not install them");
    }
    let [anywhere, on_debian] = INSTALLS;
    bail!("nothing on this machine compiles for {TARGET}: run `{anywhere}`, or on Debian `{on_debian}`")
}

impl Toolchain {
    /// `cargo build` for guests, before packages and features are chosen.
    pub(crate) fn cargo_build(&self) -> Command {
        let mut command = match self {
            Self::Target { cargo, rustc } => {
                let mut command = Command::new(cargo);
                clean(&mut command);
                command.env("RUSTC", rustc).arg("build");
                command
            }
            Self::BuildStd { linker } => {
                let mut command = Command::new("/usr/bin/cargo");
                clean(&mut command);
                // rustup's choice is for rustup's compiler, not for Debian's.
                command.env_remove("RUSTUP_TOOLCHAIN").env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
                command.args(["build", "-Zbuild-std=std,panic_abort", "-Zbuild-std-features="]);
                command.arg("--config").arg(format!("target.{TARGET}.linker={:?}", linker.display().to_string()));
                command
            }
        };
        // Panic messages name source files; the same sources give the same bytes
        // on every machine only if the registry's place is not among them.
        if let Some(home) = cargo_home() {
            command.env("CARGO_ENCODED_RUSTFLAGS", format!("--remap-path-prefix={}=registry", home.join("registry/src").display()));
        }
        command.args(["--target", TARGET]);
        command
    }

    /// Changes when a rebuild with the same sources would give other bytes.
    pub(crate) fn version(&self) -> String {
        let rustc = match self {
            Self::Target { rustc, .. } => rustc.clone(),
            Self::BuildStd { .. } => "/usr/bin/rustc".into(),
        };
        output(Command::new(rustc).arg("-vV")).unwrap_or_default()
    }
}

fn target() -> Toolchain {
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".into());
    Toolchain::Target { cargo, rustc: rustc() }
}

fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(variable("HOME")?).join(".cargo"));
    variable("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn rustc() -> OsString {
    variable("RUSTC").unwrap_or_else(|| "rustc".into())
}

fn has_std() -> bool {
    let Some(folder) = output(Command::new(rustc()).args(["--print", "target-libdir", "--target", TARGET])) else { return false };
    let Ok(files) = std::fs::read_dir(folder) else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

/// Only where its programs are on the user's path.
fn debian() -> Option<Toolchain> {
    let path = variable("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder == Path::new("/usr/bin")) {
        return None;
    }
    let present = [DEBIAN_SOURCES, "/usr/bin/cargo", "/usr/bin/rustc"].iter().all(|path| Path::new(path).exists());
    let linker = newest_linker(Path::new("/usr/bin"))?;
    present.then_some(Toolchain::BuildStd { linker })
}

/// The highest `wasm-ld-N`.
fn newest_linker(folder: &Path) -> Option<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("wasm-ld-")?.parse::<u32>().ok();
    let files = std::fs::read_dir(folder).ok()?.flatten().map(|file| file.path());
    files.filter_map(|path| Some((number(&path)?, path))).max().map(|(_, path)| path)
}

#[expect(clippy::disallowed_methods, reason = "cargo tells its build scripts which compiler is in use by environment only")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a program with its stdout on our stderr; see [`say`].
fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).stdout(std::io::stderr()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_linker_wins_by_number() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["wasm-ld-9", "wasm-ld-22", "wasm-ld-14", "wasm-ld", "wasm-ld-x", "ld-99"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(newest_linker(folder.path()), Some(folder.path().join("wasm-ld-22")));
        assert_eq!(newest_linker(Path::new("/nowhere")), None);
    }

    #[test]
    fn what_is_advised_is_what_is_installed() {
        let [anywhere, on_debian] = INSTALLS;
        assert!(anywhere.ends_with(TARGET) && on_debian.ends_with(&DEBIAN_PACKAGES.join(" ")));
    }

    #[test]
    fn build_std_is_asked_for_only_where_the_library_is_missing() {
        let arguments = |toolchain: &Toolchain| format!("{:?}", toolchain.cargo_build());
        assert!(!arguments(&Toolchain::Target { cargo: "cargo".into(), rustc: "rustc".into() }).contains("build-std"));
        let debian = arguments(&Toolchain::BuildStd { linker: "/usr/bin/wasm-ld-22".into() });
        assert!(debian.contains("-Zbuild-std=std,panic_abort") && debian.contains("/usr/bin/wasm-ld-22"), "{debian}");
    }
}
