//! The audit log: appending over bare inserts and over a hash chain, and checking a million records offline.

mod append;
mod material;
mod offline;
mod rival;

use crate::{
    figures::{Aim, Figures},
    stats::median_ratio,
};
use anyhow::Result;
use append::Subject;
use plinth_services::Postgres;
use rival::{Bare, Chain};

/// Writers at once, on every side.
const WRITERS: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Each side has one turn per round
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only what begins with this, `append256` or `verify`: for a profile; nothing is written then
    #[arg(long, default_value = "")]
    only: String,
    /// PostgreSQL waits for its disk at each commit, as in production; the private servers of tests do not
    #[arg(long)]
    fsync: bool,
}

impl Args {
    /// Whether a part of the figures would be no file for programs.
    pub(crate) fn partly(&self) -> bool {
        !self.only.is_empty()
    }

    fn wants(&self, key: &str) -> bool {
        key.starts_with(&self.only)
    }
}

/// Appends of so many records each, and how many of them make a turn.
struct Size {
    key: &'static str,
    records: usize,
    calls: usize,
}

impl Size {
    fn aim(&self) -> Aim {
        if self.records == 256 { Aim::AtLeast(0.8) } else { Aim::Tell }
    }
}

const SIZES: [Size; 3] = [
    Size { key: "append1_over_bare", records: 1, calls: 4_000 },
    Size { key: "append64_over_bare", records: 64, calls: 800 },
    Size { key: "append256_over_bare", records: 256, calls: 400 },
];
const OVER_CHAIN: &str = "append256_over_chain";

pub(crate) async fn run(args: &Args) -> Result<Figures> {
    let mut figures = Figures::new("audit");
    let server = if args.fsync { Postgres::start_durable().await? } else { Postgres::start().await? };
    for size in SIZES.iter().filter(|size| args.wants(size.key)) {
        measure(&server, size, args, &mut figures).await?;
    }
    drop(server);
    if args.wants("verify") || args.wants("proof") {
        let rounds = args.rounds.min(3);
        // It keeps every core busy itself; nothing else runs meanwhile.
        tokio::task::block_in_place(|| offline::measure(rounds, &mut figures))?;
    }
    Ok(figures)
}

/// Baseline and subject take turns, in changing order, each on a database of its own.
async fn measure(server: &Postgres, size: &Size, args: &Args, figures: &mut Figures) -> Result<()> {
    let url = |name: &str| format!("{}/{name}_{}", server.url(), size.records);
    for name in ["bare", "subject", "chain"] {
        server.sql(&format!("create database {name}_{}", size.records)).await?;
    }
    let (mut bare, subject) = (Bare::open(&url("bare")).await?, Subject::open(&url("subject")).await?);
    let (mut bare_rates, mut subject_rates, mut chain_rates) = (Vec::new(), Vec::new(), Vec::new());
    // The first round opens what is opened lazily and is not counted.
    for round in 0..=args.rounds {
        let (mut theirs, mut ours) = (0.0, 0.0);
        for side in [round % 2, 1 - round % 2] {
            let calls = material::calls(size.calls, size.records)?;
            match side {
                0 => theirs = bare.turn(calls).await?,
                _ => ours = subject.turn(calls).await?,
            }
        }
        println!("{} round {round}: bare {theirs:.0}, audit log {ours:.0} records a second: {:.3}", size.key, ours / theirs);
        if round > 0 {
            bare_rates.push(theirs);
            subject_rates.push(ours);
        }
    }
    figures.add(size.key, median_ratio(&subject_rates, &bare_rates), size.aim());
    if size.records == 256 {
        let mut chain = Chain::open(&url("chain")).await?;
        for round in 0..=args.rounds {
            let rate = chain.turn(material::calls(rival::CHAINED, 1)?).await?;
            println!("{OVER_CHAIN} round {round}: chain {rate:.0} records a second");
            if round > 0 {
                chain_rates.push(rate);
            }
        }
        figures.add(OVER_CHAIN, median_ratio(&subject_rates, &chain_rates), Aim::Tell);
    }
    Ok(())
}
