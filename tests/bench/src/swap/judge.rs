//! What the samples of a load under swaps say: failed, mixed, stale, late.

use super::timetable::Timetable;
use crate::{
    figures::{Aim, Figures},
    load::Sample,
    stats::{median, percentile},
};
use http::HeaderMap;
use std::time::Duration;

/// After the acknowledgement of a swap its calls count as around it for this long.
const AFTERMATH: Duration = Duration::from_millis(100);

/// Who answered one request: what the body says and what the host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    version: Version,
    /// Body, version header and the start of the digest header.
    told: (Version, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        match text {
            b"1.0.0" => Some(Self::One),
            b"2.0.0" => Some(Self::Two),
            _ => None,
        }
    }
}

pub(super) fn see(head: &HeaderMap, body: &[u8]) -> Option<Seen> {
    let told = Version::of(head.get("plinth-version")?.as_bytes())?;
    let digest = digest_start(head.get("plinth-digest")?.to_str().ok()?)?;
    Some(Seen { version: Version::of(body)?, told: (told, digest) })
}

/// Enough of a digest to tell two apart.
pub(super) fn digest_start(digest: &str) -> Option<u64> {
    u64::from_str_radix(digest.strip_prefix("sha256:")?.get(..16)?, 16).ok()
}

/// When a swap was asked for and acknowledged, on the clock of the samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Swap {
    pub(super) asked: Duration,
    pub(super) acknowledged: Duration,
    pub(super) to: Version,
}

pub(super) fn judge(samples: &[Sample<Seen>], swaps: &[Swap], digests: &[(Version, u64)], timetable: &Timetable, figures: &mut Figures) {
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
    let ratios: Vec<f64> = timetable
        .rounds()
        .map(|round| {
            let here = |at| timetable.round_of(at) == round;
            p(99.0, &|at| here(at) && around(at)) / p(99.0, &|at| here(at) && timetable.is_steady(at))
        })
        .collect();
    let took: Vec<f64> = real.iter().map(|swap| (swap.acknowledged - swap.asked).as_secs_f64() * 1e3).collect();
    figures.add("requests", samples.len() as f64, Aim::Tell);
    figures.add("swaps", real.len() as f64, Aim::Tell);
    figures.add("failed", failed as f64, Aim::AtMost(0.0));
    figures.add("mixed_versions", mixed as f64, Aim::AtMost(0.0));
    figures.add("stale_after_ack", stale as f64, Aim::AtMost(0.0));
    figures.add("p50_us", p(50.0, &|_| true), Aim::Tell);
    figures.add("p99_steady_us", p(99.0, &|at| timetable.is_steady(at)), Aim::Tell);
    figures.add("p99_swap_us", p(99.0, &around), Aim::Tell);
    figures.add("p99_between_us", p(99.0, &|at| !timetable.is_steady(at) && !around(at)), Aim::Tell);
    figures.add("p99_swap_over_steady", median(&ratios), Aim::AtMost(2.0));
    figures.add("p99_swap_over_steady_best_round", ratios.iter().copied().fold(f64::INFINITY, f64::min), Aim::Tell);
    figures.add("p99_swap_over_steady_worst_round", ratios.iter().copied().fold(0.0, f64::max), Aim::Tell);
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
        judge(
            &samples,
            &swaps(),
            &[TWO, ONE],
            &Timetable::new(1, 2, Duration::from_millis(250), Duration::from_millis(50)).unwrap(),
            &mut figures,
        );
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
