//! From records to the files of a segment.

use super::{FRAME_RECORDS, FRAMES, FileEntry, HEIGHT, Manifest, NUMBER_END, Names, SEGMENT_RECORDS, SegmentError};
use crate::{
    canonical::RECORD_MAX,
    checkpoint::Checkpoint,
    hash::{Hash, leaf_hash},
    note::Note,
    proof::verify_consistency,
    tile::tile_bytes,
    tree::{self, Frontier},
};

/// How hard zstd tries. Segments are written once and kept for years.
const LEVEL: i32 = 9;

/// A file, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its name, without a folder.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What was archived before a segment.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The frontier of the log at the segment's begin: of `n * 65,536` records.
    pub frontier: Frontier,
    /// The manifest of the segment before; none for segment 0.
    pub manifest: Option<Manifest>,
}

/// A segment that is ready to be stored.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Records, tiles, checkpoint, and the manifest last: where it is, the others are.
    pub blobs: Vec<Blob>,
    /// What the next segment is written after.
    pub after: Before,
}

/// Makes the segment that follows what was archived before. The records are 65,536 of
/// 1 to 65,535 bytes without newlines, in the order of the log; `proof` is the consistency
/// proof from the segment's end to the checkpoint. Records that the checkpoint does not
/// vouch for are not archived; whose signatures it carries is not looked at.
///
/// Memory: the packed segment and one frame.
///
/// # Errors
/// [`SegmentError`].
pub fn write<T: AsRef<[u8]>>(
    before: &Before,
    records: impl IntoIterator<Item = T>,
    checkpoint: &Note,
    proof: &[Hash],
) -> Result<Segment, SegmentError> {
    let number = number(before)?;
    let mut writer = Writer::new()?;
    for record in records {
        writer.record(record.as_ref())?;
    }
    let Packed { records: packed, frames, tiles, subtree } = writer.finish()?;
    let mut frontier = before.frontier.clone();
    frontier.push_subtree(HEIGHT, subtree);
    vouches(&frontier, checkpoint, proof)?;

    let note = checkpoint.to_bytes();
    let manifest = Manifest {
        segment: number,
        root: frontier.root(),
        frames,
        records: FileEntry::of(&packed),
        tiles: FileEntry::of(&tiles),
        checkpoint: FileEntry::of(&note),
        proof: proof.to_vec(),
        previous: before.manifest.as_ref().map(Manifest::digest).transpose()?,
    };
    let names = Names::of(number);
    let blobs = vec![
        Blob { name: names.records, bytes: packed },
        Blob { name: names.tiles, bytes: tiles },
        Blob { name: names.checkpoint, bytes: note },
        Blob { name: names.manifest, bytes: manifest.to_bytes()? },
    ];
    Ok(Segment { blobs, after: Before { frontier, manifest: Some(manifest) } })
}

fn number(before: &Before) -> Result<u64, SegmentError> {
    let number = before.manifest.as_ref().map_or(0, |manifest| manifest.segment + 1);
    let follows = number < NUMBER_END && before.frontier.size() == number * SEGMENT_RECORDS;
    let same_root = before.manifest.as_ref().is_none_or(|manifest| manifest.root == before.frontier.root());
    if follows && same_root { Ok(number) } else { Err(SegmentError::Continuity) }
}

/// Whether the checkpoint, of the log at the segment's end or later, extends it.
fn vouches(frontier: &Frontier, checkpoint: &Note, proof: &[Hash]) -> Result<(), SegmentError> {
    let checkpoint: Checkpoint = checkpoint.text().parse().map_err(|error| SegmentError::Checkpoint(Box::new(error)))?;
    verify_consistency(frontier.size(), &frontier.root(), checkpoint.size(), checkpoint.root(), proof)
        .map_err(|error| SegmentError::Checkpoint(Box::new(error)))
}

/// What the records became.
struct Packed {
    records: Vec<u8>,
    frames: Vec<u32>,
    tiles: Vec<u8>,
    /// The root of the subtree over them.
    subtree: Hash,
}

struct Writer {
    compressor: zstd::bulk::Compressor<'static>,
    packed: Vec<u8>,
    frames: Vec<u32>,
    tiles: Vec<u8>,
    /// The roots of the level-0 tiles.
    roots: Vec<Hash>,
    lines: Vec<u8>,
    leaves: Vec<Hash>,
}

impl Writer {
    fn new() -> Result<Self, SegmentError> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        Ok(Self {
            compressor,
            packed: Vec::new(),
            frames: Vec::new(),
            tiles: Vec::new(),
            roots: Vec::new(),
            lines: Vec::new(),
            leaves: Vec::new(),
        })
    }

    fn record(&mut self, record: &[u8]) -> Result<(), SegmentError> {
        let is_line = (1..=RECORD_MAX).contains(&record.len()) && !record.contains(&b'\n');
        if !is_line || self.frames.len() == FRAMES {
            return Err(SegmentError::Records);
        }
        self.lines.extend_from_slice(record);
        self.lines.push(b'\n');
        self.leaves.push(leaf_hash(record));
        if self.leaves.len() == FRAME_RECORDS { self.frame() } else { Ok(()) }
    }

    fn frame(&mut self) -> Result<(), SegmentError> {
        let frame = self.compressor.compress(&self.lines)?;
        self.frames.push(u32::try_from(frame.len()).map_err(|_| SegmentError::Frame)?);
        self.packed.extend_from_slice(&frame);
        self.tiles.extend_from_slice(&tile_bytes(&self.leaves));
        self.roots.push(tree::root(&self.leaves));
        self.lines.clear();
        self.leaves.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Packed, SegmentError> {
        if self.frames.len() != FRAMES || !self.leaves.is_empty() {
            return Err(SegmentError::Records);
        }
        self.tiles.extend_from_slice(&tile_bytes(&self.roots));
        Ok(Packed { records: self.packed, frames: self.frames, tiles: self.tiles, subtree: tree::root(&self.roots) })
    }
}
