//! A log that went on in new trees: each is verified, and that it says truly where the one before ended.

use super::{Check, EntryCheck, Finding, Findings, Link, Place, Report, Request, Source, bundles, root_at, tree, verify};
use crate::{
    checkpoint::Checkpoint,
    note::Note,
    policy::Policy,
    tile::{Resource, TILE_WIDTH, decode_bundle, width_at},
};

/// One tree of the log.
pub struct Epoch<'a, S> {
    /// Its files.
    pub source: &'a S,
    /// What to verify it against. Every epoch signs under an origin of its own.
    pub request: Request<'a>,
}

/// What was found in one tree.
#[derive(Clone, Debug)]
pub struct EpochReport {
    /// The tree, and the link to the one before.
    pub report: Report,
    /// What the first record says of the epoch before; none in the first epoch. A log that
    /// admits a loss here is sound: whoever kept a checkpoint of what is lost sees it from that.
    pub link: Option<Link>,
}

/// Verifies epochs, from the first: each as [`verify`] does, and that the first record of each
/// names the origin, the size and the root with which the one before ended.
///
/// Who leaves out the last epochs is not told that there are more: how many there are is the caller's knowledge.
pub fn verify_epochs<S: Source, C: EntryCheck>(epochs: &[Epoch<'_, S>], check: &C) -> Vec<EpochReport> {
    let mut reports: Vec<EpochReport> = Vec::with_capacity(epochs.len());
    for (at, epoch) in epochs.iter().enumerate() {
        let mut this = EpochReport { report: verify(epoch.source, check, &epoch.request), link: None };
        if let (Some(before), Some(last)) = (epochs.get(..at).filter(|before| !before.is_empty()), reports.last_mut()) {
            this.link = first_record(epoch.source, &mut this.report);
            if let Some(link) = &this.link {
                follow(link, before, check, &last.report, &mut this.report.findings);
            }
        }
        reports.push(this);
    }
    reports
}

/// The link in the first record. Whether that record is the tree's, [`verify`] has said.
fn first_record<S: Source>(source: &S, report: &mut Report) -> Option<Link> {
    let head = report.checkpoint.as_ref().filter(|found| found.is_met())?.checkpoint.clone();
    let not_one = |found: String| Finding::tampered(Place::Record(0), Check::Epoch, "a record that opens the epoch", found);
    if head.size() == 0 {
        report.findings.add(not_one("no record".to_owned()));
        return None;
    }
    let name = |width| Resource::Entries { index: 0, width };
    // What is missing or malformed has been said, too.
    let (bytes, served) = bundles::fetch_cut(source, name, width_at(head.size(), 0, 0), &mut Findings::default())?;
    let records = decode_bundle(&bytes, served.min(TILE_WIDTH)).ok()?;
    match Link::read(records.first()?, head.origin()) {
        Ok(link) => Some(link),
        Err(found) => {
            report.findings.add(not_one(found));
            None
        }
    }
}

/// `before` are the epochs before, whose last one is the one that `last` reports of.
fn follow<S: Source, C: EntryCheck>(link: &Link, before: &[Epoch<'_, S>], check: &C, last: &Report, findings: &mut Findings) {
    let expected = "a checkpoint that an epoch before signed";
    let signed = signed(link, before);
    let borne_out = signed.is_ok();
    match signed {
        Ok(()) => {}
        Err(Unsigned::Wrong(found)) => findings.add(Finding::tampered(Place::Record(0), Check::Epoch, expected, found)),
        Err(Unsigned::Unknown) => {
            let found = format!("one of {}, which is not among the logs that were given", link.signed_origin);
            findings.add(Finding::incomplete(Place::Record(0), Check::Epoch, expected, found));
        }
    }
    let Some(before) = before.last() else { return };
    let mut add = |expected: String, found: String| findings.add(Finding::tampered(Place::Record(0), Check::Epoch, expected, found));
    let Some(head) = last.checkpoint.as_ref().filter(|found| found.is_met()).map(|found| &found.checkpoint) else { return };
    if link.stored_origin != head.origin() {
        add(format!("the origin {}", head.origin()), link.stored_origin.clone());
        return;
    }
    let stored = match Checkpoint::new(head.origin(), link.stored_size, link.stored_root) {
        Ok(stored) => stored,
        Err(error) => return add("the size of a log".to_owned(), error.to_string()),
    };
    // The smaller tree has to be a prefix of the larger, whichever of the two was signed last.
    let (whole, part) = if stored.size() <= head.size() { (head, &stored) } else { (&stored, head) };
    if whole == &stored {
        let mut rest = Report { checkpoint: None, root: None, records: 0, files: 0, findings: Findings::default() };
        tree(before.source, check, whole, before.request.threads, &mut rest);
        findings.append(rest.findings);
    }
    let expected = format!("{} records under the root {} in {}", part.size(), part.root(), part.origin());
    match root_at(before.source, whole, part.size()) {
        Ok(root) if root == *part.root() => {
            let missing = missing(link);
            if borne_out && link.missing != missing {
                let told = |missing: Option<u64>| missing.map_or_else(|| "unknown".to_owned(), |missing| missing.to_string());
                let expected = format!("{} records missing", told(missing));
                findings.add(Finding::tampered(Place::Record(0), Check::Epoch, expected, told(link.missing)));
            }
        }
        Ok(root) => findings.add(Finding::tampered(Place::Record(0), Check::Epoch, expected, root)),
        Err(why) => findings.add(Finding::incomplete(Place::Record(0), Check::Epoch, expected, why)),
    }
}

/// Across epochs nobody can tell how many are missing; within one it is a subtraction.
fn missing(link: &Link) -> Option<u64> {
    (link.signed_origin == link.stored_origin).then(|| link.signed_size.saturating_sub(link.stored_size))
}

enum Unsigned {
    Wrong(String),
    /// Of an epoch whose key nobody has named, as after the backup of an older epoch than the last.
    Unknown,
}

/// That the checkpoint in the link is one of the log's, and the one that the link describes.
fn signed<S>(link: &Link, before: &[Epoch<'_, S>]) -> Result<(), Unsigned> {
    let names = |policy: &Policy| policy.logs().iter().any(|log| log.key.name().as_str() == link.signed_origin);
    let policy = before.iter().rev().map(|epoch| epoch.request.policy).find(|policy| names(policy)).ok_or(Unsigned::Unknown)?;
    let wrong = |error: String| Unsigned::Wrong(error);
    let note = Note::parse(link.signed_checkpoint.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let found = policy.evaluate(&note).map_err(|error| wrong(error.to_string()))?;
    let said = (link.signed_origin.as_str(), link.signed_size);
    if (found.checkpoint.origin(), found.checkpoint.size()) != said {
        return Err(wrong(format!("one of {} with {} records", found.checkpoint.origin(), found.checkpoint.size())));
    }
    if found.logs.is_empty() { Err(wrong("one without a signature that holds".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
