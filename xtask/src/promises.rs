//! `cargo xtask promises`: fault campaigns over private servers, with their figures in target/figures.

use crate::{plugins, shell};
use anyhow::Result;

/// Breaks brokers, databases, networks, hosts and the audit log on purpose and counts what was promised
///
/// Without a name all promises; `--long` for at least 10,000 acknowledgements per cell; `--help` after
/// `--` for the rest. Example: `cargo xtask promises --long P1 P5`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Promises and options, passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    crate::services::prepare()?;
    plugins::build()?;
    // In one selection with the campaigns, so that the host has the places where they end it.
    shell::build_host()?;
    shell::run(shell::cargo(&["run", "--package", "plinth-promises", "--"]).args(&args.arguments))
}
