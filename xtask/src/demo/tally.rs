//! What happened, counted: one sample per act, folded in one place, so that nothing is locked.

use super::scenario::Verb;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use std::{collections::BTreeMap, time::Duration};

/// Failures shown one by one; the rest are only counted.
const SHOWN_MAX: usize = 10;

/// What was tried in one act of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Create,
    Command(Verb),
    Read,
}

impl Kind {
    /// In the order of the table.
    fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Create).chain(Verb::ALL.map(Self::Command)).chain([Self::Read])
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Command(verb) => verb.name(),
            Self::Read => "read",
        }
    }
}

/// How an act ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Created, or carried out after an `allow`.
    Done,
    /// Not allowed: an answer like any other.
    Refused {
        verdict: String,
    },
    Read {
        hit: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    /// Requests that were sent.
    pub(crate) requests: u64,
    /// From the instant the script had planned, so that waiting counts.
    pub(crate) latency: Duration,
    /// Version that answered the decision, as v1, v2, …
    pub(crate) answered_by: Option<String>,
    pub(crate) ended: Result<Ended, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) done: u64,
    pub(crate) denied: u64,
    pub(crate) held: u64,
    pub(crate) failed: u64,
}

pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) kinds: BTreeMap<Kind, (Counts, Histogram<u64>)>,
    pub(crate) answered_by: BTreeMap<String, u64>,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) failed: u64,
    /// The first reasons.
    pub(crate) failures: Vec<String>,
    /// Of every act, in microseconds.
    all: Histogram<u64>,
}

/// From one microsecond to ten minutes, three digits; what is above counts as ten minutes.
fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 600_000_000, 3).context("could not make a histogram")
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        let kinds = Kind::all().map(|kind| Ok((kind, (Counts::default(), histogram()?))));
        Ok(Self {
            requests: 0,
            kinds: kinds.collect::<Result<_>>()?,
            answered_by: BTreeMap::new(),
            hits: 0,
            misses: 0,
            failed: 0,
            failures: Vec::new(),
            all: histogram()?,
        })
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.requests += sample.requests;
        if let Some(label) = sample.answered_by {
            *self.answered_by.entry(label).or_default() += 1;
        }
        let micros = u64::try_from(sample.latency.as_micros()).unwrap_or(u64::MAX);
        self.all.saturating_record(micros);
        let mut failure = None;
        if let Some((counts, latencies)) = self.kinds.get_mut(&sample.kind) {
            latencies.saturating_record(micros);
            counts.sent += 1;
            match sample.ended {
                Ok(Ended::Done) => counts.done += 1,
                Ok(Ended::Refused { verdict }) if verdict == "hold" => counts.held += 1,
                Ok(Ended::Refused { .. }) => counts.denied += 1,
                Ok(Ended::Read { hit }) => {
                    counts.done += 1;
                    *(if hit { &mut self.hits } else { &mut self.misses }) += 1;
                }
                Err(reason) => {
                    counts.failed += 1;
                    failure = Some(format!("{}: {reason}", sample.kind.name()));
                }
            }
        }
        if let Some(failure) = failure {
            self.fail(failure);
        }
    }

    /// A failure that belongs to no act: a swap, a check at the end.
    pub(crate) fn fail(&mut self, reason: String) {
        self.failed += 1;
        if self.failures.len() < SHOWN_MAX {
            self.failures.push(reason);
        }
    }

    pub(crate) fn commands(&self) -> u64 {
        self.of_commands().map(|counts| counts.sent).sum()
    }

    /// Commands carried out: as many changes of status.
    pub(crate) fn changes(&self) -> u64 {
        self.of_commands().map(|counts| counts.done).sum()
    }

    pub(crate) fn created(&self) -> u64 {
        self.kinds.get(&Kind::Create).map_or(0, |(counts, _)| counts.done)
    }

    fn of_commands(&self) -> impl Iterator<Item = &Counts> {
        self.kinds.iter().filter(|(kind, _)| matches!(kind, Kind::Command(_))).map(|(_, (counts, _))| counts)
    }

    pub(crate) fn p50_ms(&self) -> f64 {
        millis(&self.all, 0.5)
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        millis(&self.all, 0.99)
    }
}

/// A quantile, in milliseconds with one digit.
pub(crate) fn millis(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    (latencies.value_at_quantile(quantile) as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(kind: Kind, millis: u64, ended: Result<Ended, String>) -> Sample {
        let command = matches!(kind, Kind::Command(_));
        let answered_by = (command && ended.is_ok()).then(|| "v1".to_owned());
        Sample { kind, requests: if command { 2 } else { 1 }, latency: Duration::from_millis(millis), answered_by, ended }
    }

    #[test]
    fn a_refusal_is_an_answer_and_a_failure_is_not() {
        let mut tally = Tally::new().unwrap();
        let submit = Kind::Command(Verb::Submit);
        tally.add(sample(Kind::Create, 1, Ok(Ended::Done)));
        tally.add(sample(submit, 2, Ok(Ended::Done)));
        tally.add(sample(submit, 3, Ok(Ended::Refused { verdict: "deny".into() })));
        tally.add(sample(submit, 4, Ok(Ended::Refused { verdict: "hold".into() })));
        tally.add(sample(submit, 5, Err("answered 500".into())));
        tally.add(sample(Kind::Read, 6, Ok(Ended::Read { hit: true })));
        tally.add(sample(Kind::Read, 7, Ok(Ended::Read { hit: false })));
        assert_eq!(tally.kinds[&submit].0, Counts { sent: 4, done: 1, denied: 1, held: 1, failed: 1 });
        assert_eq!((tally.requests, tally.commands(), tally.changes(), tally.created()), (11, 4, 1, 1));
        assert_eq!((tally.hits, tally.misses, tally.failed), (1, 1, 1));
        assert_eq!(tally.failures, ["submit: answered 500"]);
        assert_eq!(tally.answered_by.get("v1"), Some(&3));
    }

    #[test]
    fn quantiles_are_in_milliseconds() {
        let mut tally = Tally::new().unwrap();
        for millis in 1..=100 {
            tally.add(sample(Kind::Read, millis, Ok(Ended::Read { hit: true })));
        }
        assert_eq!((tally.p50_ms(), tally.p99_ms()), (50.0, 99.0));
    }

    #[test]
    fn only_the_first_failures_are_kept() {
        let mut tally = Tally::new().unwrap();
        (0..25).for_each(|n| tally.fail(n.to_string()));
        assert_eq!((tally.failed, tally.failures.len()), (25, SHOWN_MAX));
    }
}
