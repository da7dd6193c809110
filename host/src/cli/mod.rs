//! The command line: what each command does, and how it ends.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to its user")]

mod answers;
mod audit;
mod client;
mod fleet;
mod invocation;
mod plugin;
mod postgres;
mod queue;
mod serve;
mod witness;

use crate::config::{HostConfig, REFERENCE};
use clap::{Args, Parser, Subcommand};
use client::ClientError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{path::PathBuf, process::ExitCode};

/// How a command ends, for programs that call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// It was tried and did not succeed; standard error says why.
    Failed,
    /// The command line or a file it names is wrong.
    Usage,
    /// The host could not be reached.
    Unreachable,
    /// What was verified contradicts itself or what was signed.
    Tampered,
    /// What was verified could not be read in full, or lacks signatures.
    Incomplete,
    /// The command line of a verification, or a file it names, is wrong.
    VerifyUsage,
    /// A tool that a build needs is not installed; standard error says how it is.
    Missing,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Failed | Exit::Tampered => 1,
            Exit::Usage | Exit::Incomplete => 2,
            Exit::Unreachable | Exit::VerifyUsage => 3,
            Exit::Missing => 4,
        })
    }
}

/// Why a command did not succeed.
#[derive(Debug)]
pub struct Complaint {
    pub exit: Exit,
    pub text: String,
}

impl Complaint {
    fn failed(text: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, text: text.into() }
    }

    fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into() }
    }
}

type Done = Result<(), Complaint>;

#[derive(Parser)]
#[command(name = "plinth", version, about = "Runs WebAssembly plugins in front of live traffic and swaps them without losing a request.")]
#[command(
    after_help = "Try it:\n  plinth serve\n  plinth plugin new --lang rust greeter\n  plinth plugin dev greeter --approve\n  plinth plugin list\n\n\
Exit codes: 0 done, 1 failed, 2 wrong usage or file, 3 host not reachable, 4 a tool to build with is missing."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a host. Without a configuration it uses embedded backends in ./data and listens on 127.0.0.1:7300.
    Serve(serve::Serve),
    /// Make, build, check, install and manage plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Look at queues; put dead letters back or forget them.
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Read and verify the audit log.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Cosign checkpoints of audit logs, for a team that does not run the hosts.
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
    /// Look at the hosts that share one state.
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// Look at calls that failed, and why.
    #[command(subcommand)]
    Invocation(invocation::InvocationCommand),
    /// Prepare a PostgreSQL database for hosts that may not change its schema.
    #[command(subcommand)]
    Postgres(postgres::PostgresCommand),
    /// Check a configuration or print the reference.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the OpenAPI 3.1 document of the HTTP API.
    Openapi,
    /// Compiles one component for the host that started it.
    #[command(hide = true)]
    CompileWorker { settings: String },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Read a configuration as `serve` would and say what is wrong with it.
    Check { file: PathBuf },
    /// Print every setting with its default.
    Reference,
}

/// Which host to talk to.
#[derive(Args)]
struct Remote {
    /// The host's address.
    #[arg(long, global = true, env = "PLINTH_URL", default_value = "http://127.0.0.1:7300")]
    url: String,
    /// The token of an API key, where the host has any.
    #[arg(long, global = true, env = "PLINTH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print JSON for programs.
    #[arg(long, global = true)]
    json: bool,
}

impl Remote {
    fn client(&self) -> Result<client::Client, Complaint> {
        Ok(client::Client::new(&self.url, self.token.clone())?)
    }

    /// Prints an answer: as it came for programs, as `text` makes it for people.
    fn print<T: DeserializeOwned>(&self, answer: Value, text: impl FnOnce(T) -> String) -> Done {
        if self.json {
            println!("{answer:#}");
            return Ok(());
        }
        let typed = serde_json::from_value(answer).map_err(|e| Complaint::failed(format!("the host's answer has another shape: {e}")))?;
        println!("{}", text(typed));
        Ok(())
    }
}

impl From<ClientError> for Complaint {
    fn from(error: ClientError) -> Self {
        let exit = match error {
            ClientError::BadAddress(_) => Exit::Usage,
            ClientError::NoAnswer { .. } => Exit::Unreachable,
            ClientError::Refused(_) | ClientError::NotAHost { .. } => Exit::Failed,
        };
        Self { exit, text: chain(&error) }
    }
}

/// The arguments of this process. Clap ends with 2 where they are wrong, which for a
/// verification would say that the log is incomplete.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        let verifies =
            std::env::args().skip(1).take(2).eq(["audit", "verify"]) || std::env::args().skip(1).take(2).eq(["audit", "check-proof"]);
        let exit = if verifies && error.use_stderr() {
            Exit::VerifyUsage
        } else if error.use_stderr() {
            Exit::Usage
        } else {
            Exit::Ok
        };
        // Nothing is left to do where even this cannot be printed.
        let _printed = error.print();
        exit.into()
    })
}

/// Runs one command to its end.
pub fn run(cli: Cli, env: impl Fn(&str) -> Option<String>) -> ExitCode {
    match dispatch(cli.command, env) {
        Ok(()) => Exit::Ok.into(),
        Err(complaint) => {
            eprintln!("plinth: {}", complaint.text);
            complaint.exit.into()
        }
    }
}

fn dispatch(command: Command, env: impl Fn(&str) -> Option<String>) -> Done {
    match command {
        Command::Serve(serve) => serve.run(env),
        Command::Plugin(command) => command.run(env),
        Command::Queue(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Witness(command) => command.run(),
        Command::Fleet(command) => command.run(),
        Command::Invocation(command) => command.run(),
        Command::Postgres(command) => command.run(),
        Command::Config(ConfigCommand::Check { file }) => check_config(&file, env),
        Command::Config(ConfigCommand::Reference) => {
            print!("{REFERENCE}");
            Ok(())
        }
        Command::Openapi => print_openapi(),
        Command::CompileWorker { settings } => plinth_runtime::compile_worker(&settings).map_err(Complaint::failed),
    }
}

fn check_config(file: &std::path::Path, env: impl Fn(&str) -> Option<String>) -> Done {
    let config = HostConfig::load(Some(file), env).map_err(|e| Complaint::usage(chain(&e)))?;
    println!("{}: good; listens on {}, keeps its data in {}", file.display(), config.api.listen, config.data.display());
    Ok(())
}

fn print_openapi() -> Done {
    let text = plinth_api::document().to_pretty_json().map_err(|e| Complaint::failed(e.to_string()))?;
    println!("{text}");
    Ok(())
}

/// An error and everything below it, for people.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

/// A runtime for commands that only talk to a host.
fn block_on<T>(work: impl Future<Output = Result<T, Complaint>>) -> Result<T, Complaint> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Complaint::failed(e.to_string()))?;
    runtime.block_on(work)
}
