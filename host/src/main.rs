//! The `plinth` binary: arguments, environment, exit code.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    plinth::cli::run(plinth::cli::Cli::parse(), env)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
