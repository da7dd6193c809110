//! tlog-policy: which logs a verifier accepts, and which witnesses must have seen a checkpoint.

mod parse;

pub use parse::PolicyError;

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    note::{KeyName, Note, NoteError, VerifierKey},
};
use std::collections::BTreeSet;

/// The most bytes of a policy.
pub const POLICY_MAX: usize = 512 * 1_024;

/// The most logs, witnesses and groups, each. The specification recommends 32 at least.
pub const ENTRIES_MAX: usize = 64;

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<LogEntry>,
    witnesses: Vec<WitnessEntry>,
    /// In the order of their lines: members come before the groups they are in.
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// A `log` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its name is the log's origin.
    pub key: VerifierKey,
    /// Where it is, as the policy says it.
    pub url: Option<Vec<u8>>,
}

/// A `witness` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessEntry {
    /// What the policy calls it; any bytes but spaces, tabs and newlines.
    pub name: Vec<u8>,
    /// Who it is.
    pub key: VerifierKey,
    /// Where it is, as the policy says it.
    pub url: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    threshold: usize,
    members: Vec<Member>,
}

/// A place in the list of witnesses or of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// What a policy says of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The checkpoint. It is the log's only if [`Evaluation::is_met`].
    pub checkpoint: Checkpoint,
    /// The log's keys that signed it.
    pub logs: Vec<VerifierKey>,
    /// The witnesses that cosigned it, as the policy calls them, and when (POSIX seconds).
    pub cosigned: Vec<(String, u64)>,
    /// Keys of the policy whose signature does not hold.
    pub invalid: Vec<KeyName>,
    /// Whether the quorum is met.
    pub quorum: bool,
    /// What the quorum lacks: `2 of X-witnesses: w1, w3`. Empty when it is met.
    pub missing: Vec<String>,
}

impl Evaluation {
    /// Signed by a log of the policy, cosigned by the quorum, and nothing contradicts it.
    #[must_use]
    pub fn is_met(&self) -> bool {
        !self.logs.is_empty() && self.invalid.is_empty() && self.quorum
    }
}

impl Policy {
    /// A policy that accepts this log and asks for no witness.
    #[must_use]
    pub fn log_only(key: VerifierKey) -> Self {
        Self { logs: vec![LogEntry { key, url: None }], witnesses: Vec::new(), groups: Vec::new(), quorum: None }
    }

    /// The logs that are accepted. A log that signs with several keys has several entries.
    #[must_use]
    pub fn logs(&self) -> &[LogEntry] {
        &self.logs
    }

    /// The witnesses that are known.
    #[must_use]
    pub fn witnesses(&self) -> &[WitnessEntry] {
        &self.witnesses
    }

    /// Looks at a signed checkpoint. Of the log keys only those count whose name is the
    /// checkpoint's origin.
    ///
    /// # Errors
    /// When the note's text is no checkpoint.
    pub fn evaluate(&self, note: &Note) -> Result<Evaluation, CheckpointError> {
        let checkpoint: Checkpoint = note.text().parse()?;
        let mut invalid = BTreeSet::new();
        let mut holds = |key: &VerifierKey| match note.verify([key]) {
            Ok(verified) => verified.into_iter().next(),
            Err(NoteError::Invalid(name)) => {
                invalid.insert(name);
                None
            }
            Err(_) => None,
        };
        let of_origin = self.logs.iter().filter(|log| log.key.name().as_str() == checkpoint.origin());
        let logs = of_origin.filter_map(|log| holds(&log.key)).map(|verified| verified.key).collect();
        let mut signed = BTreeSet::new();
        let mut cosigned = Vec::new();
        for (place, witness) in self.witnesses.iter().enumerate() {
            if let Some(verified) = holds(&witness.key) {
                signed.insert(Member::Witness(place));
                cosigned.push((text(&witness.name), verified.timestamp.unwrap_or(0)));
            }
        }
        let missing = self.missing(signed);
        Ok(Evaluation { checkpoint, logs, cosigned, invalid: invalid.into_iter().collect(), quorum: missing.is_empty(), missing })
    }

    /// What the quorum lacks; nothing when the members that signed are enough.
    fn missing(&self, mut met: BTreeSet<Member>) -> Vec<String> {
        for (place, group) in self.groups.iter().enumerate() {
            if group.members.iter().filter(|member| met.contains(member)).count() >= group.threshold {
                met.insert(Member::Group(place));
            }
        }
        let Some(quorum) = self.quorum.filter(|quorum| !met.contains(quorum)) else { return Vec::new() };
        let mut open = vec![quorum];
        let mut missing = Vec::new();
        // Groups contain only groups before them, each once, so this ends.
        while let Some(member) = open.pop() {
            let Member::Group(place) = member else {
                missing.push(self.name(member));
                continue;
            };
            let Some(group) = self.groups.get(place) else { continue };
            let absent: Vec<_> = group.members.iter().copied().filter(|member| !met.contains(member)).collect();
            let more = (group.threshold + absent.len()).saturating_sub(group.members.len());
            let names: Vec<_> = absent.iter().map(|member| self.name(*member)).collect();
            missing.push(format!("{more} of {}: {}", text(&group.name), names.join(", ")));
            open.extend(absent.into_iter().filter(|member| matches!(member, Member::Group(_))));
        }
        missing
    }

    fn name(&self, member: Member) -> String {
        let name = match member {
            Member::Witness(place) => self.witnesses.get(place).map(|witness| &witness.name),
            Member::Group(place) => self.groups.get(place).map(|group| &group.name),
        };
        text(name.map_or(b"", Vec::as_slice))
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
