//! What a segment's files are.

use super::{FRAME_PACKED_MAX, FRAMES, NUMBER_END, Names, SEGMENT_RECORDS, SegmentError, TILES_BYTES};
use crate::{
    canonical,
    hash::{Hash, sha256},
    proof::PROOF_MAX,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The version that is written and read.
const VERSION: u32 = 1;

/// A segment's description, a file of canonical JSON of at most [`canonical::RECORD_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The segment's number, from 0.
    pub segment: u64,
    /// The root of the log when the segment's last record was its last.
    pub root: Hash,
    /// The packed bytes of each of the 256 frames, in order.
    pub frames: Vec<u32>,
    /// `seg-<n>.jsonl.zst`.
    pub records: FileEntry,
    /// `seg-<n>.tiles`.
    pub tiles: FileEntry,
    /// `seg-<n>.checkpoint`.
    pub checkpoint: FileEntry,
    /// The consistency proof from the segment's end to the checkpoint.
    pub proof: Vec<Hash>,
    /// SHA-256 of the manifest before; none for segment 0.
    pub previous: Option<Hash>,
}

/// What a file must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Hash,
}

/// The form in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    v: u32,
    segment: u64,
    first: u64,
    count: u64,
    root: String,
    frames: Vec<u32>,
    files: Files,
    proof: Vec<String>,
    previous: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    records: File,
    tiles: File,
    checkpoint: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    bytes: u64,
    sha256: String,
}

impl FileEntry {
    /// The entry of a file with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX), sha256: sha256(bytes) }
    }
}

impl Manifest {
    /// The index of the segment's first record.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.segment * SEGMENT_RECORDS
    }

    /// The size of the log with the segment and nothing behind it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first() + SEGMENT_RECORDS
    }

    /// Where a frame lies in the file of records; `None` beyond the last.
    #[must_use]
    pub fn frame(&self, frame: usize) -> Option<Range<u64>> {
        let length = self.frames.get(frame)?;
        let start: u64 = self.frames.iter().take(frame).copied().map(u64::from).sum();
        Some(start..start + u64::from(*length))
    }

    /// What the next manifest calls this one.
    ///
    /// # Errors
    /// As [`Manifest::to_bytes`].
    pub fn digest(&self) -> Result<Hash, SegmentError> {
        self.to_bytes().map(|bytes| sha256(&bytes))
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`SegmentError::Manifest`] for values that a manifest cannot hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SegmentError> {
        let names = Names::of(self.segment);
        let file = |name, entry: FileEntry| File { name, bytes: entry.bytes, sha256: entry.sha256.to_hex() };
        let form = Form {
            v: VERSION,
            segment: self.segment,
            first: self.first(),
            count: SEGMENT_RECORDS,
            root: self.root.to_string(),
            frames: self.frames.clone(),
            files: Files {
                records: file(names.records, self.records),
                tiles: file(names.tiles, self.tiles),
                checkpoint: file(names.checkpoint, self.checkpoint),
            },
            proof: self.proof.iter().map(Hash::to_string).collect(),
            previous: self.previous.map(|hash| hash.to_hex()),
        };
        let value = serde_json::to_value(form).map_err(malformed)?;
        canonical::encode(&value).map_err(malformed)
    }

    /// Reads a manifest of at most [`canonical::RECORD_MAX`] bytes; only the bytes that
    /// [`Manifest::to_bytes`] writes are accepted.
    ///
    /// # Errors
    /// [`SegmentError::Manifest`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        canonical::check(bytes).map_err(malformed)?;
        let form: Form = serde_json::from_slice(bytes).map_err(malformed)?;
        let manifest = Self::read(&form).ok_or_else(|| malformed("a member has a value that it cannot have"))?;
        // Names, range and version are not kept, but must be what they would be written as.
        if manifest.to_bytes()? == bytes { Ok(manifest) } else { Err(malformed("a member contradicts another")) }
    }

    fn read(form: &Form) -> Option<Self> {
        let file = |file: &File| Some(FileEntry { bytes: file.bytes, sha256: Hash::from_hex(&file.sha256)? });
        let packed: u64 = form.frames.iter().copied().map(u64::from).sum();
        let tiles = u64::try_from(TILES_BYTES).ok()?;
        let fits = form.segment < NUMBER_END
            && form.frames.len() == FRAMES
            && form.frames.iter().all(|length| usize::try_from(*length).is_ok_and(|length| length <= FRAME_PACKED_MAX))
            && packed == form.files.records.bytes
            && form.files.tiles.bytes == tiles
            && form.proof.len() <= PROOF_MAX
            && form.previous.is_some() == (form.segment > 0);
        if !fits {
            return None;
        }
        Some(Self {
            segment: form.segment,
            root: Hash::from_base64(&form.root)?,
            frames: form.frames.clone(),
            records: file(&form.files.records)?,
            tiles: file(&form.files.tiles)?,
            checkpoint: file(&form.files.checkpoint)?,
            proof: form.proof.iter().map(|hash| Hash::from_base64(hash)).collect::<Option<_>>()?,
            previous: match &form.previous {
                Some(hash) => Some(Hash::from_hex(hash)?),
                None => None,
            },
        })
    }
}

fn malformed(why: impl std::fmt::Display) -> SegmentError {
    SegmentError::Manifest(why.to_string())
}
