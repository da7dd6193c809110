//! Which versions may answer when: after a swap is acknowledged, no answer begun later comes from the old one.

use std::{collections::BTreeMap, time::Instant};

/// One version and how the final line calls it.
#[derive(Debug, Clone)]
struct Known {
    label: String,
    /// Told by the first acknowledgement.
    digest: Option<String>,
}

#[derive(Debug, Clone)]
struct Swap {
    asked: Instant,
    acked: Option<Instant>,
    version: String,
}

/// The history of one slot, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    known: BTreeMap<String, Known>,
    swaps: Vec<Swap>,
}

impl Timeline {
    /// Starts a swap to `version`; the answer is passed to `acked`. Versions
    /// are labelled v1, v2, … in the order asked for.
    pub(crate) fn asked(&mut self, version: &str, now: Instant) -> usize {
        let label = format!("v{}", self.known.len() + 1);
        self.known.entry(version.to_owned()).or_insert(Known { label, digest: None });
        self.swaps.push(Swap { asked: now, acked: None, version: version.to_owned() });
        self.swaps.len() - 1
    }

    /// The host has said that the swap is done.
    pub(crate) fn acked(&mut self, swap: usize, digest: &str, now: Instant) {
        if let Some(swap) = self.swaps.get_mut(swap) {
            swap.acked = Some(now);
            if let Some(known) = self.known.get_mut(&swap.version) {
                known.digest.get_or_insert_with(|| digest.to_owned());
            }
        }
    }

    pub(crate) fn label(&self, version: &str) -> Option<&str> {
        self.known.get(version).map(|known| known.label.as_str())
    }

    /// What is wrong with an answer of `version` to a call made between the two instants.
    pub(crate) fn fault(&self, version: &str, digest: &str, begun: Instant, ended: Instant) -> Option<String> {
        if let Some(known) = self.known.get(version)
            && known.digest.as_deref().is_some_and(|known| known != digest)
        {
            return Some(format!("version {version} was answered under two digests"));
        }
        let settled = self.swaps.iter().rposition(|swap| swap.acked.is_some_and(|acked| acked <= begun)).unwrap_or(0);
        let allowed: Vec<&str> =
            self.swaps.iter().skip(settled).filter(|swap| swap.asked <= ended).map(|swap| swap.version.as_str()).collect();
        if allowed.contains(&version) {
            return None;
        }
        Some(format!("version {version} answered a call that began when only {} could", allowed.join(" or ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// 1.0.0 from the start, 2.0.0 asked at 10 and acknowledged at 20.
    fn timeline(start: Instant) -> Timeline {
        let mut timeline = Timeline::default();
        let first = timeline.asked("1.0.0", start);
        timeline.acked(first, "a", start);
        let second = timeline.asked("2.0.0", start + Duration::from_secs(10));
        timeline.acked(second, "b", start + Duration::from_secs(20));
        timeline
    }

    fn check(version: &str, begun: u64, ended: u64) -> bool {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let digest = if version == "1.0.0" { "a" } else { "b" };
        timeline(start).fault(version, digest, at(begun), at(ended)).is_none()
    }

    #[test]
    fn before_the_swap_only_the_old_one_answers() {
        assert!(check("1.0.0", 1, 2));
        assert!(!check("2.0.0", 1, 2));
    }

    #[test]
    fn during_the_swap_either_does() {
        assert!(check("1.0.0", 5, 25) && check("2.0.0", 5, 15) && check("1.0.0", 15, 16));
    }

    #[test]
    fn after_the_swap_only_the_new_one_answers() {
        assert!(check("2.0.0", 20, 21));
        assert!(!check("1.0.0", 20, 21));
    }

    #[test]
    fn a_version_has_one_digest() {
        let start = Instant::now();
        assert!(timeline(start).fault("1.0.0", "b", start, start).is_some_and(|fault| fault.contains("two digests")));
    }

    #[test]
    fn labels_follow_the_order_asked() {
        let timeline = timeline(Instant::now());
        assert_eq!((timeline.label("1.0.0"), timeline.label("2.0.0"), timeline.label("3.0.0")), (Some("v1"), Some("v2"), None));
    }
}
