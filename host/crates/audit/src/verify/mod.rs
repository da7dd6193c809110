//! A whole tile log, verified offline: nothing is taken from the log but bytes.
//!
//! [`verify`] reads the checkpoint, holds it against a [`Policy`], hashes every record,
//! compares the result with every tile, and the last hash with the checkpoint's root.
//! It goes on after a problem, so that one run says all that is wrong. It knows no record
//! format; an [`EntryCheck`] does, and without one any C2SP tile log can be verified.
//! [`verify_epochs`] verifies logs of which each goes on where the one before ended.

mod bundles;
mod entry;
mod epochs;
mod finding;
mod levels;
mod link;
mod record;
mod source;

pub use entry::{CanonicalEntries, EntryCheck, NoCheck};
pub use epochs::{Epoch, EpochReport, verify_epochs};
pub use finding::{Check, FINDINGS_MAX, Finding, Findings, Place, Severity};
pub use link::{EPOCH_OPENED, Link};
pub use record::AuditRecords;
pub use source::{Directory, FetchError, Source};

use crate::{
    checkpoint::Checkpoint,
    hash::{Hash, empty_root},
    note::{Note, VerifierKey},
    policy::{Evaluation, Policy},
    proof::{NodeReader as _, Plan},
    tile::{TileId, TileReader},
};
use std::num::NonZeroUsize;

/// What to verify against.
pub struct Request<'a> {
    /// Whom to trust.
    pub policy: &'a Policy,
    /// Checkpoints seen before, as signed notes: each must be a prefix of the log.
    pub since: &'a [Vec<u8>],
    /// Threads over the records; more than cores helps where fetching waits for a network.
    pub threads: NonZeroUsize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The log's checkpoint and what the policy says of it, if it could be read.
    pub checkpoint: Option<Evaluation>,
    /// The root that level 0 and the tiles above lead to, unless too much is missing.
    pub root: Option<Hash>,
    /// Records that were hashed.
    pub records: u64,
    /// Tiles and entry bundles that were read.
    pub files: u64,
    /// Everything that is wrong.
    pub findings: Findings,
}

impl Report {
    /// Whether nothing is wrong: every record is what the checkpoint commits to.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.checkpoint.is_some()
    }
}

/// Verifies a log. `check` looks at each record as well; [`NoCheck`] at none.
///
/// The size of the log is the checkpoint's claim. Before the policy is met by it nothing
/// else is read, so that a stranger cannot make the verifier work.
pub fn verify<S: Source, C: EntryCheck>(source: &S, check: &C, request: &Request<'_>) -> Report {
    let mut report = Report { checkpoint: None, root: None, records: 0, files: 0, findings: Findings::default() };
    let Some(evaluation) = read_checkpoint(source, request.policy, &mut report.findings) else { return report };
    let checkpoint = evaluation.checkpoint.clone();
    let met = evaluation.is_met();
    report.checkpoint = Some(evaluation);
    if !met {
        return report;
    }

    if tree(source, check, &checkpoint, request.threads, &mut report) {
        for old in request.since {
            check_since(source, &checkpoint, old, request.policy, &mut report.findings);
        }
    }
    report
}

/// Every record and tile of the tree that a head commits to; whether there was enough to look at.
fn tree<S: Source, C: EntryCheck>(source: &S, check: &C, head: &Checkpoint, threads: NonZeroUsize, report: &mut Report) -> bool {
    let bundles = bundles::read(source, check, head.size(), threads);
    report.records = bundles.records;
    report.files = bundles.files;
    report.findings.append(bundles.findings);
    if bundles.gave_up {
        let found = "so much missing or wrong that the rest was not looked at";
        report.findings.add(Finding::incomplete(Place::Log, Check::Present, format!("{} records", head.size()), found));
        return false;
    }
    let levels = levels::compare(source, head.size(), bundles.roots, bundles.rest, &mut report.findings);
    report.files += levels.files;
    report.root = levels.root;
    if let Some(root) = levels.root.filter(|root| root != head.root()) {
        report.findings.add(Finding::tampered(Place::Log, Check::Root, head.root(), root));
    }
    true
}

fn read_checkpoint<S: Source>(source: &S, policy: &Policy, findings: &mut Findings) -> Option<Evaluation> {
    let place = || Place::path("checkpoint");
    let bytes = match source.fetch("checkpoint") {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            findings.add(Finding::incomplete(place(), Check::Present, "a signed checkpoint", "nothing"));
            return None;
        }
        Err(error) => {
            findings.add(Finding::incomplete(place(), Check::Present, "a signed checkpoint", error));
            return None;
        }
    };
    let note = Note::parse(&bytes).map_err(|error| error.to_string());
    let evaluation = note.and_then(|note| policy.evaluate(&note).map_err(|error| error.to_string()));
    match evaluation {
        Ok(evaluation) => {
            judge("checkpoint", &evaluation, findings);
            Some(evaluation)
        }
        Err(error) => {
            findings.add(Finding::tampered(place(), Check::Format, "a signed checkpoint", error));
            None
        }
    }
}

/// What a policy has against the checkpoint in this file.
pub(crate) fn judge(path: &str, evaluation: &Evaluation, findings: &mut Findings) {
    let place = || Place::path(path);
    for name in &evaluation.invalid {
        findings.add(Finding::tampered(place(), Check::Signature, format!("a signature of {name} that holds"), "one that does not"));
    }
    if evaluation.logs.is_empty() && evaluation.invalid.is_empty() {
        let expected = format!("a signature of a log of the policy with the origin {}", evaluation.checkpoint.origin());
        findings.add(Finding::tampered(place(), Check::Signature, expected, "none"));
    }
    if !evaluation.quorum {
        let cosigned: Vec<_> = evaluation.cosigned.iter().map(|(name, _)| name.as_str()).collect();
        let expected = format!("cosignatures: {}", evaluation.missing.join("; "));
        findings.add(Finding::incomplete(place(), Check::Quorum, expected, format!("those of [{}]", cosigned.join(", "))));
    }
}

/// That a checkpoint seen before is a prefix. Its cosignatures are not asked for: that
/// the log signed it is enough to hold the log to it.
fn check_since<S: Source>(source: &S, now: &Checkpoint, old: &[u8], policy: &Policy, findings: &mut Findings) {
    let name = |size: &dyn std::fmt::Display| Place::path(format!("checkpoint of {size} records"));
    let keys = || policy.logs().iter().map(|log| &log.key).filter(|key| key.name().as_str() == now.origin());
    let old = match read_old(old, keys()) {
        Ok(old) if old.origin() == now.origin() => old,
        Ok(old) => {
            findings.add(Finding::tampered(name(&old.size()), Check::Since, format!("the origin {}", now.origin()), old.origin()));
            return;
        }
        Err(why) => {
            findings.add(Finding::tampered(name(&"unknown many"), Check::Since, "a checkpoint that the log signed", why));
            return;
        }
    };
    if old.size() > now.size() {
        findings.add(Finding::tampered(name(&old.size()), Check::Since, format!("at least {} records", old.size()), now.size()));
        return;
    }
    match root_at(source, now, old.size()) {
        Ok(root) if root == *old.root() => {}
        Ok(root) => findings.add(Finding::tampered(name(&old.size()), Check::Since, old.root(), root)),
        Err(why) => findings.add(Finding::incomplete(name(&old.size()), Check::Since, old.root(), why)),
    }
}

/// A checkpoint that one of these keys has signed, or why it is none.
pub(crate) fn read_old<'k>(old: &[u8], keys: impl Iterator<Item = &'k VerifierKey>) -> Result<Checkpoint, String> {
    let note = Note::parse(old).map_err(|error| error.to_string())?;
    note.verify(keys).map_err(|error| error.to_string())?;
    note.text().parse().map_err(|error: crate::checkpoint::CheckpointError| error.to_string())
}

/// The root that the log had at an earlier size, from tiles that its root now vouches for.
fn root_at<S: Source>(source: &S, now: &Checkpoint, size: u64) -> Result<Hash, String> {
    let reader = TileReader::new(now.size(), now.root(), |id: &TileId| source.fetch(&id.path())).map_err(|error| error.to_string())?;
    let plan = Plan::root(size).map_err(|error| error.to_string())?;
    // Touches every node, so that a missing one is named.
    plan.nodes().try_for_each(|id| reader.node(id).map(drop)).map_err(|error| error.to_string())?;
    let hashes = plan.assemble(&reader).map_err(|error| error.to_string())?;
    Ok(hashes.first().copied().unwrap_or_else(empty_root))
}

#[cfg(test)]
mod tests;
