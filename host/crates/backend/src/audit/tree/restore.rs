//! What was signed must still be there; where it is not, an epoch ends.
//!
//! A database that was restored from a backup, or rewritten, cannot go on under
//! the name whose checkpoints others hold: two of them would contradict each
//! other. The log goes on in a new tree, whose first record says what is missing.

use super::{AuditTree, copies::Copies, damaged, store::Epoch};
use crate::audit::{encode_one, host_record};
use plinth_audit::{
    checkpoint::Checkpoint,
    hash::{Hash, empty_root},
    proof::Plan,
    tile::{TileEdge, TileError},
};
use plinth_capability::{Result, audit::AuditRecord};

/// A checkpoint that the log no longer bears out.
pub(super) struct Contradicted {
    epoch: u64,
    checkpoint: Checkpoint,
    note: String,
    why: &'static str,
}

impl AuditTree {
    /// Compares the tree with the newest checkpoints inside and outside the database.
    pub(super) async fn compare(&self, epoch: &Epoch, now: &TileEdge) -> Result<Option<Contradicted>> {
        let inside = self.signed(epoch).await?.map(|(head, _)| (epoch.number, head.note));
        for (number, note) in self.copies.off(Copies::newest).await?.into_iter().chain(inside) {
            if number < epoch.number {
                continue;
            }
            let origin = self.keys.origin(number);
            let checkpoint = self.keys.read(&origin, &note)?;
            let why = if number > epoch.number || checkpoint.size() > now.size() {
                "behind"
            } else if self.root_of(epoch, now, checkpoint.size()).await? != *checkpoint.root() {
                "rewritten"
            } else {
                continue;
            };
            return Ok(Some(Contradicted { epoch: number, checkpoint, note, why }));
        }
        Ok(None)
    }

    /// The root over the first `size` leaves of a tree, from its tiles.
    async fn root_of(&self, epoch: &Epoch, now: &TileEdge, size: u64) -> Result<Hash> {
        if size == now.size() {
            return Ok(now.root());
        }
        let out_of_range = |_| damaged(TileError::OutOfRange { size });
        let plan = Plan::root(size).map_err(out_of_range)?;
        let root = self.assemble(epoch, now.size(), &now.root(), &plan).await?;
        Ok(root.first().copied().unwrap_or_else(empty_root))
    }

    /// Nothing happens if others have changed the log meanwhile.
    pub(super) async fn open_next(&self, epoch: &Epoch, now: &TileEdge, found: Contradicted) -> Result<()> {
        let number = found.epoch.max(epoch.number) + 1;
        let origin = self.keys.origin(number);
        let record = encode_one(found.record(epoch, now, &origin))?;
        if self.store.open_next(epoch, number, &origin, record).await? {
            tracing::error!(
                origin,
                reason = found.why,
                signed = found.checkpoint.size(),
                stored = now.size(),
                "the audit log does not bear out what it has signed; it goes on in a new epoch"
            );
        }
        Ok(())
    }
}

impl Contradicted {
    fn record(&self, epoch: &Epoch, now: &TileEdge, origin: &str) -> AuditRecord {
        let missing = self.checkpoint.size().saturating_sub(now.size());
        let attributes = [
            ("reason", self.why.to_owned()),
            ("signed-checkpoint", self.note.clone()),
            ("signed-origin", self.checkpoint.origin().to_owned()),
            ("signed-size", self.checkpoint.size().to_string()),
            ("stored-origin", epoch.origin.clone()),
            ("stored-size", now.size().to_string()),
            ("stored-root", now.root().to_string()),
            ("missing", if self.epoch == epoch.number { missing.to_string() } else { "unknown".to_owned() }),
        ];
        let summary = "The log does not bear out what it has signed; it goes on in a new tree.";
        host_record("audit.epoch.opened", origin, summary, attributes)
    }
}
