//! When there is load without swaps, and when each swap is due.

use anyhow::{Result, ensure};
use std::time::Duration;

/// Load without swaps and load with swaps take turns, so that what else the
/// machine does meets both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timetable {
    /// Of each round: first without swaps, then with swaps.
    steady: Duration,
    swapping: Duration,
    swaps: u32,
    rounds: u32,
}

impl Timetable {
    /// `swaps` in all, over `swapping` in all, and so much without swaps.
    pub(super) fn new(rounds: u32, swaps: u32, swapping: Duration, steady: Duration) -> Result<Self> {
        ensure!(swaps.is_multiple_of(rounds) && swaps > 0, "the swaps are shared out to {rounds} rounds");
        ensure!(!steady.is_zero() && !swapping.is_zero(), "both kinds of load take time");
        Ok(Self { steady: steady / rounds, swapping: swapping / rounds, swaps: swaps / rounds, rounds })
    }

    pub(super) fn rounds(&self) -> std::ops::Range<u32> {
        0..self.rounds
    }

    pub(super) fn end(&self) -> Duration {
        self.round() * self.rounds
    }

    fn round(&self) -> Duration {
        self.steady + self.swapping
    }

    /// When each swap is to be asked for.
    pub(super) fn due(&self) -> impl Iterator<Item = Duration> {
        let (table, gap) = (*self, self.swapping / self.swaps);
        self.rounds().flat_map(move |round| (0..table.swaps).map(move |swap| table.round() * round + table.steady + gap * swap))
    }

    pub(super) fn round_of(&self, at: Duration) -> u32 {
        u32::try_from(at.as_nanos() / self.round().as_nanos().max(1)).unwrap_or(u32::MAX)
    }

    pub(super) fn is_steady(&self, at: Duration) -> bool {
        at.saturating_sub(self.round() * self.round_of(at)) < self.steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_without_swaps() {
        let ms = Duration::from_millis;
        let table = Timetable::new(2, 4, ms(200), ms(100)).unwrap();
        assert_eq!(table.due().collect::<Vec<_>>(), [ms(50), ms(100), ms(200), ms(250)]);
        assert_eq!((table.end(), table.round_of(ms(149)), table.round_of(ms(150))), (ms(300), 0, 1));
        let steady = [0, 49, 50, 149, 150, 199, 200].map(|at| table.is_steady(ms(at)));
        assert_eq!(steady, [true, true, false, false, true, true, false]);
    }

    #[test]
    fn what_cannot_be_shared_out_is_refused() {
        let second = Duration::from_secs(1);
        for (swaps, swapping, steady) in
            [(3, second, second), (0, second, second), (2, Duration::ZERO, second), (2, second, Duration::ZERO)]
        {
            assert!(Timetable::new(2, swaps, swapping, steady).is_err(), "{swaps} {swapping:?} {steady:?}");
        }
    }
}
