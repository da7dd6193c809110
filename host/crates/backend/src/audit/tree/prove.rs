//! What outsiders are given: checkpoints, tiles and proofs.

use super::{AuditTree, damaged, grow::cut, keys::failed, store::Epoch};
use async_trait::async_trait;
use bytes::Bytes;
use plinth_audit::{
    checkpoint::Checkpoint,
    hash::Hash,
    note::{Note, Signer},
    proof::{Plan, ProofError},
    segment::SEGMENT_RECORDS,
    tile::{Resource, TileId, TileReader, encode_bundle, tiles_for},
    tlog_proof::TlogProof,
};
use plinth_capability::{
    Error, ErrorKind, Result,
    transparency::{PATH_MAX, Transparency, TreeView},
};
use std::convert::Infallible;

impl AuditTree {
    async fn epoch(&self, number: u64) -> Result<Option<Epoch>> {
        Ok(self.store.epochs().await?.into_iter().find(|epoch| epoch.number == number))
    }

    /// The newest checkpoint and its note.
    async fn head(&self, epoch: &Epoch) -> Result<Option<(Checkpoint, Note)>> {
        let Some(head) = self.store.signed(epoch.number).await? else { return Ok(None) };
        let checkpoint = self.keys.read(&epoch.origin, &head.note)?;
        let note = Note::parse(head.note.as_bytes()).map_err(|e| failed("a stored checkpoint is damaged", e))?;
        Ok(Some((checkpoint, note)))
    }

    /// The hashes of a plan, from tiles that lead to the root of a tree of this size.
    pub(super) async fn assemble(&self, epoch: &Epoch, size: u64, root: &Hash, plan: &Plan) -> Result<Vec<Hash>> {
        let wanted: Vec<TileId> = tiles_for([plan], size).into_iter().collect();
        let tiles = self.tiles(epoch.number, &wanted).await?;
        let reader = TileReader::new(size, root, |id| Ok::<_, Infallible>(cut(&tiles, id))).map_err(damaged)?;
        plan.assemble(&reader).map_err(damaged)
    }

    async fn entries(&self, epoch: &Epoch, index: u64, width: u16) -> Result<Option<Bytes>> {
        let first = index.saturating_mul(256);
        if first.saturating_add(u64::from(width)) > epoch.size {
            return Ok(None);
        }
        let (from, width) = (epoch.first + first, usize::from(width));
        let entries = self.store.records(from, u32::try_from(width).unwrap_or(u32::MAX)).await?;
        let entries: Vec<_> = (from..).zip(entries).take_while(|(at, (sequence, _))| at == sequence).map(|(_, (_, bytes))| bytes).collect();
        if entries.len() == width {
            return encode_bundle(&entries).map(|bytes| Some(bytes.into())).map_err(damaged);
        }
        let Some(frame) = self.shelved.bundle(epoch.number, index).await? else { return Ok(None) };
        encode_bundle(frame.get(..width).unwrap_or_default()).map(|bytes| Some(bytes.into())).map_err(damaged)
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, "audit.tree", why)
}

fn out_of_range(error: ProofError) -> Error {
    refused("there is no proof from a larger tree to a smaller one").with_source(error)
}

#[async_trait]
impl Transparency for AuditTree {
    async fn health(&self) -> Result<()> {
        self.standing().health()
    }

    async fn trees(&self) -> Result<Vec<TreeView>> {
        let mut trees = Vec::new();
        let pruned = self.shelved.shelf().pruned().await?;
        for Epoch { number, origin, first, sealed, .. } in self.store.epochs().await? {
            let verifier_key = self.keys.signer(&origin)?.key().to_string();
            let signed = self.store.signed(number).await?.map_or(0, |head| head.size);
            let archived = self.shelved.shelf().segments(number).await? * SEGMENT_RECORDS;
            let gone = pruned.iter().find(|gone| gone.epoch == number);
            let (pruned, expired) = gone.map_or((0, 0), |gone| (gone.leaves, gone.expired * SEGMENT_RECORDS));
            trees.push(TreeView { epoch: number, origin, verifier_key, first, signed, sealed, archived, pruned, expired });
        }
        Ok(trees)
    }

    async fn checkpoint(&self, epoch: u64) -> Result<Option<String>> {
        Ok(self.store.signed(epoch).await?.map(|head| head.note))
    }

    async fn tile(&self, epoch: u64, path: &str) -> Result<Option<Bytes>> {
        if path.len() > PATH_MAX {
            return Err(refused("no tile has so long a path"));
        }
        let resource = Resource::parse(path).map_err(|e| refused(e.to_string()))?;
        let Some(epoch) = self.epoch(epoch).await? else { return Ok(None) };
        match resource {
            Resource::Entries { index, width } => self.entries(&epoch, index, width).await,
            Resource::Tile(id) => Ok(cut(&self.tiles(epoch.number, &[id]).await?, &id).map(Bytes::from)),
        }
    }

    async fn proof(&self, id: &str) -> Result<Option<String>> {
        let sequence = match self.store.find(id).await? {
            Some((sequence, _)) => Some(sequence),
            None => self.shelved.find(id).await?.map(|found| found.sequence),
        };
        let Some(sequence) = sequence else { return Ok(None) };
        let epochs = self.store.epochs().await?;
        let Some(epoch) = epochs.iter().rev().find(|epoch| epoch.first <= sequence) else { return Ok(None) };
        let index = sequence - epoch.first;
        let Some((checkpoint, note)) = self.head(epoch).await?.filter(|(checkpoint, _)| index < checkpoint.size()) else { return Ok(None) };
        let plan = Plan::inclusion(index, checkpoint.size()).map_err(out_of_range)?;
        let hashes = self.assemble(epoch, checkpoint.size(), checkpoint.root(), &plan).await?;
        Ok(Some(TlogProof { extra: None, index, hashes, note }.to_string()))
    }

    async fn consistency(&self, epoch: u64, from: u64, to: u64) -> Result<Option<Vec<[u8; 32]>>> {
        let Some(epoch) = self.epoch(epoch).await? else { return Ok(None) };
        let plan = Plan::consistency(from, to).map_err(out_of_range)?;
        let Some((newest, _)) = self.head(&epoch).await?.filter(|(newest, _)| to <= newest.size()) else {
            return Err(refused("so many records are not signed yet"));
        };
        let hashes = self.assemble(&epoch, newest.size(), newest.root(), &plan).await?;
        Ok(Some(hashes.iter().map(|hash| *hash.as_bytes()).collect()))
    }
}
