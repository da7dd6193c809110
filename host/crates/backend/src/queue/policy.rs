//! What becomes of a delivery: the queue's state machine without its storage.

use plinth_capability::queue::{DELAY_MAX, QueueSpec, Settlement};
use std::time::Duration;

/// Guest-controlled: bytes kept of an error or reason.
const REASON_MAX: usize = 4_096;

/// Codes of [`plinth_capability::queue::DeadLetter::reason`].
pub(super) const REJECTED: &str = "rejected";
pub(super) const ATTEMPTS_EXHAUSTED: &str = "attempts-exhausted";
pub(super) const EXPIRED: &str = "expired";

/// What to do with a message whose delivery was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Forget,
    Retry {
        wait: Duration,
        error: String,
    },
    Die {
        reason: &'static str,
        error: String,
    },
    /// Available under the attempt number it had.
    PutBack,
}

/// `attempt` is the number of the settled delivery, `jitter` in `0.0..1.0`.
pub(super) fn step(spec: &QueueSpec, attempt: u32, settlement: Settlement, jitter: f64) -> Step {
    match settlement {
        Settlement::Ack => Step::Forget,
        Settlement::Release => Step::PutBack,
        Settlement::Dead { reason } => Step::Die { reason: REJECTED, error: shorten(reason) },
        Settlement::Retry { error, .. } if attempt >= spec.max_attempts => Step::Die { reason: ATTEMPTS_EXHAUSTED, error: shorten(error) },
        Settlement::Retry { after, error } => {
            let wait = after.map_or_else(|| backoff(spec, attempt, jitter), |after| after.min(DELAY_MAX));
            Step::Retry { wait, error: shorten(error) }
        }
    }
}

/// The wait after delivery number `attempt`: doubled for each earlier one up to
/// the queue's longest, then shortened by at most half, so that messages that
/// failed together do not come back together.
pub(super) fn backoff(spec: &QueueSpec, attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(32);
    let full = (u64::from(spec.backoff_ms) << doublings).min(u64::from(spec.backoff_max_ms));
    Duration::from_millis(full).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

fn shorten(mut text: String) -> String {
    if text.len() > REASON_MAX {
        text.truncate(text.floor_char_boundary(REASON_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(backoff_ms: u32, backoff_max_ms: u32, max_attempts: u32) -> QueueSpec {
        QueueSpec { backoff_ms, backoff_max_ms, max_attempts, ..QueueSpec::default() }
    }

    fn retry(after: Option<Duration>) -> Settlement {
        Settlement::Retry { after, error: "e".into() }
    }

    #[test]
    fn backoff_doubles_up_to_its_longest() {
        let spec = spec(500, 3_000, 9);
        let waits: Vec<_> = (1..=5).map(|attempt| backoff(&spec, attempt, 0.0).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 3_000, 3_000]);
        assert_eq!(backoff(&spec, 1, 1.0).as_millis(), 250);
    }

    #[test]
    fn the_last_attempt_dies_and_the_one_before_waits() {
        let spec = spec(10, 10, 3);
        assert!(matches!(step(&spec, 2, retry(None), 0.5), Step::Retry { .. }));
        assert_eq!(step(&spec, 3, retry(None), 0.5), Step::Die { reason: ATTEMPTS_EXHAUSTED, error: "e".into() });
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let Step::Die { error, .. } = step(&spec(1, 1, 1), 1, Settlement::Dead { reason: "é".repeat(4_000) }, 0.0) else {
            unreachable!("dead dies")
        };
        assert!(error.len() <= REASON_MAX && error.chars().all(|c| c == 'é'));
    }

    proptest! {
        #[test]
        fn backoff_stays_between_half_and_all(base in 0u32.., longest in 0u32.., attempt in 0u32.., jitter in 0.0f64..1.0) {
            let spec = spec(base, longest, u32::MAX);
            let full = backoff(&spec, attempt, 0.0);
            let wait = backoff(&spec, attempt, jitter);
            prop_assert!(full <= Duration::from_millis(u64::from(longest)));
            prop_assert!(wait <= full && wait + Duration::from_nanos(1) >= full / 2);
        }

        #[test]
        fn a_retry_ends_in_death_within_its_attempts(most in 1u32..50, jitter in 0.0f64..1.0) {
            let spec = spec(10, 100, most);
            let deliveries = (1u32..).find(|attempt| matches!(step(&spec, *attempt, retry(None), jitter), Step::Die { .. }));
            prop_assert_eq!(deliveries, Some(most));
        }

        #[test]
        fn a_given_wait_is_kept(ms in 0u64..1_000_000) {
            let after = Duration::from_millis(ms);
            prop_assert_eq!(step(&spec(10, 100, 5), 1, retry(Some(after)), 0.9), Step::Retry { wait: after, error: "e".into() });
        }
    }
}
