//! The next segment: written to the archive, read back, and only then noted as being there.

use super::{Archiver, read::manifest, shelf::Archived};
use plinth_audit::{
    canonical::RECORD_MAX,
    hash::Hash,
    note::Note,
    policy::Policy,
    segment::{Before, Chain, Manifest, Names, SEGMENT_RECORDS, Segment, SegmentError, verify_segments, write},
    tree::Frontier,
    verify::CanonicalEntries,
};
use plinth_capability::{
    Error, ErrorKind, Result,
    transparency::{Transparency, TreeView},
};
use serde::Deserialize;
use tokio::sync::mpsc;

const OPERATION: &str = "audit.archive";
/// Records that are read at once.
const BATCH: u32 = 1_024;

pub(super) fn failed(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Failed, OPERATION, why)
}

fn cut_off(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, OPERATION, "cut off").with_source(error)
}

/// What is told apart in a segment without reading it.
#[derive(Debug, Clone, Default)]
struct Bounds {
    from_ms: u64,
    until_ms: u64,
    least_id: String,
    greatest_id: String,
}

#[derive(Deserialize)]
struct Bound {
    id: String,
    recorded_at_ms: u64,
}

impl Bounds {
    /// A record that is none of ours widens nothing: it is found by reading the segment anyway.
    fn widen(&mut self, record: &[u8]) {
        let Ok(Bound { id, recorded_at_ms }) = serde_json::from_slice(record) else { return };
        if self.least_id.is_empty() {
            *self = Self { from_ms: recorded_at_ms, until_ms: recorded_at_ms, least_id: id.clone(), greatest_id: id };
            return;
        }
        self.from_ms = self.from_ms.min(recorded_at_ms);
        self.until_ms = self.until_ms.max(recorded_at_ms);
        if id < self.least_id {
            self.least_id = id;
        } else if id > self.greatest_id {
            self.greatest_id = id;
        }
    }
}

impl Archiver {
    /// Archives segment `number`, all of whose records are signed for. What an earlier attempt left there is taken over if
    /// it is sound, and replaced if it is not whole.
    pub(super) async fn archive(&self, tree: &TreeView, number: u64) -> Result<()> {
        let (before, chain) = self.before(tree.epoch, number).await?;
        let names = Names::of(number);
        let folder = self.shelved.folder(tree.epoch)?;
        let (segment, bounds) = self.make(tree, number, before).await?;
        let there = folder.get(&names.manifest, RECORD_MAX).await?.and_then(|bytes| Manifest::parse(&bytes).ok());
        if there
            .as_ref()
            .is_some_and(|there| there.segment == number && Some(there.root) != segment.after.manifest.as_ref().map(|m| m.root))
        {
            return Err(failed(format!("the archive has another segment {number} of epoch {}; it is not overwritten", tree.epoch)));
        }
        let mut sound = None;
        if there.is_some() {
            sound = self.verified(tree, number, chain.clone()).await.ok();
        }
        if sound.is_none() {
            for blob in segment.blobs {
                folder.put(&blob.name, blob.bytes).await?;
            }
            sound = Some(self.verified(tree, number, chain).await?);
        }
        let frontier = sound.unwrap_or_default().frontier;
        let manifest = folder.get(&names.manifest, RECORD_MAX).await?.ok_or_else(|| failed("the archive lost a manifest at once"))?;
        let Bounds { from_ms, until_ms, least_id, greatest_id } = bounds;
        let archived = Archived {
            epoch: tree.epoch,
            segment: number,
            manifest: manifest.to_vec(),
            frontier: frontier.to_bytes(),
            from_ms,
            until_ms,
            least_id,
            greatest_id,
        };
        if self.shelved.shelf.shelve(&archived).await? {
            tracing::info!(epoch = tree.epoch, segment = number, "a segment of the audit log is in the archive");
        }
        Ok(())
    }

    /// What a segment follows, for writing and for verifying it.
    async fn before(&self, epoch: u64, number: u64) -> Result<(Before, Chain)> {
        let Some(before) = number.checked_sub(1) else { return Ok((Before::default(), Chain::default())) };
        let archived = self.shelved.shelf.segment(epoch, before).await?;
        let archived = archived.ok_or_else(|| failed(format!("segment {before} of epoch {epoch} is not known")))?;
        let frontier = Frontier::from_bytes(&archived.frontier).ok_or_else(|| failed("the stored tree of a segment is damaged"))?;
        let manifest = manifest(&archived)?;
        let previous = manifest.digest().map_err(|e| failed("a stored manifest is damaged").with_source(e))?;
        let chain = Chain { frontier: frontier.clone(), next: number, previous: Some(previous), dropped: 0 };
        Ok((Before { frontier, manifest: Some(manifest) }, chain))
    }

    /// Reads the segment back as an outsider would, and holds it against the checkpoint beside it.
    pub(super) async fn verified(&self, tree: &TreeView, number: u64, mut chain: Chain) -> Result<Chain> {
        let policy = format!("log {}\nquorum none\n", tree.verifier_key);
        let policy = Policy::parse(policy.as_bytes()).map_err(|e| failed("the log's key makes no policy").with_source(e))?;
        let archive = self.shelved.folder(tree.epoch)?.blocking(tokio::runtime::Handle::current());
        let verify = move || {
            let report = verify_segments(&archive, 1, &mut chain, &policy, &CanonicalEntries);
            (report, chain)
        };
        let (report, chain) = tokio::task::spawn_blocking(verify).await.map_err(cut_off)?;
        match report.findings.list().first() {
            None if report.is_sound() => Ok(chain),
            Some(finding) => Err(failed(format!("segment {number} of epoch {} is not sound in the archive: {finding}", tree.epoch))),
            None => Err(failed(format!("segment {number} of epoch {} has no checkpoint in the archive", tree.epoch))),
        }
    }

    /// What segment `number` is by the records of the database.
    pub(super) async fn chain(&self, epoch: u64, number: u64) -> Result<Chain> {
        self.before(epoch, number).await.map(|(_, chain)| chain)
    }

    async fn make(&self, tree: &TreeView, number: u64, before: Before) -> Result<(Segment, Bounds)> {
        let (checkpoint, proof) = self.vouching(tree, (number + 1) * SEGMENT_RECORDS).await?;
        let (batches, mut waiting) = mpsc::channel::<Vec<Vec<u8>>>(2);
        let making = tokio::task::spawn_blocking(move || {
            let mut bounds = Bounds::default();
            let records = std::iter::from_fn(|| waiting.blocking_recv()).flatten().inspect(|record| bounds.widen(record));
            let segment = write(&before, records, &checkpoint, &proof);
            segment.map(|segment| (segment, bounds))
        });
        let read = self.read(tree.first + number * SEGMENT_RECORDS, batches).await;
        let made = making.await.map_err(cut_off)?;
        // If reading failed, the segment is incomplete for that reason.
        read?;
        made.map_err(|error| match error {
            SegmentError::Checkpoint(_) => {
                failed(format!("the records of segment {number} are not those that were signed")).with_source(error)
            }
            error => failed(format!("segment {number} could not be made")).with_source(error),
        })
    }

    /// Hands on the records of a segment that begins here, or as many as somebody wants.
    async fn read(&self, first: u64, batches: mpsc::Sender<Vec<Vec<u8>>>) -> Result<()> {
        let mut next = first;
        while next < first + SEGMENT_RECORDS {
            let records = self.shelved.store.records(next, BATCH).await?;
            let present = (next..).zip(&records).take_while(|(expected, (sequence, _))| sequence == expected).count();
            if present == 0 {
                return Err(failed(format!("record {next} is missing from the audit log")));
            }
            next += present as u64;
            let batch = records.into_iter().take(present).map(|(_, bytes)| bytes).collect();
            if batches.send(batch).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The newest checkpoint, and the proof that the first `size` records are under it.
    async fn vouching(&self, tree: &TreeView, size: u64) -> Result<(Note, Vec<Hash>)> {
        let none = || failed("the tree has no checkpoint");
        let note = self.tree.checkpoint(tree.epoch).await?.ok_or_else(none)?;
        let note = Note::parse(note.as_bytes()).map_err(|e| failed("a stored checkpoint is damaged").with_source(e))?;
        let signed: u64 = note.text().lines().nth(1).and_then(|size| size.parse().ok()).ok_or_else(none)?;
        let proof = self.tree.consistency(tree.epoch, size, signed).await?.ok_or_else(none)?;
        Ok((note, proof.into_iter().map(Hash::new).collect()))
    }
}
