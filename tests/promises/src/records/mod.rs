//! P4: four hosts append to one audit log while PostgreSQL and hosts are killed; what was acknowledged is there once, without gaps.

mod judge;
mod seat;
mod signed;

use crate::{Scale, hosts::Ground};
use anyhow::{Context, Result};
use plinth_tests::{eventually_within, figures};
use seat::{Acked, Seat};
use signed::{Lag, Watch};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

const HOSTS: [&str; 4] = ["one", "two", "three", "four"];
/// Writers at each host.
const WRITERS: usize = 8;
const SETTLED: Duration = Duration::from_secs(120);
/// Between two faults, so that there is a time outside of them that can be measured.
const QUIET: Duration = Duration::from_secs(7);

/// What is killed, and after which part of the records.
const FAULTS: [(f64, &[Victim]); 4] = [
    (0.2, &[Victim::Postgres]),
    (0.4, &[Victim::Host(1)]),
    (0.6, &[Victim::Postgres, Victim::Host(2)]),
    (0.8, &[Victim::Host(0), Victim::Host(3)]),
];

#[derive(Debug, Clone, Copy)]
enum Victim {
    Postgres,
    Host(usize),
}

/// What the writers have in common.
#[derive(Default)]
pub(crate) struct Work {
    /// Records to be acknowledged before it ends.
    wanted: u64,
    /// Whether all faults are over; it does not end before.
    struck: AtomicBool,
    /// Numbers that were given out: each try has one of its own.
    tried: AtomicU64,
    acked: watch::Sender<u64>,
}

/// Whether every acknowledged record is in the log once, without gaps, and was signed in time.
pub(crate) async fn campaign(scale: Scale) -> Result<bool> {
    let wanted = if scale.long { 200_000 } else { 60_000 };
    let ground = Ground::start().await?;
    let mut seats = Vec::new();
    for name in HOSTS {
        seats.push(Seat::new(name, ground.host(name, "").await?));
    }
    let work = Arc::new(Work { wanted, ..Work::default() });
    let began = Instant::now();
    let mut writing = JoinSet::new();
    for seat in &seats {
        for _ in 0..WRITERS {
            writing.spawn(seat::write(seat.client(), work.clone()));
        }
    }
    let watch = Watch::start(seats.iter().map(Seat::client).collect());
    let mut faults = Vec::new();
    let mut kills = 0_u64;
    let mut last = began;
    for (part, victims) in FAULTS {
        let at = (wanted as f64 * part) as u64;
        work.acked.subscribe().wait_for(|acked| *acked >= at).await?;
        tokio::time::sleep_until((last + QUIET).into()).await;
        let since = Instant::now();
        kills += victims.len() as u64;
        strike(&ground, &mut seats, victims).await?;
        all_write_again(&seats).await?;
        last = Instant::now();
        faults.push((since, last));
    }
    work.struck.store(true, Ordering::Relaxed);
    let mut acked: Vec<Acked> = Vec::new();
    while let Some(writer) = writing.join_next().await {
        acked.extend(writer.context("a writer panicked")??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let host = seats.first().and_then(Seat::host).context("a host")?;
    let found = judge::judge(host, &acked).await?;
    let signed = eventually_within(SETTLED, "everything is signed", async || {
        let tree = host.get("/v1/audit/log").await.ok()["trees"][0].clone();
        (tree["signed_size"].as_u64()? >= found.records).then_some(())
    });
    signed.await;
    let Lag { p99, over, measured } = watch.stop().await.lag(&acked, &faults);
    let sound = judge::verified(host).await?;
    figures::write(
        "promise-p4",
        &[
            ("hosts", HOSTS.len() as f64),
            ("kills", kills as f64),
            ("acked", acked.len() as f64),
            ("unknown", (work.tried.load(Ordering::Relaxed) - acked.len() as u64) as f64),
            ("records", found.records as f64),
            ("lost", found.lost as f64),
            ("duplicated", found.duplicated as f64),
            ("gaps", found.gaps as f64),
            ("epochs", found.epochs as f64),
            ("verified", f64::from(u8::from(sound))),
            ("checkpoint_lag_p99_s", p99),
            ("checkpoint_lag_over_2_s", over as f64),
            ("checkpoint_lag_measured", measured as f64),
            ("acked_per_s", acked.len() as f64 / seconds),
        ],
    );
    for wrong in &found.wrong {
        eprintln!("promise-p4: {wrong}");
    }
    let whole = found.lost == 0 && found.duplicated == 0 && found.gaps == 0 && found.epochs == 1;
    Ok(whole && sound && acked.len() as u64 >= wanted && p99 <= 2.0)
}

/// Kills all of them at once, and starts them again.
async fn strike(ground: &Ground, seats: &mut [Seat], victims: &[Victim]) -> Result<()> {
    for victim in victims {
        match victim {
            Victim::Postgres => ground.postgres.kill().await?,
            Victim::Host(number) => seats.get_mut(*number).context("a host")?.kill().await,
        }
    }
    for victim in victims {
        match victim {
            Victim::Postgres => ground.postgres.restart().await?,
            Victim::Host(number) => {
                let seat = seats.get_mut(*number).context("a host")?;
                seat.sit(ground.host(seat.name, "").await?);
            }
        }
    }
    Ok(())
}

/// A fault is over when every host has stored a record that was begun after it.
async fn all_write_again(seats: &[Seat]) -> Result<()> {
    for seat in seats {
        let host = seat.host().context("a host that was started again")?;
        eventually_within(SETTLED, "a host writes again", async || seat::append(host, "after", "the fault").await.ok()).await;
    }
    Ok(())
}
