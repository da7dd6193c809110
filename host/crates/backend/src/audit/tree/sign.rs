//! Signing how far the tree is.

use super::{
    AuditTree,
    keys::failed,
    store::{Epoch, SignedHead},
};
use plinth_audit::{checkpoint::Checkpoint, tile::TileEdge};
use plinth_capability::{Error, ErrorKind, Result};

impl AuditTree {
    /// `now` was compared with all that is known to be signed.
    pub(super) async fn sign(&self, epoch: &Epoch, now: &TileEdge) -> Result<()> {
        if let Some((newest, _)) = self.signed(epoch).await?
            && newest.size >= now.size()
        {
            return self.keep(epoch, &newest).await;
        }
        let checkpoint = Checkpoint::new(&epoch.origin, now.size(), now.root()).map_err(|e| failed("the tree cannot be signed", e))?;
        let unfit = || Error::new(ErrorKind::Internal, "audit.checkpoint", "the checkpoint is no note");
        let mut note = checkpoint.to_note().ok_or_else(unfit)?;
        note.sign(&self.keys.signer(&epoch.origin)?, 0).map_err(|e| failed("the tree cannot be signed", e))?;
        let head = SignedHead { size: now.size(), note: note.to_string() };
        // Outside the database first: what anybody has seen signed is then known there.
        self.keep(epoch, &head).await?;
        self.store.sign(epoch.number, &head).await.map(drop)
    }

    /// The newest head in the database, and what it says. Whoever can write to
    /// the database could claim another size for an old one, and have it
    /// replace a newer copy outside.
    pub(super) async fn signed(&self, epoch: &Epoch) -> Result<Option<(SignedHead, Checkpoint)>> {
        let Some(head) = self.store.signed(epoch.number).await? else { return Ok(None) };
        let checkpoint = self.keys.read(&epoch.origin, &head.note)?;
        match checkpoint.size() == head.size {
            true => Ok(Some((head, checkpoint))),
            false => {
                let why = format!("a stored checkpoint is of size {} and kept as one of size {}", checkpoint.size(), head.size);
                Err(Error::new(ErrorKind::Failed, "audit.checkpoint", why))
            }
        }
    }

    /// What another host signed is known here too from now on.
    async fn keep(&self, epoch: &Epoch, head: &SignedHead) -> Result<()> {
        let (keys, epoch, head) = (self.keys.clone(), epoch.clone(), head.clone());
        let newer = move |other: &str| Ok(keys.read(&epoch.origin, other)?.size() > head.size);
        self.copies.off(move |copies| copies.keep(epoch.number, &head.note, newer)).await
    }
}
