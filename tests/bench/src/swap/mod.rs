//! A hundred swaps under an open-loop load: what fails, what mixes, what is late, what stays behind.

mod judge;
mod timetable;

use crate::{
    api::{Api, Change, Guest},
    child::Server,
    figures::{Aim, Figures},
    load::{OpenLoop, Sample, Target, closed},
    stats::percentile,
};
use anyhow::{Context, Result, bail, ensure};
use judge::{Swap, Version, digest_start, judge, see};
use std::{path::Path, time::Duration};
use timetable::Timetable;

const CONNECTIONS: usize = 64;
/// Of the capacity, which was measured just before.
const UTILISATION: f64 = 0.6;
/// A rate counts as sustained if 99 of 100 answers come within this time.
const IN_TIME: Duration = Duration::from_millis(20);
const TRIAL: Duration = Duration::from_secs(3);
/// A rate counts as sustained if it is so many times in a row.
const TRIALS: usize = 2;
/// From one rate that was too much to the next that is tried.
const STEP: f64 = 0.9;
/// In each there is a while without swaps and then a share of the swaps.
const ROUNDS: u32 = 10;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Swaps under load; as many in each of ten rounds
    #[arg(long, default_value_t = 100)]
    swaps: u32,
    /// How long the swaps take together
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Load without swaps, a tenth of it before the swaps of each round
    #[arg(long, default_value_t = 20)]
    steady_seconds: u64,
    /// Swaps afterwards, to see whether memory grows
    #[arg(long, default_value_t = 1_000)]
    further_swaps: u32,
    /// Requests per second, instead of 60 % of the capacity that is measured first
    #[arg(long)]
    rate: Option<f64>,
}

pub(crate) async fn run(root: &Path, args: &Args) -> Result<Figures> {
    // An even number of rounds: the last swap is to the version the first began with.
    let timetable = Timetable::new(ROUNDS, args.swaps, Duration::from_secs(args.seconds), Duration::from_secs(args.steady_seconds))?;
    let server = Server::host(root)?;
    let operator = operator()?;
    let api = Api::new(server.url());
    let guests = [Guest::read(root, "fixtures", "bench-v2")?, Guest::read(root, "fixtures", "bench-v1")?];
    let digests = digests(&api, &guests).await?;
    let target = Target { address: server.address, path: "/x/bench/".to_owned() };
    closed(&target, CONNECTIONS, Duration::from_secs(2)).await?;
    let rate = match args.rate {
        Some(rate) => rate,
        None => sustained(&target).await? * UTILISATION,
    };

    let load = OpenLoop::start(&target, CONNECTIONS, rate, see).await?;
    let mut swaps = vec![Swap { asked: Duration::ZERO, acknowledged: Duration::ZERO, to: Version::One }];
    for (due, guest) in timetable.due().zip(guests.iter().cycle()) {
        until(&load, due).await;
        let asked = load.elapsed();
        let (api, guest) = (api.clone(), guest.clone());
        let change = operator.spawn(async move { api.install(&guest).await }).await??;
        let to = Version::of(change.version.as_bytes()).context("the host swapped to something else")?;
        swaps.push(Swap { asked, acknowledged: load.elapsed(), to });
    }
    until(&load, timetable.end()).await;
    let samples = load.stop().await?;
    let live_old = api.live_old("bench").await?;
    operator.shutdown_background();

    let mut figures = Figures::new("swap");
    judge(&samples, &swaps, &digests, &timetable, &mut figures);
    figures.add("live_old_after", live_old as f64, Aim::AtMost(0.0));
    figures.add("offered_rps", rate, Aim::Tell);
    figures.add("rss_growth_pct", growth(&server, &api, &guests, args.further_swaps).await?, Aim::AtMost(5.0));
    figures.add("rss_after_mib", server.rss_mib()?, Aim::Tell);
    Ok(figures)
}

/// Sends the components from a thread of its own: the load must not wait for it.
fn operator() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("operator").enable_all().build()?)
}

/// The highest rate that an open loop gets answered in time. What a closed loop
/// reaches is more than that, since each of its wake-ups serves many requests:
/// 60 % of it can be too much for requests that come one by one.
async fn sustained(target: &Target) -> Result<f64> {
    let most = closed(target, CONNECTIONS, TRIAL).await?;
    let mut rate = most;
    while rate > most / 10.0 {
        let mut in_time = 0;
        while in_time < TRIALS && answered_in_time(target, rate).await? {
            in_time += 1;
        }
        if in_time == TRIALS {
            return Ok(rate);
        }
        rate *= STEP;
    }
    bail!("not even a tenth of {most:.0} requests per second is answered in time")
}

async fn answered_in_time(target: &Target, rate: f64) -> Result<bool> {
    let load = OpenLoop::start(target, CONNECTIONS, rate, see).await?;
    until(&load, TRIAL).await;
    let mut latencies: Vec<u64> = load.stop().await?.iter().map(Sample::latency_us).collect();
    Ok(u128::from(percentile(&mut latencies, 99.0)) <= IN_TIME.as_micros())
}

/// Installs both once, so that their compiled code is cached, and ends on version 1.
async fn digests(api: &Api, guests: &[Guest]) -> Result<[(Version, u64); 2]> {
    let read = |change: &Change| Some((Version::of(change.version.as_bytes())?, digest_start(&change.digest)?));
    let mut found = Vec::new();
    for guest in guests {
        let change = api.install(guest).await?;
        found.push(read(&change).with_context(|| format!("this is not a guest of the bench: {change:?}"))?);
    }
    let found: [(Version, u64); 2] = found.try_into().ok().context("there are two guests")?;
    ensure!(found.map(|(version, _)| version) == [Version::Two, Version::One], "the guests are not the two versions: {found:?}");
    Ok(found)
}

async fn until<T: Send + 'static>(load: &OpenLoop<T>, time: Duration) {
    tokio::time::sleep(time.saturating_sub(load.elapsed())).await;
}

/// How much more memory the host takes after many more swaps, in percent.
async fn growth(server: &Server, api: &Api, guests: &[Guest], swaps: u32) -> Result<f64> {
    let before = server.rss_mib()?;
    for (_, guest) in (0..swaps).zip(guests.iter().cycle()) {
        // After an even number of swaps version 1 is active, as at the start.
        api.install(guest).await?;
    }
    Ok((server.rss_mib()? / before - 1.0) * 100.0)
}
