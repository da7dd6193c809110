//! `plinth-services up -- COMMAND`: the shared servers of a test run, for as long as the command runs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks to its user")]

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use plinth_services::{packages, shared::Servers};
use std::process::ExitCode;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

/// Servers for tests.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Starts Redis, RabbitMQ and PostgreSQL, runs the command and ends them; the exit code is the command's
    Up {
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Prints the Debian packages that are missing, one a line
    Missing,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Up { command } => up(&command).await,
        Chore::Missing => {
            packages::missing().iter().for_each(|package| println!("{package}"));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn up(command: &[String]) -> Result<ExitCode> {
    let (program, args) = command.split_first().context("no command")?;
    // From here on a signal is for the command: it ends in its own way, and the servers after it.
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let servers = tokio::select! {
        servers = Servers::start() => servers?,
        _ = interrupted.recv() => return Ok(ExitCode::FAILURE),
        _ = terminated.recv() => return Ok(ExitCode::FAILURE),
    };
    let mut child = Command::new(program)
        .args(args)
        .envs(servers.env())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("could not start {program}"))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            // A terminal sends it to the command as well.
            _ = interrupted.recv() => {}
            _ = terminated.recv() => terminate(child.id()),
        }
    };
    drop(servers);
    // A command that a signal ended has no code.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn terminate(id: Option<u32>) {
    use rustix::process::{Pid, Signal, kill_process};
    if let Some(pid) = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        // The only failure is that it has just ended.
        let _ = kill_process(pid, Signal::TERM);
    }
}
