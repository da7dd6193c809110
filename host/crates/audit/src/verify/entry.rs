//! What records have to be, beyond being in the tree.

use super::{Check, Finding, Findings, Place};
use crate::canonical;

/// Rules for the records of one kind of log. Records are looked at by several threads,
/// each from left to right in a part of the log.
pub trait EntryCheck: Sync {
    /// What is kept of a record to compare it with the next one.
    type Mark: Clone + Send;

    /// Looks at one record; adds what is wrong with it.
    fn record(&self, index: u64, record: &[u8], findings: &mut Findings) -> Self::Mark;

    /// Looks at the record `index` and at the one before it. Not called across a gap.
    fn pair(&self, _index: u64, _before: &Self::Mark, _this: &Self::Mark, _findings: &mut Findings) {}
}

/// Records may be anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCheck;

impl EntryCheck for NoCheck {
    type Mark = ();

    fn record(&self, _index: u64, _record: &[u8], _findings: &mut Findings) {}
}

/// Records are in the form of [`crate::canonical`].
#[derive(Clone, Copy, Debug, Default)]
pub struct CanonicalEntries;

impl EntryCheck for CanonicalEntries {
    type Mark = ();

    fn record(&self, index: u64, record: &[u8], findings: &mut Findings) {
        if let Err(error) = canonical::check(record) {
            findings.add(Finding::tampered(Place::Record(index), Check::Canonical, "canonical JSON", error));
        }
    }
}
