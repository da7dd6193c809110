//! Calls cargo from inside another cargo's build without inheriting its choices.

use crate::toolchain::Toolchain;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What the user may have set on purpose, and what finds the network.
const KEPT: [&str; 6] = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_TARGET_DIR", "CARGO_TERM_"];
/// Everything else a running cargo leaves behind, by prefix.
const CLEARED: [&str; 15] = [
    "CARGO",
    "RUSTC",
    "RUSTFLAGS",
    "RUSTDOC",
    "MAKEFLAGS",
    "MFLAGS",
    "DEP_",
    "OUT_DIR",
    "TARGET",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "PROFILE",
    "DEBUG",
    "CLIPPY_",
];

/// Removes what an outer cargo, a build script or clippy has set.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let starts = |list: &[&str]| list.iter().any(|prefix| text.starts_with(prefix));
        if starts(&CLEARED) && !starts(&KEPT) {
            command.env_remove(&name);
        }
    }
}

/// How a guest is compiled. Given on the command line, so that a plugin in a workspace of its own is built alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Small, no unwinding, no source paths.
    Plugin,
    /// Compiled in little time, and overflows panic.
    Quick,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Quick => "plugin-quick",
        }
    }

    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Plugin => {
                &["inherits='release'", "opt-level='s'", "lto=true", "codegen-units=1", "panic='abort'", "strip='debuginfo'", "debug=false"]
            }
            Self::Quick => &["inherits='dev'", "opt-level=1", "panic='abort'", "strip='debuginfo'", "debug=false"],
        }
    }
}

/// One `cargo build` of guests.
pub(crate) struct Build<'a> {
    /// The workspace, or the one crate.
    pub(crate) manifest: &'a Path,
    /// `None`: where cargo puts it by itself.
    pub(crate) target_dir: Option<&'a Path>,
    pub(crate) profile: Profile,
    /// Empty: the crate of the manifest.
    pub(crate) packages: Vec<&'a str>,
    pub(crate) features: Vec<String>,
}

#[derive(Deserialize)]
struct Artifact {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Build<'_> {
    /// The core modules made, by the manifest of their crate.
    pub(crate) fn run(&self, toolchain: &Toolchain) -> Result<BTreeMap<PathBuf, PathBuf>> {
        let mut command = toolchain.cargo_build();
        command.arg("--manifest-path").arg(self.manifest);
        if let Some(target_dir) = self.target_dir {
            command.arg("--target-dir").arg(target_dir);
        }
        let profile = self.profile.name();
        command.args(["--lib", "--profile", profile, "--message-format", "json-render-diagnostics"]);
        for setting in self.profile.settings() {
            command.args(["--config", &format!("profile.{profile}.{setting}")]);
        }
        for package in &self.packages {
            command.args(["--package", package]);
        }
        if !self.features.is_empty() {
            command.args(["--features", &self.features.join(",")]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("could not start {:?}", command.get_program()))?;
        let mut modules = BTreeMap::new();
        for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
            let line = line.context("could not read cargo's messages")?;
            let Ok(artifact) = serde_json::from_str::<Artifact>(&line) else { continue };
            let module = artifact.filenames.into_iter().find(|file| file.extension().is_some_and(|e| e == "wasm"));
            if let ("compiler-artifact", Some(manifest), Some(module)) = (artifact.reason.as_str(), artifact.manifest_path, module) {
                modules.insert(manifest, module);
            }
        }
        let status = child.wait().context("could not wait for cargo")?;
        if !status.success() {
            bail!("`{}` failed ({status})", line_of(&command));
        }
        Ok(modules)
    }
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
