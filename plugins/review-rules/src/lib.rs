//! Reference plugin `review-rules`: the decision on changes of status. Built
//! twice, as version 1 and, with the feature `v2`, as version 2.

pub mod rules;

use plinth_sdk::*;
use rules::{Change, Ruling};

struct ReviewRules;

impl Decision for ReviewRules {
    fn decide(question: Question) -> Result<Verdict, HookError> {
        let change: Change = question.payload.parse().map_err(|error| HookError::reject("bad-question", error.to_string()))?;
        Ok(verdict(rules::decide(&change, &edition()?)))
    }
}

impl Health for ReviewRules {
    /// The rules still refuse what they must, with the configuration at hand.
    fn check() -> Result<(), Failure> {
        let edition = edition().map_err(|error| Failure::new("config", error.to_string()))?;
        match rules::decide(&Change::approval(0), &edition) {
            Ruling::Deny { .. } => Ok(()),
            other => Err(Failure::new("rules", format!("an approval without documents came out as {other:?}"))),
        }
    }
}

plugin!(ReviewRules: decision, health; no_panic_log);

fn verdict(ruling: Ruling) -> Verdict {
    let reason = |code: &str, message: String, rules: &str| Reason::new(code, message).detail("rules", rules);
    match ruling {
        Ruling::Abstain => Verdict::Abstain,
        Ruling::Allow => Verdict::Allow,
        Ruling::Hold { code, message, rules } => Verdict::Hold(reason(code, message, rules)),
        Ruling::Deny { code, message, rules } => Verdict::Deny(reason(code, message, rules)),
    }
}

#[cfg(not(feature = "v2"))]
fn edition() -> config::Result<rules::Edition> {
    Ok(rules::Edition::V1)
}

#[cfg(feature = "v2")]
fn edition() -> config::Result<rules::Edition> {
    let hold_above = config::parse("hold-above")?.unwrap_or(rules::HOLD_ABOVE);
    Ok(rules::Edition::V2 { hold_above })
}
