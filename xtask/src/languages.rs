//! `cargo xtask languages`: the order desk of every language, built by its own tools and played by one suite.

use crate::{plugins, shell};
use anyhow::{Context, Result};
use std::process::Command;

/// The Rust one is built with all other plugins.
const LANGUAGES: [&str; 4] = ["javascript", "python", "go", "c"];

/// Builds `examples/{rust,javascript,python,go,c}` and plays their common cases against each
///
/// Not a part of CI: four toolchains are large. What is missing is named with the command that installs it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Play what was built before
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    plugins::build()?;
    shell::build_host()?;
    for language in LANGUAGES.iter().filter(|_| !args.no_build) {
        let script = shell::root().join("examples").join(language).join("build.sh");
        shell::run(&mut Command::new(script)).with_context(|| format!("examples/{language}"))?;
    }
    let suite = ["nextest", "run", "--workspace", "--features", "plinth-tests/languages", "-E", "test(order_desk)"];
    shell::run(&mut shell::cargo(&suite))
}
