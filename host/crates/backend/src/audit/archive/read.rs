//! Records that are in the archive only, each held against the log's tree before anybody sees it.

use super::{
    folder::ArchiveFolder,
    shelf::{Archived, Pruned, Shelf},
};
use crate::audit::tree::TreeStore;
use bytes::Bytes;
use moka::future::Cache;
use plinth_audit::{
    hash::{HASH_BYTES, leaf_hash},
    segment::{FRAME_RECORDS, FRAMES, Manifest, Names, SEGMENT_RECORDS, read_frame},
};
use plinth_capability::{Error, ErrorKind, Result};
use std::{ops::Range, sync::Arc};
use tokio::sync::Semaphore;

const OPERATION: &str = "audit.archive";
/// Frames that are fetched at once, unless they are large.
const AHEAD: usize = 16;
/// Packed bytes that are fetched at once, unless one frame has more.
const FETCH_BYTES: u64 = 8 << 20;
/// Frames that are remembered: the next page begins where the last one ended.
const REMEMBERED: u64 = 32;
/// Those who fetch and unpack at once; the others wait.
const READERS: usize = 2;

const FRAME: u64 = FRAME_RECORDS as u64;

/// The 256 records of a frame.
pub(crate) type Frame = Arc<Vec<Vec<u8>>>;

/// What was taken out of the database, as far as the archive has it.
pub(crate) struct Shelved {
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) store: Arc<dyn TreeStore>,
    pub(super) folder: Option<ArchiveFolder>,
    frames: Cache<(u64, u64), Frame>,
    busy: Semaphore,
}

/// A record and its place in the log.
pub(crate) struct Found {
    pub(crate) sequence: u64,
    pub(crate) bytes: Vec<u8>,
}

fn damaged(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Failed, OPERATION, why)
}

impl Shelved {
    pub(crate) fn new(shelf: Arc<dyn Shelf>, store: Arc<dyn TreeStore>, folder: Option<ArchiveFolder>) -> Self {
        Self { shelf, store, folder, frames: Cache::new(REMEMBERED), busy: Semaphore::new(READERS) }
    }

    pub(crate) fn shelf(&self) -> &dyn Shelf {
        &*self.shelf
    }

    /// The folder of an epoch; an error where this host was given no archive.
    pub(super) fn folder(&self, epoch: u64) -> Result<ArchiveFolder> {
        let none = || Error::new(ErrorKind::Unavailable, OPERATION, "these records are in an archive that this host is not configured for");
        self.folder.as_ref().map(|folder| folder.epoch(epoch)).ok_or_else(none)
    }

    /// What an epoch has lost to the archive.
    pub(crate) async fn pruned(&self, epoch: u64) -> Result<Option<Pruned>> {
        Ok(self.shelf.pruned().await?.into_iter().find(|pruned| pruned.epoch == epoch))
    }

    /// Those of a tree's records that were taken out of the database, and are in one bundle.
    pub(crate) async fn bundle(&self, epoch: u64, index: u64) -> Result<Option<Frame>> {
        let first = index.saturating_mul(FRAME);
        match self.pruned(epoch).await? {
            Some(pruned) if first < pruned.leaves && !pruned.dropped(first) => self.frame(epoch, index).await,
            _ => Ok(None),
        }
    }

    /// A record by its id, if it was taken out of the database. Reads the whole segments whose ids are around this one:
    /// ids are made in the order of time, so it is one or two.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Found>> {
        let pruned = self.shelf.pruned().await?;
        for (epoch, segment) in self.shelf.among(id).await? {
            let Some(gone) = pruned.iter().find(|gone| gone.epoch == epoch) else { continue };
            let frames = segment * FRAMES as u64..(segment + 1) * FRAMES as u64;
            for index in frames {
                let first = index * FRAME;
                if first >= gone.leaves || gone.dropped(first) {
                    break;
                }
                let Some(frame) = self.frame(epoch, index).await? else { break };
                let found = (first..).zip(frame.iter()).find(|(_, bytes)| has_id(bytes, id));
                if let Some((leaf, bytes)) = found {
                    return Ok(Some(Found { sequence: gone.first + leaf, bytes: bytes.clone() }));
                }
            }
        }
        Ok(None)
    }

    /// The records of a frame, by its number in the epoch; `None` where the segment is not in the archive.
    pub(crate) async fn frame(&self, epoch: u64, index: u64) -> Result<Option<Frame>> {
        if let Some(frame) = self.frames.get(&(epoch, index)).await {
            return Ok(Some(frame));
        }
        let _permit = self.busy.acquire().await.map_err(|e| Error::new(ErrorKind::Internal, OPERATION, "closed").with_source(e))?;
        // Whoever waited may find that another has fetched it.
        if let Some(frame) = self.frames.get(&(epoch, index)).await {
            return Ok(Some(frame));
        }
        let Some(archived) = self.shelf.segment(epoch, index / FRAMES as u64).await? else { return Ok(None) };
        let manifest = manifest(&archived)?;
        let at = usize::try_from(index % FRAMES as u64).unwrap_or(0);
        let (frames, bytes) = ahead(&manifest, at);
        let names = Names::of(archived.segment);
        let packed = self.folder(epoch)?.range(&names.records, bytes).await?;
        let packed = packed.ok_or_else(|| damaged(format!("the archive has no `{}` of that length any more", names.records)))?;
        let lengths = manifest.frames.get(frames.clone()).unwrap_or_default().to_vec();
        let unpacked = tokio::task::spawn_blocking(move || unpack(&packed, &lengths)).await;
        let unpacked = unpacked.map_err(|e| Error::new(ErrorKind::Internal, OPERATION, "cut off").with_source(e))??;
        let mut wanted = None;
        for (Unpacked { records, leaves }, index) in unpacked.into_iter().zip(index..) {
            self.held_against_the_tree(epoch, index, &leaves).await?;
            let frame = Arc::new(records);
            wanted.get_or_insert_with(|| frame.clone());
            self.frames.insert((epoch, index), frame).await;
        }
        Ok(wanted)
    }

    async fn held_against_the_tree(&self, epoch: u64, index: u64, leaves: &[u8]) -> Result<()> {
        let tiles = self.store.tiles(epoch, &[(0, index)]).await?;
        match tiles.first() {
            Some(tile) if tile.hashes == leaves => Ok(()),
            _ => {
                let first = index * FRAME;
                Err(damaged(format!(
                    "the archive's records {first} to {} of epoch {epoch} are not those of the log's tree",
                    first + FRAME - 1
                )))
            }
        }
    }
}

pub(super) fn manifest(archived: &Archived) -> Result<Manifest> {
    Manifest::parse(&archived.manifest).map_err(|e| damaged("the stored manifest of a segment is damaged").with_source(e))
}

/// The frames from this one on that are fetched together, and where they lie.
fn ahead(manifest: &Manifest, at: usize) -> (Range<usize>, Range<u64>) {
    let lies = |frame| manifest.frame(frame).unwrap_or_default();
    let (start, mut end, mut until) = (lies(at).start, at + 1, lies(at).end);
    while end < FRAMES && end < at + AHEAD && lies(end).end - start <= FETCH_BYTES {
        until = lies(end).end;
        end += 1;
    }
    (at..end, start..until)
}

/// A frame's records, and their leaves as a tile has them.
struct Unpacked {
    records: Vec<Vec<u8>>,
    leaves: Vec<u8>,
}

fn unpack(packed: &Bytes, lengths: &[u32]) -> Result<Vec<Unpacked>> {
    let mut rest = packed.as_ref();
    let mut frames = Vec::with_capacity(lengths.len());
    for length in lengths {
        let length = usize::try_from(*length).unwrap_or(usize::MAX);
        let (frame, after) = rest.split_at_checked(length).ok_or_else(|| damaged("a segment is shorter than its manifest says"))?;
        let records = read_frame(frame).map_err(|e| damaged("a frame of a segment is damaged").with_source(e))?;
        let mut leaves = Vec::with_capacity(records.len() * HASH_BYTES);
        records.iter().for_each(|record| leaves.extend_from_slice(leaf_hash(record).as_bytes()));
        frames.push(Unpacked { records, leaves });
        rest = after;
    }
    Ok(frames)
}

/// Whether it is the id of this record, not one that the record speaks of.
fn has_id(bytes: &[u8], id: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    let spoken = std::str::from_utf8(bytes).is_ok_and(|text| text.contains(id));
    spoken && serde_json::from_slice::<Id>(bytes).is_ok_and(|record| record.id == id)
}

/// Leaves of a whole segment.
pub(crate) const fn segment_of(leaf: u64) -> u64 {
    leaf / SEGMENT_RECORDS
}
