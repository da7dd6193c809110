//! The audit log as a Merkle tree: what outsiders read to check it without trusting the host.
//!
//! The forms are those of C2SP (`tlog-checkpoint`, `tlog-tiles`, `tlog-proof`), so that foreign tools read them.

use crate::Result;
use async_trait::async_trait;
use bytes::Bytes;

/// Client-controlled: characters of a path below an epoch.
pub const PATH_MAX: usize = 200;

/// One tree. A log has one, and another from each restore of a backup on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeView {
    /// From 0, without gaps.
    pub epoch: u64,
    /// The tree's name in its checkpoints.
    pub origin: String,
    /// The verifier key of its checkpoints, in the form of a signed note's.
    pub verifier_key: String,
    /// The sequence of the record that is leaf 0.
    pub first: u64,
    /// Leaves under the newest signed checkpoint.
    pub signed: u64,
    /// Set where the tree has ended because the database was restored behind what it had signed.
    pub sealed: Option<u64>,
    /// Leaves whose records are in the archive.
    pub archived: u64,
    /// Of these, leaves whose records are not in the database any more.
    pub pruned: u64,
    /// Of these, leaves whose records are nowhere any more.
    pub expired: u64,
}

/// # Contract
///
/// - `signed_soon`: a record that was appended is under a signed checkpoint within seconds.
/// - `checkpoints_are_consistent`: of any two checkpoints of one epoch the smaller tree is a prefix of the larger one.
/// - `tiles_give_the_root`: the tiles and entries of an epoch give exactly the root that its checkpoint signs.
/// - `entries_are_the_stored_bytes`: the leaf of a record hashes to the record's `digest`.
/// - `each_record_has_a_proof`: the proof of a record under the newest checkpoint verifies with nothing but the verifier key.
/// - `unknown_is_none`: what does not exist (yet) is `None`: an epoch, a tile beyond the tree, a record.
/// - `bad_path_is_refused`: a path that no tree can have is `InvalidInput`.
/// - `bad_range_is_refused`: a consistency proof from a larger tree to a smaller one, or beyond what is signed, is `InvalidInput`.
/// - `restored_opens_an_epoch`: a log that is behind what it has signed never signs under that origin again; a new epoch's first record says what is missing.
///
/// # Cancel safety
///
/// Every call only reads.
#[async_trait]
pub trait Transparency: Send + Sync {
    /// Whether what is appended gets signed, and archived where there is an archive; the reason if not.
    async fn health(&self) -> Result<()>;
    /// Every tree, oldest first.
    async fn trees(&self) -> Result<Vec<TreeView>>;
    /// The newest signed checkpoint.
    async fn checkpoint(&self, epoch: u64) -> Result<Option<String>>;
    /// `tile/<level>/<index>[.p/<width>]` or `tile/entries/<index>[.p/<width>]`.
    async fn tile(&self, epoch: u64, path: &str) -> Result<Option<Bytes>>;
    /// That a record is in the tree of the newest checkpoint, as a `.tlog-proof`; `None` while it is not signed yet.
    async fn proof(&self, id: &str) -> Result<Option<String>>;
    /// That the tree of `from` leaves is a prefix of that of `to`: hashes of 32 bytes each.
    async fn consistency(&self, epoch: u64, from: u64, to: u64) -> Result<Option<Vec<[u8; 32]>>>;
}
