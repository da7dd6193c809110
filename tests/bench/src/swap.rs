//! A hundred swaps under an open-loop load: what fails, what mixes, what is late, what stays behind.

use crate::{
    api::{Api, Change, Guest},
    child::Server,
    figures::{Aim, Figures},
    load::{OpenLoop, Sample, Target, closed},
    stats::{median, percentile},
};
use anyhow::{Context, Result, bail, ensure};
use http::HeaderMap;
use std::{path::Path, time::Duration};

const CONNECTIONS: usize = 64;
/// Of the capacity, which was measured just before.
const UTILISATION: f64 = 0.6;
/// A rate counts as sustained if 99 of 100 answers come within this time.
const IN_TIME: Duration = Duration::from_millis(20);
const TRIAL: Duration = Duration::from_secs(3);
/// From one rate that was too much to the next that is tried.
const STEP: f64 = 0.9;

/// After the acknowledgement of a swap its calls count as around it for this long.
const AFTERMATH: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Swaps under load
    #[arg(long, default_value_t = 100)]
    swaps: u32,
    /// How long the swaps take together
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Load without swaps before that
    #[arg(long, default_value_t = 15)]
    steady_seconds: u64,
    /// Swaps afterwards, to see whether memory grows
    #[arg(long, default_value_t = 1_000)]
    further_swaps: u32,
}

/// Who answered one request: what the body says and what the host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    version: Version,
    /// Body, version header and the start of the digest header.
    told: (Version, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn of(text: &[u8]) -> Option<Self> {
        match text {
            b"1.0.0" => Some(Self::One),
            b"2.0.0" => Some(Self::Two),
            _ => None,
        }
    }
}

fn see(head: &HeaderMap, body: &[u8]) -> Option<Seen> {
    let told = Version::of(head.get("plinth-version")?.as_bytes())?;
    let digest = digest_start(head.get("plinth-digest")?.to_str().ok()?)?;
    Some(Seen { version: Version::of(body)?, told: (told, digest) })
}

/// Enough of a digest to tell two apart.
fn digest_start(digest: &str) -> Option<u64> {
    u64::from_str_radix(digest.strip_prefix("sha256:")?.get(..16)?, 16).ok()
}

/// When a swap was asked for and acknowledged, on the clock of the samples.
#[derive(Debug, Clone, Copy)]
struct Swap {
    asked: Duration,
    acknowledged: Duration,
    to: Version,
}

pub(crate) async fn run(root: &Path, args: &Args) -> Result<Figures> {
    ensure!(args.swaps.is_multiple_of(2), "an even number of swaps ends on the version it began with");
    let server = Server::host(root)?;
    let api = Api::new(server.url());
    let guests = [Guest::read(root, "fixtures", "bench-v2")?, Guest::read(root, "fixtures", "bench-v1")?];
    let digests = digests(&api, &guests).await?;
    let target = Target { address: server.address, path: "/x/bench/".to_owned() };
    closed(&target, CONNECTIONS, Duration::from_secs(2)).await?;
    let capacity = sustained(&target).await?;

    let load = OpenLoop::start(&target, CONNECTIONS, capacity * UTILISATION, see).await?;
    let steady = Duration::from_secs(args.steady_seconds);
    until(&load, steady).await;
    let mut swaps = vec![Swap { asked: Duration::ZERO, acknowledged: Duration::ZERO, to: Version::One }];
    for number in 0..args.swaps {
        until(&load, steady + Duration::from_secs(args.seconds).mul_f64(f64::from(number) / f64::from(args.swaps))).await;
        let guest = guests.iter().cycle().nth(number as usize % 2).context("there are two guests")?;
        let asked = load.elapsed();
        let change = api.install(guest).await?;
        let to = Version::of(change.version.as_bytes()).context("the host swapped to something else")?;
        swaps.push(Swap { asked, acknowledged: load.elapsed(), to });
    }
    until(&load, steady + Duration::from_secs(args.seconds)).await;
    let samples = load.stop().await?;
    let live_old = api.live_old("bench").await?;

    let mut figures = Figures::new("swap");
    judge(&samples, &swaps, &digests, steady, &mut figures);
    figures.add("live_old_after", live_old as f64, Aim::AtMost(0.0));
    figures.add("capacity_rps", capacity, Aim::Tell);
    figures.add("rss_growth_pct", growth(&server, &api, &guests, args.further_swaps).await?, Aim::AtMost(5.0));
    figures.add("rss_after_mib", server.rss_mib()?, Aim::Tell);
    Ok(figures)
}

/// The highest rate that an open loop gets answered in time. What a closed loop
/// reaches is more than that, since each of its wake-ups serves many requests:
/// 60 % of it can be too much for requests that come one by one.
async fn sustained(target: &Target) -> Result<f64> {
    let most = closed(target, CONNECTIONS, TRIAL).await?;
    let mut rate = most;
    while rate > most / 10.0 {
        let load = OpenLoop::start(target, CONNECTIONS, rate, see).await?;
        until(&load, TRIAL).await;
        let mut latencies: Vec<u64> = load.stop().await?.iter().map(Sample::latency_us).collect();
        if u128::from(percentile(&mut latencies, 99.0)) <= IN_TIME.as_micros() {
            return Ok(rate);
        }
        rate *= STEP;
    }
    bail!("not even a tenth of {most:.0} requests per second is answered in time")
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

fn judge(samples: &[Sample<Seen>], swaps: &[Swap], digests: &[(Version, u64)], steady: Duration, figures: &mut Figures) {
    let seen = || samples.iter().filter_map(|sample| sample.seen);
    let failed = samples.len() - seen().count();
    let mixed = seen().filter(|seen| seen.told.0 != seen.version || !digests.contains(&seen.told)).count();
    let stale = samples.iter().filter(|sample| is_stale(sample, swaps)).count();
    let real: Vec<Swap> = swaps.iter().skip(1).copied().collect();
    let p = |percent, keep: &dyn Fn(Duration) -> bool| {
        let mut latencies: Vec<u64> = samples.iter().filter(|s| keep(s.intended)).map(Sample::latency_us).collect();
        percentile(&mut latencies, percent) as f64
    };
    let around = |at: Duration| real.iter().any(|swap| (swap.asked..=swap.acknowledged + AFTERMATH).contains(&at));
    let steady_p99 = p(99.0, &|at| at < steady);
    let swap_p99 = p(99.0, &around);
    let between_p99 = p(99.0, &|at| at >= steady && !around(at));
    let took: Vec<f64> = real.iter().map(|swap| (swap.acknowledged - swap.asked).as_secs_f64() * 1e3).collect();
    figures.add("requests", samples.len() as f64, Aim::Tell);
    figures.add("swaps", real.len() as f64, Aim::Tell);
    figures.add("failed", failed as f64, Aim::AtMost(0.0));
    figures.add("mixed_versions", mixed as f64, Aim::AtMost(0.0));
    figures.add("stale_after_ack", stale as f64, Aim::AtMost(0.0));
    figures.add("p50_us", p(50.0, &|_| true), Aim::Tell);
    figures.add("p99_steady_us", steady_p99, Aim::Tell);
    figures.add("p99_swap_us", swap_p99, Aim::Tell);
    figures.add("p99_between_us", between_p99, Aim::Tell);
    figures.add("p99_swap_over_steady", swap_p99 / steady_p99, Aim::AtMost(2.0));
    figures.add("swap_median_ms", median(&took), Aim::Tell);
}

/// Whether a version answered that no request begun then should meet: neither
/// the one acknowledged last before it began, nor one that was asked for before it ended.
fn is_stale(sample: &Sample<Seen>, swaps: &[Swap]) -> bool {
    let Some(seen) = sample.seen else { return false };
    let settled = swaps.iter().rev().find(|swap| swap.acknowledged <= sample.began);
    let coming = swaps.iter().filter(|swap| swap.acknowledged > sample.began && swap.asked < sample.ended);
    !settled.into_iter().chain(coming).any(|swap| swap.to == seen.version)
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

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: (Version, u64) = (Version::One, 11);
    const TWO: (Version, u64) = (Version::Two, 22);

    fn sample(began: u64, ended: u64, version: Version, told: (Version, u64)) -> Sample<Seen> {
        let ms = Duration::from_millis;
        Sample { intended: ms(began), began: ms(began), ended: ms(ended), seen: Some(Seen { version, told }) }
    }

    fn swaps() -> Vec<Swap> {
        let swap =
            |asked, acknowledged, to| Swap { asked: Duration::from_millis(asked), acknowledged: Duration::from_millis(acknowledged), to };
        vec![swap(0, 0, Version::One), swap(100, 120, Version::Two), swap(200, 220, Version::One)]
    }

    #[test]
    fn the_old_version_may_answer_until_the_acknowledgement() {
        let check = |began, ended, told: (Version, u64), expected| {
            assert_eq!(is_stale(&sample(began, ended, told.0, told), &swaps()), expected, "{began}..{ended} {told:?}");
        };
        check(10, 11, ONE, false);
        check(10, 11, TWO, true);
        check(99, 130, ONE, false);
        check(99, 101, TWO, false);
        check(110, 115, ONE, false);
        check(120, 125, TWO, false);
        check(120, 125, ONE, true);
        check(150, 190, ONE, true);
        check(150, 201, ONE, false);
        check(230, 231, TWO, true);
    }

    #[test]
    fn figures_count_what_went_wrong() {
        let mut samples = vec![sample(10, 11, Version::One, ONE), sample(130, 131, Version::Two, ONE), sample(130, 140, Version::Two, TWO)];
        samples.push(sample(130, 131, Version::One, ONE));
        samples.push(sample(130, 131, Version::Two, (Version::Two, 11)));
        samples.push(Sample { seen: None, ..sample(140, 141, Version::One, ONE) });
        let mut figures = Figures::new("swap");
        judge(&samples, &swaps(), &[TWO, ONE], Duration::from_millis(50), &mut figures);
        let table = figures.table().to_string();
        let value = |key: &str| {
            let line = table.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        let found = ["requests", "swaps", "failed", "mixed_versions", "stale_after_ack", "p99_swap_over_steady"].map(value);
        assert_eq!(found, ["6", "2", "1", "2", "1", "10"]);
    }

    #[test]
    fn an_answer_names_its_version_three_times() {
        let mut head = HeaderMap::new();
        head.insert("plinth-version", "2.0.0".parse().unwrap());
        assert_eq!(see(&head, b"2.0.0"), None);
        head.insert("plinth-digest", format!("sha256:{:064x}", 5).parse().unwrap());
        assert_eq!(see(&head, b"2.0.0"), Some(Seen { version: Version::Two, told: (Version::Two, 0) }));
        assert_eq!(see(&head, b"3.0.0"), None);
    }
}
