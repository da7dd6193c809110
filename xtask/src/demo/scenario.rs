//! examples/ticketing/scenario.toml as types: what is played is data.

use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, rngs::StdRng};
use serde::Deserialize;
use std::{fmt, path::Path};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Applications under way at the same time.
    pub(crate) desks: usize,
    /// How often an application is read after a command; drawn evenly.
    pub(crate) reads: Vec<usize>,
    pub(crate) journeys: Vec<Journey>,
    pub(crate) amounts: Vec<Amount>,
    pub(crate) documents: Vec<Documents>,
    pub(crate) people: People,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Journey {
    pub(crate) name: String,
    pub(crate) weight: u32,
    pub(crate) steps: Vec<Verb>,
}

/// `to` is never reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Amount {
    pub(crate) weight: u32,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Documents {
    pub(crate) weight: u32,
    pub(crate) named: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct People {
    pub(crate) surnames: Vec<String>,
    pub(crate) given_names: Vec<String>,
    pub(crate) regions: Vec<String>,
    /// First and last year.
    pub(crate) born: (u16, u16),
    pub(crate) mobile_prefixes: Vec<String>,
}

/// A command; its name is the last part of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verb {
    Submit,
    Review,
    Approve,
    Reject,
    Withdraw,
}

impl Verb {
    pub(crate) const ALL: [Self; 5] = [Self::Submit, Self::Review, Self::Approve, Self::Reject, Self::Withdraw];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Review => "review",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Withdraw => "withdraw",
        }
    }

    /// The status an application has afterwards.
    pub(crate) fn leads_to(self) -> &'static str {
        match self {
            Self::Submit => "submitted",
            Self::Review => "in-review",
            Self::Approve => "approved",
            Self::Reject => "rejected",
            Self::Withdraw => "withdrawn",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Scenario {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("could not use {}", path.display()))
    }

    /// Refuses what could not be drawn from later.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        ensure!(scenario.desks > 0, "desks must be at least 1");
        ensure!(!scenario.reads.is_empty(), "reads must have a number");
        if let Some(empty) = scenario.journeys.iter().find(|journey| journey.steps.is_empty()) {
            bail!("the journey `{}` has no steps", empty.name);
        }
        ensure!(scenario.journeys.iter().any(|journey| journey.weight > 0), "no journey has a weight");
        ensure!(scenario.documents.iter().any(|documents| documents.weight > 0), "no documents have a weight");
        ensure!(scenario.amounts.iter().any(|amount| amount.weight > 0), "no amount has a weight");
        ensure!(scenario.amounts.iter().all(|amount| amount.from < amount.to), "an amount ends before it begins");
        scenario.people.check()?;
        Ok(scenario)
    }
}

impl People {
    fn check(&self) -> Result<()> {
        let digits = |text: &String, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        ensure!(!self.surnames.is_empty() && !self.given_names.is_empty(), "people need surnames and given names");
        ensure!(!self.regions.is_empty() && self.regions.iter().all(|region| digits(region, 6)), "a region is six digits");
        let mobile = |prefix: &String| digits(prefix, 3) && matches!(prefix.as_bytes(), [b'1', b'3'..=b'9', _]);
        ensure!(!self.mobile_prefixes.is_empty() && self.mobile_prefixes.iter().all(mobile), "a mobile prefix is 1, 3-9 and a digit");
        ensure!(self.born.0 <= self.born.1, "the first year of birth is after the last");
        Ok(())
    }
}

/// Draws by weight; `None` only from nothing, which `Scenario::parse` refuses.
pub(crate) fn draw<'a, T>(rng: &mut StdRng, items: &'a [T], weight: impl Fn(&T) -> u32) -> Option<&'a T> {
    let total: u32 = items.iter().map(&weight).sum();
    let mut left = rng.random_range(0..total.max(1));
    items.iter().find(|item| {
        let here = left < weight(item);
        left = left.saturating_sub(weight(item));
        here
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::shell;
    use rand::SeedableRng;

    pub(crate) fn shipped() -> Scenario {
        Scenario::load(&shell::root().join("examples/ticketing/scenario.toml")).unwrap()
    }

    #[test]
    fn the_shipped_scenario_uses_every_verb() {
        let steps: Vec<Verb> = shipped().journeys.into_iter().flat_map(|journey| journey.steps).collect();
        assert!(Verb::ALL.iter().all(|verb| steps.contains(verb)));
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        let text = std::fs::read_to_string(shell::root().join("examples/ticketing/scenario.toml")).unwrap();
        for (good, bad) in [
            ("desks = 40", "desks = 0"),
            ("[0, 1, 2]", "[]"),
            ("\"110101\"", "\"11010\""),
            ("\"130\"", "\"120\""),
            ("[1950, 2007]", "[2007, 1950]"),
            ("to = 20_000", "to = 1"),
            ("[people]", "[people]\nnicknames = []"),
        ] {
            assert!(text.contains(good), "{good}");
            assert!(Scenario::parse(&text.replace(good, bad)).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn weights_are_kept() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            counts[*draw(&mut rng, &[0_usize, 1, 2], |item| [1, 0, 3][*item]).unwrap()] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((2_300..2_700).contains(&counts[0]), "{counts:?}");
    }
}
