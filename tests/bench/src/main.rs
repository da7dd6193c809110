//! Benches: each prints a table and writes target/figures/NAME.json; ratios come from one run against a bare baseline.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to the one who started it")]

mod api;
mod audit;
mod backends;
mod bare;
mod child;
mod dispatch;
mod engine;
mod figures;
mod hot_path;
mod languages;
mod load;
mod native;
mod stats;
mod swap;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Parser)]
#[command(name = "plinth-bench", about = "Measures the host against bare baselines.")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Requests under a hundred swaps: what fails, what is stale, what is late
    Swap(swap::Args),
    /// A request and a hook call next to native code and bare wasmtime
    HotPath(hot_path::Args),
    /// Redis, RabbitMQ and PostgreSQL through Plinth, next to their bare crates
    Backends(backends::Args),
    /// Appending to the audit log, and checking it offline, next to bare inserts, a hash chain and bare SHA-256
    Audit(audit::Args),
    /// The same plugin in five languages: size, compiling, first, fresh and warm calls, memory
    Languages,
    #[command(hide = true)]
    ServeNative,
    #[command(hide = true)]
    ServeBare { component: PathBuf },
}

/// What the host is started with, and starts itself with to compile.
const HOST_COMMANDS: [&str; 2] = ["serve", "compile-worker"];

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    if HOST_COMMANDS.contains(&command.as_str()) {
        // No environment: a bench measures the settings as they come.
        return plinth::cli::run(plinth::cli::Cli::parse(), |_| None);
    }
    match run(Cli::parse().bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plinth-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: Bench) -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("the bench is not in its workspace")?;
    let figures = match bench {
        Bench::ServeNative => return server()?.block_on(native::run()),
        Bench::ServeBare { component } => return server()?.block_on(bare::run(&component)),
        Bench::Swap(args) => client()?.block_on(swap::run(root, &args))?,
        Bench::Languages => server()?.block_on(languages::run(root))?,
        Bench::Backends(args) => server()?.block_on(backends::run(root, &args))?,
        Bench::Audit(args) => {
            let figures = server()?.block_on(audit::run(&args))?;
            if args.partly() {
                println!("{}", figures.table());
                return Ok(());
            }
            figures
        }
        Bench::HotPath(args) => {
            let dispatch = server()?.block_on(dispatch::run(root))?;
            client()?.block_on(hot_path::run(root, &args, dispatch))?
        }
    };
    println!("{}", figures.table());
    println!("written to {}", figures.write(root)?.display());
    Ok(())
}

/// As the host's.
fn server() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The load comes from one thread, so that it takes as little as it can from
/// the server. Its clients would have processors of their own: here it must not
/// wait until another thread's slice ends, which would count as the server's delay.
fn client() -> Result<tokio::runtime::Runtime> {
    plinth_runtime::ask_for_short_slices();
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
