//! One command for each chore of this repository: `cargo xtask --help` lists them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks to its user")]

mod audit_interop;
mod bench;
mod ci;
mod demo;
mod languages;
mod machine;
mod museum;
mod operations;
mod plugins;
mod promises;
mod python;
mod services;
mod shell;
mod test;
mod tidy;
mod toolchains;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Chores of the Plinth repository, one command each.
///
/// Start with `cargo xtask demo`: it builds the host and the reference plugins and
/// shows plugins being swapped under traffic. Before a commit: `cargo xtask ci`.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Test(test::Args),
    Ci(ci::Args),
    /// Builds the plugins and the fixtures as components and shows their sizes
    Plugins,
    Tidy(tidy::Args),
    Operations(operations::Args),
    Bench(bench::Args),
    Promises(promises::Args),
    Languages(languages::Args),
    AuditInterop(audit_interop::Args),
    Museum(museum::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Plugins => plugins::run(),
        Command::Tidy(args) => tidy::run(&args),
        Command::Operations(args) => operations::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Promises(args) => promises::run(&args),
        Command::Languages(args) => languages::run(&args),
        Command::AuditInterop(args) => audit_interop::run(&args),
        Command::Museum(args) => museum::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
