//! The order of play: an endless, seeded stream of acts that keeps each application's own order.

use super::scenario::{Scenario, Verb, draw};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Command(Verb),
    Read,
}

impl Act {
    /// Requests it takes: a command asks for a decision first.
    pub(crate) fn requests(self) -> u32 {
        match self {
            Self::Create | Self::Read => 1,
            Self::Command(_) => 2,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// From 0; a new application's first act is `Create`.
    pub(crate) application: u64,
    pub(crate) act: Act,
    /// Nothing more comes of this application.
    pub(crate) last: bool,
}

pub(crate) struct Script {
    scenario: Scenario,
    rng: StdRng,
    /// Applications under way, the one that rested longest first.
    open: VecDeque<(u64, VecDeque<Act>)>,
    begun: u64,
}

impl Script {
    pub(crate) fn new(scenario: Scenario, seed: u64) -> Self {
        Self { scenario, rng: StdRng::seed_from_u64(seed), open: VecDeque::new(), begun: 0 }
    }

    fn fill(&mut self) {
        while self.open.len() < self.scenario.desks {
            let acts = self.acts();
            self.open.push_back((self.begun, acts));
            self.begun += 1;
        }
    }

    fn acts(&mut self) -> VecDeque<Act> {
        let journey = draw(&mut self.rng, &self.scenario.journeys, |journey| journey.weight);
        let mut acts = VecDeque::from([Act::Create]);
        for verb in journey.map(|journey| journey.steps.as_slice()).unwrap_or_default() {
            acts.push_back(Act::Command(*verb));
            let reads = self.scenario.reads.choose(&mut self.rng).copied().unwrap_or_default();
            acts.extend(std::iter::repeat_n(Act::Read, reads));
        }
        acts
    }
}

impl Iterator for Script {
    type Item = Slot;

    /// One of the longer rested half, so that an application's acts lie well
    /// apart and one is seldom due before the one before it was answered.
    fn next(&mut self) -> Option<Slot> {
        self.fill();
        let half = self.open.len().div_ceil(2);
        let picked = self.rng.random_range(0..half.max(1));
        let (application, mut acts) = self.open.remove(picked)?;
        let act = acts.pop_front()?;
        let last = acts.is_empty();
        if !last {
            self.open.push_back((application, acts));
        }
        Some(Slot { application, act, last })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::scenario::tests::shipped, *};
    use std::collections::BTreeMap;

    fn played(seed: u64, slots: usize) -> Vec<Slot> {
        Script::new(shipped(), seed).take(slots).collect()
    }

    #[test]
    fn a_seed_is_a_play() {
        assert_eq!(played(3, 500), played(3, 500));
        assert_ne!(played(3, 500), played(4, 500));
    }

    #[test]
    fn each_application_goes_one_whole_journey() {
        let mut histories: BTreeMap<u64, Vec<Slot>> = BTreeMap::new();
        for slot in played(5, 3_000) {
            histories.entry(slot.application).or_default().push(slot);
        }
        let journeys: Vec<Vec<Verb>> = shipped().journeys.into_iter().map(|journey| journey.steps).collect();
        let verbs =
            |slots: &[Slot]| slots.iter().filter_map(|slot| if let Act::Command(verb) = slot.act { Some(verb) } else { None }).collect();
        let mut whole = 0;
        for slots in histories.values() {
            assert_eq!(slots[0].act, Act::Create);
            let (last, before) = slots.split_last().unwrap();
            assert!(before.iter().all(|slot| !slot.last));
            let verbs: Vec<Verb> = verbs(slots);
            assert!(!last.last || journeys.contains(&verbs), "{verbs:?}");
            whole += usize::from(last.last);
        }
        assert!(histories.len() - whole <= shipped().desks, "{whole} of {} ended", histories.len());
    }

    #[test]
    fn acts_of_one_application_lie_apart() {
        let mut last: BTreeMap<u64, usize> = BTreeMap::new();
        for (at, slot) in Script::new(shipped(), 6).take(5_000).enumerate() {
            if let Some(before) = last.insert(slot.application, at) {
                assert!(at - before >= 15, "{} acts apart", at - before);
            }
        }
    }
}
