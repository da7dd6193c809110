//! What the tree over an audit log needs from where the log is kept.

use crate::audit::Encoded;
use async_trait::async_trait;
use plinth_capability::Result;

/// One tree over a stretch of the log. A log has one until it was restored from a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// From 0, rising.
    pub(crate) number: u64,
    /// What the tree is called in its checkpoints.
    pub(crate) origin: String,
    /// The sequence of the record that is its leaf 0.
    pub(crate) first: u64,
    /// Leaves that are in the stored tiles.
    pub(crate) size: u64,
    /// How many leaves belong to it in the end; set when the next one was opened.
    pub(crate) sealed: Option<u64>,
}

/// As both databases give it: number, origin, first, size, sealed.
pub(super) type EpochRow = (i64, String, i64, i64, Option<i64>);

impl Epoch {
    /// `from_sql` is the database's own.
    pub(super) fn read((number, origin, first, size, sealed): EpochRow, from_sql: fn(i64) -> u64) -> Self {
        Self { number: from_sql(number), origin, first: from_sql(first), size: from_sql(size), sealed: sealed.map(from_sql) }
    }
}

/// A tile as it is kept: the widest form so far, from which narrower ones are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTile {
    pub(crate) level: u8,
    pub(crate) index: u64,
    pub(crate) hashes: Vec<u8>,
}

/// A signed tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedHead {
    pub(crate) size: u64,
    /// The signed note.
    pub(crate) note: String,
}

/// # Contract
///
/// Several hosts may work on one store: every change names what it was made
/// from and answers false, changing nothing, if that is no longer so.
#[async_trait]
pub(crate) trait TreeStore: Send + Sync {
    /// Every epoch in order; none before the first [`TreeStore::begin`].
    async fn epochs(&self) -> Result<Vec<Epoch>>;
    /// Makes epoch 0 over the log from its start, if there is none.
    async fn begin(&self, origin: &str) -> Result<bool>;
    /// Sequence and stored bytes of at most `limit` records from this sequence on, in order.
    async fn records(&self, from: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>>;
    /// The place of a record in the log, and its bytes.
    async fn find(&self, id: &str) -> Result<Option<(u64, Vec<u8>)>>;
    /// Makes what finds records beside the log, if the store has such a thing, from these that follow each other.
    async fn mark(&self, _records: &[(u64, Vec<u8>)]) -> Result<()> {
        Ok(())
    }
    async fn tiles(&self, epoch: u64, wanted: &[(u8, u64)]) -> Result<Vec<StoredTile>>;
    /// Adds leaves, with the tiles that changed.
    async fn grow(&self, from: &Epoch, size: u64, tiles: Vec<StoredTile>) -> Result<bool>;
    /// The newest signed head.
    async fn signed(&self, epoch: u64) -> Result<Option<SignedHead>>;
    /// Keeps a signed head that is larger than all before it; the same size again replaces the note, for cosignatures.
    async fn sign(&self, epoch: u64, head: &SignedHead) -> Result<bool>;
    /// Seals `from`, whose tree holds every record so far, and opens epoch `number` with `record` as its leaf 0.
    async fn open_next(&self, from: &Epoch, number: u64, origin: &str, record: Encoded) -> Result<bool>;
}
