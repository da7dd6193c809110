//! What a record of Plinth's audit log has to be, beyond being in the tree.

use super::{Check, EntryCheck, Finding, Findings, Place};
use crate::canonical;
use serde::{Deserialize, de::IgnoredAny};
use std::borrow::Cow;

/// 2020-01-01T00:00:00Z: no log is older.
const EARLIEST_MS: u64 = 1_577_836_800_000;

/// Records are canonical JSON with the members that every audit record has. Others may be there too.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditRecords {
    tolerance_ms: Option<u64>,
}

impl AuditRecords {
    /// Also asks that no record is older than the one before by more than this. Hosts
    /// write records some time after they stamped them, so without this any order is accepted.
    #[must_use]
    pub const fn in_order_within(tolerance_ms: u64) -> Self {
        Self { tolerance_ms: Some(tolerance_ms) }
    }
}

/// The members that are looked at.
#[derive(Deserialize)]
struct Form<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    recorded_at_ms: u64,
    #[serde(rename = "actor", borrow)]
    _actor: Cow<'a, str>,
    #[serde(rename = "plugin_id", borrow)]
    _plugin: Cow<'a, str>,
    #[serde(borrow)]
    entry: Entry<'a>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(rename = "subject")]
    _subject: IgnoredAny,
    #[serde(rename = "outcome")]
    _outcome: IgnoredAny,
}

impl EntryCheck for AuditRecords {
    /// When it was recorded, if that can be read.
    type Mark = Option<u64>;

    fn record(&self, index: u64, record: &[u8], findings: &mut Findings) -> Option<u64> {
        let place = Place::Record(index);
        if let Err(error) = canonical::check(record) {
            findings.add(Finding::tampered(place, Check::Canonical, "canonical JSON", error));
            return None;
        }
        let form: Form<'_> = match serde_json::from_slice(record) {
            Ok(form) => form,
            Err(error) => {
                findings.add(Finding::tampered(place, Check::Record, "an audit record", error));
                return None;
            }
        };
        let at = form.recorded_at_ms;
        let wrong = if !is_uuid(&form.id) {
            Some(("an id that is a UUID", form.id.into_owned()))
        } else if form.entry.action.is_empty() {
            Some(("an action", "none".to_owned()))
        } else if at < EARLIEST_MS {
            Some(("a time in 2020 or later", format!("{at} ms since 1970")))
        } else {
            None
        };
        if let Some((expected, found)) = wrong {
            findings.add(Finding::tampered(place, Check::Record, expected, found));
        }
        Some(at)
    }

    fn pair(&self, index: u64, before: &Option<u64>, this: &Option<u64>, findings: &mut Findings) {
        let (Some(tolerance), Some(before), Some(this)) = (self.tolerance_ms, before, this) else { return };
        if this.saturating_add(tolerance) < *before {
            let expected = format!("no earlier than {tolerance} ms before {before}");
            findings.add(Finding::tampered(Place::Record(index), Check::Order, expected, this));
        }
    }
}

/// 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = concat!(
        r#"{"actor":"user:1","entry":{"action":"order.refund","attributes":[],"outcome":{"result":"success"},"#,
        r#""subject":{"id":"7","kind":"order"}},"id":"01890a5d-ac96-774b-bcce-b302099a8057","plugin_id":"orders","recorded_at_ms":1800000000000}"#
    );

    fn found(record: &str) -> Vec<Check> {
        let mut findings = Findings::default();
        AuditRecords::default().record(0, record.as_bytes(), &mut findings);
        findings.list().iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn a_record_has_its_members_and_a_time() {
        assert_eq!(found(GOOD), []);
        assert_eq!(found(&GOOD.replace("\"actor\":", "\"actor\" :")), [Check::Canonical]);
        for (from, to) in [
            ("\"actor\"", "\"aktor\""),
            ("8057", "805"),
            ("01890a5d-", "01890a5da"),
            ("order.refund", ""),
            ("1800000000000", "1500000000000"),
            ("1800000000000", "-1"),
        ] {
            assert_eq!(found(&GOOD.replace(from, to)), [Check::Record], "{to}");
        }
    }

    #[test]
    fn order_is_asked_for_only_with_a_tolerance() {
        let count = |check: AuditRecords, before, this| {
            let mut findings = Findings::default();
            check.pair(1, &Some(before), &Some(this), &mut findings);
            findings.tampered()
        };
        assert_eq!(count(AuditRecords::default(), 1_000, 0), 0);
        assert_eq!(count(AuditRecords::in_order_within(500), 1_000, 500), 0);
        assert_eq!(count(AuditRecords::in_order_within(500), 1_000, 499), 1);
    }
}
