//! `cargo xtask promises`: breaks things on purpose and counts what was promised.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a campaign tells what it saw")]
#![expect(clippy::indexing_slicing, reason = "an answer of another shape ends the campaign, as it should")]

mod broker;
mod cell;
mod fleet;
mod hosts;
mod outbox;
mod publish;
mod records;
mod seats;
mod tamper;

use cell::Report;
use clap::{Parser, ValueEnum};
use std::process::ExitCode;

/// Which promise is put to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Promise {
    /// A confirmed publish is not lost.
    P1,
    /// A unit of work and its messages and records are all there or none is.
    P2,
    /// A message is gone only after its hook succeeded, or is a dead letter that says why.
    P3,
    /// What the audit log has acknowledged is in it once, without gaps, and signed soon.
    P4,
    /// Whatever is changed in the audit log is found from its files.
    P5,
    /// Each seat is sold once.
    P13,
    /// Hosts over one state agree on a change or leave all as it was.
    Fleet,
}

/// Runs fault cells, prints a table per promise and writes target/figures/promise-NAME.json
#[derive(Parser)]
struct Args {
    /// At least 10,000 acknowledgements per cell and longer faults, instead of a few seconds per cell; of P5 1,000 places per kind
    #[arg(long)]
    long: bool,
    /// Only cells whose name contains this
    #[arg(long)]
    cell: Option<String>,
    /// All of them, if none is named
    promises: Vec<Promise>,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) long: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    match campaign(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every promise was kept.
async fn campaign(args: Args) -> anyhow::Result<bool> {
    let mut promises = if args.promises.is_empty() { Promise::value_variants().to_vec() } else { args.promises };
    promises.sort_unstable();
    promises.dedup();
    let scale = Scale { long: args.long };
    let wanted = |cell: &str| args.cell.as_deref().is_none_or(|part| cell.contains(part));
    let mut kept = true;
    for promise in promises {
        kept &= match promise {
            Promise::P1 => told(&publish::campaign("promise-p1", publish::Consumer::Reads, scale, &wanted).await?),
            Promise::P2 => outbox::campaign(scale).await?,
            Promise::P3 => told(&publish::campaign("promise-p3", publish::Consumer::Fails, scale, &wanted).await?),
            Promise::P4 => records::campaign(scale).await?,
            Promise::P5 => tamper::campaign(scale).await?,
            Promise::P13 => seats::campaign(scale).await?,
            Promise::Fleet => fleet::campaign(scale).await?,
        };
    }
    Ok(kept)
}

fn told(report: &Report) -> bool {
    println!("{}", report.table());
    report.write();
    report.kept()
}
