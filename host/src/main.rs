//! The `plinth` binary: arguments, environment, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    match plinth::cli::parse() {
        Ok(cli) => plinth::cli::run(cli, env),
        Err(exit) => exit,
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
