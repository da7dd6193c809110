//! Programs from PyPI, each set of them in a virtual environment of its own below target.

use crate::shell;
use anyhow::Result;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of the programs that a requirements file names, installed where they are missing.
pub(crate) fn programs(name: &str, requirements: &Path) -> Result<PathBuf> {
    let venv = shell::root().join("target").join(name);
    if !venv.join("bin/pip").is_file() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let programs = venv.join("bin");
    shell::run(Command::new(programs.join("pip")).args(["install", "--quiet", "--requirement"]).arg(requirements))?;
    Ok(programs)
}
