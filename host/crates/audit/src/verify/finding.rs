//! What can be wrong with a log, and where.

use serde::Serialize;
use std::fmt;

/// Findings that are kept; beyond it they are counted only.
pub const FINDINGS_MAX: usize = 1_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something could not be read, or has not enough signatures: it may be sound.
    Incomplete,
    /// Something contradicts what was signed.
    Tampered,
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The log as a whole.
    Log,
    /// A record, by its index.
    Record(u64),
    /// Records that a node of the tree covers: from the first to the last.
    Records(u64, u64),
    /// A file, by its path.
    Path(String),
}

/// Which check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// A file is there and can be read.
    Present,
    /// A file has the form it should have.
    Format,
    /// The log's signature, and every other of a known key, holds.
    Signature,
    /// The witnesses that the policy asks for have cosigned.
    Quorum,
    /// A record's hash is the one in the tile.
    Leaf,
    /// A hash in an upper tile is the root of the tile below.
    Tile,
    /// The tree's root is the checkpoint's.
    Root,
    /// A checkpoint seen before is a prefix.
    Since,
    /// A record is in canonical form.
    Canonical,
    /// Records are in the order that their contents claim.
    Order,
    /// An epoch begins with a record that names the end of the one before.
    Epoch,
    /// Another rule for records, which the caller's check knows.
    Record,
    /// A file of the archive has the hash in its manifest.
    File,
    /// A segment follows the one before.
    Continuity,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at.
    pub place: Place,
    /// Which check failed.
    pub check: Check,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// All that is wrong, in the order of the log; at most [`FINDINGS_MAX`] of them in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    list: Vec<Finding>,
    tampered: u64,
    incomplete: u64,
}

impl Place {
    pub(crate) fn path(path: impl Into<String>) -> Self {
        Self::Path(path.into())
    }
}

impl Finding {
    /// Something that contradicts what was signed.
    pub fn tampered(place: Place, check: Check, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self { severity: Severity::Tampered, place, check, expected: expected.to_string(), found: found.to_string() }
    }

    /// Something that could not be looked at.
    pub fn incomplete(place: Place, check: Check, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self { severity: Severity::Incomplete, place, check, expected: expected.to_string(), found: found.to_string() }
    }
}

impl Findings {
    /// Adds one; beyond [`FINDINGS_MAX`] it is counted only.
    pub fn add(&mut self, finding: Finding) {
        match finding.severity {
            Severity::Tampered => self.tampered += 1,
            Severity::Incomplete => self.incomplete += 1,
        }
        if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        }
    }

    /// Adds all of another list, behind this one.
    pub fn append(&mut self, other: Self) {
        let room = FINDINGS_MAX.saturating_sub(self.list.len());
        self.list.extend(other.list.into_iter().take(room));
        self.tampered += other.tampered;
        self.incomplete += other.incomplete;
    }

    /// Those that were kept.
    #[must_use]
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// How many contradict what was signed, kept or not.
    #[must_use]
    pub const fn tampered(&self) -> u64 {
        self.tampered
    }

    /// How many could not be looked at, kept or not.
    #[must_use]
    pub const fn incomplete(&self) -> u64 {
        self.incomplete
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tampered == 0 && self.incomplete == 0
    }

    /// The worst there is.
    #[must_use]
    pub const fn severity(&self) -> Option<Severity> {
        match (self.tampered, self.incomplete) {
            (0, 0) => None,
            (0, _) => Some(Severity::Incomplete),
            _ => Some(Severity::Tampered),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Record(index) => write!(f, "record {index}"),
            Self::Records(first, last) => write!(f, "records {first} to {last}"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// For people: `tampered: record 17: leaf: expected …, found …`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Tampered => "tampered",
            Severity::Incomplete => "incomplete",
        };
        let check = format!("{:?}", self.check).to_lowercase();
        write!(f, "{severity}: {}: {check}: expected {}, found {}", self.place, self.expected, self.found)
    }
}
