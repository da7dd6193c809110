//! Programs from PyPI, in a virtual environment below target.

use crate::shell;
use anyhow::Result;
use std::{ffi::OsStr, path::Path, process::Command};

/// Installs into an environment, which is made if it is not there: packages, or `--requirement` and a file.
pub(crate) fn install(environment: &Path, wanted: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    let python = environment.join("bin/python");
    if !python.exists() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    shell::run(Command::new(python).args(pip).args(wanted))
}
