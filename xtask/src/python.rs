//! Programs from PyPI, in a virtual environment below target.

use crate::shell;
use anyhow::Result;
use std::{ffi::OsStr, path::Path, process::Command};

/// Installs into an environment, which is made if it is not there: packages, or `--requirement` and a file.
pub(crate) fn install(environment: &Path, wanted: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    install_for("python3", environment, wanted)
}

/// The newest of these Pythons that is on the path and runs.
pub(crate) fn newest(names: &[&'static str]) -> Option<&'static str> {
    let runs = |name: &&&'static str| Command::new(**name).arg("--version").output().is_ok_and(|output| output.status.success());
    names.iter().find(runs).copied()
}

/// The same for another Python than the usual one.
pub(crate) fn install_for(python: &str, environment: &Path, wanted: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    let own = environment.join("bin/python");
    if !own.exists() {
        shell::run(Command::new(python).args(["-m", "venv"]).arg(environment))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    shell::run(Command::new(own).args(pip).args(wanted))
}
