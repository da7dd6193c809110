//! `cargo xtask operations`: is the example of a fleet, `examples/operations`, valid and of one mind with the host?

mod checks;
mod example;
mod tools;

use crate::shell;
use anyhow::{Result, bail};
use example::Example;
use std::process::Command;

/// Checks examples/operations: Compose file and manifests by schema, and what they say of the host
///
/// Kubernetes and Compose have schemas; validators for both are installed from PyPI and npm into
/// `target/operations`, at fixed versions, the first time. What schemas cannot know is checked here:
/// that probes are routes of the host, that ports, users, times and names agree. Nothing is started.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<()> {
    // The host itself judges its configuration.
    shell::build_host()?;
    let config = shell::root().join("examples/operations/plinth.toml");
    shell::run(Command::new(shell::root().join("target/debug/plinth")).args(["config", "check"]).arg(config))?;
    let tools = tools::prepare(&shell::root().join("target/operations"))?;
    let folder = shell::root().join("examples/operations");
    let judged = tools.judge(&folder)?;
    let documents: usize = judged.files.values().map(Vec::len).sum();
    let mut problems = judged.problems;
    // A file that could not be read would be missing everywhere below.
    if problems.is_empty() {
        problems = checks::all(&Example::read(&folder, judged.files)?);
    }
    for problem in &problems {
        eprintln!("examples/operations/{problem}");
    }
    match problems.len() {
        0 => println!("operations: {documents} documents are valid and agree with the host"),
        1 => bail!("operations: 1 problem"),
        many => bail!("operations: {many} problems"),
    }
    Ok(())
}
