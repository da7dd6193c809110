//! `cargo xtask bench NAME`: one bench, built for release, with its figures in target/figures.

use crate::{languages, plugins, shell};
use anyhow::Result;

/// Runs one bench and writes target/figures/NAME.json
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bench and its options, passed on as they are; `--help` lists the benches
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    bench: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    plugins::build()?;
    if args.bench.first().is_some_and(|name| name == "languages") {
        languages::build_all()?;
    }
    let mut cargo = shell::cargo(&["run", "--release", "--package", "plinth-bench", "--"]);
    shell::run(cargo.args(&args.bench))
}
