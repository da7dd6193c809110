//! `cargo xtask audit-interop`: the audit log against verifiers that are not ours.

use crate::{python, shell};
use anyhow::Result;
use std::{env, path::Path};

const REQUIREMENTS: &str = "examples/audit-verifier/requirements.txt";

/// Needs a newer Python than a plain Debian 12 has.
const AICS: &str = "aics-tlog==0.2.1";
const AICS_PYTHONS: [&str; 3] = ["python3.14", "python3.13", "python3.12"];

/// Holds the audit log's formats against a second verifier in Python, PyPI's `pymerkle`, and `aics-tlog` where its Python is
///
/// Not a part of CI: it installs Python packages, into a folder of its own below target.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<()> {
    let environment = shell::root().join("target/audit-interop");
    python::install(&environment, ["--requirement".as_ref(), shell::root().join(REQUIREMENTS).as_os_str()])?;
    let programs = environment.join("bin");
    // By itself, since the feature is of this crate alone and the rest need not be built for it.
    let test = ["test", "--package", "plinth-audit", "--features", "interop", "--test", "interop"];
    shell::run(shell::cargo(&test).env("PATH", first_on_the_path(&programs)?))?;
    let Some(python) = python::newest(&AICS_PYTHONS) else {
        println!("audit-interop: {AICS} was not tried, as it needs one of {}", AICS_PYTHONS.join(", "));
        return Ok(());
    };
    let environment = shell::root().join("target/audit-interop-aics");
    python::install_for(python, &environment, [AICS])?;
    let test = ["test", "--package", "plinth-audit", "--features", "interop-aics", "--test", "interop_aics"];
    shell::run(shell::cargo(&test).env("PATH", first_on_the_path(&environment.join("bin"))?))
}

#[expect(clippy::disallowed_methods, reason = "the programs of the tests are put before those of the user")]
fn first_on_the_path(programs: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(std::iter::once(programs.to_path_buf()).chain(env::split_paths(&path)))?)
}
