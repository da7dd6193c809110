//! What the archive needs of where the log is kept.

use crate::audit::Encoded;
use async_trait::async_trait;
use aws_lc_rs::hmac;
use plinth_audit::segment::SEGMENT_RECORDS;
use plinth_capability::{
    Result,
    audit::{AuditFilter, StoredRecord},
};
use std::ops::Range;

/// A segment that was written to the archive, read back and found to be what the tree says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archived {
    pub(crate) epoch: u64,
    pub(crate) segment: u64,
    /// The bytes of its manifest.
    pub(crate) manifest: Vec<u8>,
    /// The tree with the segment and nothing behind it.
    pub(crate) frontier: Vec<u8>,
    /// When the oldest and the newest of its records were recorded.
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    /// The least and the greatest id of its records.
    pub(crate) least_id: String,
    pub(crate) greatest_id: String,
}

/// What of one epoch is in the archive only, and what is nowhere any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pruned {
    pub(crate) epoch: u64,
    /// The sequence of the epoch's leaf 0.
    pub(crate) first: u64,
    /// So many leaves are not in the database any more.
    pub(crate) leaves: u64,
    /// The records of so many segments are not in the archive any more.
    pub(crate) expired: u64,
}

impl Pruned {
    /// The sequences that are not in the database.
    pub(crate) const fn gone(&self) -> Range<u64> {
        self.first..self.first + self.leaves
    }

    /// Whether the archive has dropped a leaf's record.
    pub(crate) const fn dropped(&self, leaf: u64) -> bool {
        leaf < self.expired * SEGMENT_RECORDS
    }
}

/// As both databases give it: epoch, first, leaves, expired.
pub(crate) type PrunedRow = (i64, i64, i64, i64);

impl Pruned {
    pub(crate) fn read((epoch, first, leaves, expired): PrunedRow, from_sql: fn(i64) -> u64) -> Self {
        Self { epoch: from_sql(epoch), first: from_sql(first), leaves: from_sql(leaves), expired: from_sql(expired) }
    }
}

/// What was found of a stretch of the log.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<StoredRecord>,
    /// Nothing else below it matches.
    pub(crate) until: u64,
    /// How many records were read for it.
    pub(crate) read: u64,
}

/// One step of taking records out of the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    /// Leaves that are gone already.
    pub(crate) from: u64,
    /// Leaves that will be.
    pub(crate) to: u64,
}

/// # Contract
///
/// Several hosts may work on one store: every change names what it was made
/// from and answers false, changing nothing, if that is no longer so. The
/// database itself refuses to remove a record that is in no segment.
#[async_trait]
pub(crate) trait Shelf: Send + Sync {
    /// Takes or keeps the turn to write to the archive, until it is `for_ms` old.
    async fn turn(&self, holder: &str, for_ms: u64) -> Result<bool>;
    async fn segment(&self, epoch: u64, segment: u64) -> Result<Option<Archived>>;
    /// How many segments of an epoch are in the archive.
    async fn segments(&self, epoch: u64) -> Result<u64>;
    /// Adds the segment that follows.
    async fn shelve(&self, archived: &Archived) -> Result<bool>;
    /// The segments whose ids this one is among: epoch and number.
    async fn among(&self, id: &str) -> Result<Vec<(u64, u64)>>;
    /// In the order of sequences.
    async fn pruned(&self) -> Result<Vec<Pruned>>;
    /// Removes records that are in segments, and appends what is to be said of it.
    async fn prune(&self, cut: Cut, record: Option<Encoded>) -> Result<bool>;
    /// Notes that the records of one more segment are to be dropped from the archive, and appends what is to be said of it.
    async fn expire(&self, epoch: u64, expired: u64, record: Encoded) -> Result<bool>;
    /// Some of the matching records of these sequences that are in the database, in order, at most `limit`.
    async fn page(&self, filter: &AuditFilter, sequences: Range<u64>, limit: u64) -> Result<Page>;
    /// Where the first of these sequences is that may match, by what stands beside the records.
    async fn skip(&self, _filter: &AuditFilter, sequences: Range<u64>) -> Result<u64> {
        Ok(sequences.start)
    }
    /// What this log's cursors are signed with.
    fn cursor_key(&self) -> &hmac::Key;
}
