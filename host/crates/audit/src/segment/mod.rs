//! The archive of a log: four files for every 65,536 records.
//!
//! | file | holds |
//! |---|---|
//! | `seg-<n>.jsonl.zst` | the records, one a line, 256 to a zstd frame |
//! | `seg-<n>.tiles` | the 256 level-0 tiles, then the level-1 tile above them |
//! | `seg-<n>.checkpoint` | a signed checkpoint of the log with these records or more |
//! | `seg-<n>.manifest.json` | range, hashes, frames, and how the checkpoint extends the segment |
//!
//! A line is exactly a record's bytes, so an auditor needs `zstd` and SHA-256 and nothing
//! of ours. The manifest names its predecessor by hash; the checkpoint vouches for all.

mod manifest;
mod read;
mod since;
mod verify;
mod write;

pub use manifest::{FileEntry, Manifest};
pub use read::{Archive, read_frame};
pub use since::check_since;
pub use verify::{Chain, verify_segments};
pub use write::{Before, Blob, Segment, write};

use crate::tile::TILE_BYTES_MAX;

/// Records in a segment.
pub const SEGMENT_RECORDS: u64 = 65_536;

/// Records in a frame, the least that can be read.
pub const FRAME_RECORDS: usize = 256;

/// Frames in a segment.
pub const FRAMES: usize = 256;

/// The most bytes of a frame when unpacked: records of 65,535 bytes, each with its newline.
pub const FRAME_BYTES_MAX: usize = FRAME_RECORDS * 65_536;

/// The most bytes of a packed frame: what does not compress grows by less than this.
pub const FRAME_PACKED_MAX: usize = FRAME_BYTES_MAX + FRAME_BYTES_MAX / 128;

/// Bytes of the file of tiles.
pub const TILES_BYTES: usize = (FRAMES + 1) * TILE_BYTES_MAX;

/// The height of the subtree that a segment is.
const HEIGHT: u8 = 16;

/// Segments are numbered below this.
const NUMBER_END: u64 = 1 << 40;

/// Why a segment cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Not 65,536 records, or one that cannot be a line.
    #[error("a segment has {SEGMENT_RECORDS} records of 1 to 65,535 bytes without newlines")]
    Records,
    /// The tree before does not end where the segment begins, or the manifest before is of another segment.
    #[error("the segment does not follow what was archived before")]
    Continuity,
    /// The checkpoint does not vouch for the records.
    #[error("the checkpoint does not extend the segment")]
    Checkpoint(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A manifest that this version would not write.
    #[error("the manifest is malformed: {0}")]
    Manifest(String),
    /// A frame that is not 256 records.
    #[error("the frame is not {FRAME_RECORDS} records")]
    Frame,
    /// The compressor failed.
    #[error("could not compress")]
    Compress(#[from] std::io::Error),
}

/// The names of a segment's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The records.
    pub records: String,
    /// The tiles.
    pub tiles: String,
    /// The checkpoint.
    pub checkpoint: String,
    /// The manifest, to be written last.
    pub manifest: String,
}

impl Names {
    /// Those of segment `n`.
    #[must_use]
    pub fn of(n: u64) -> Self {
        let name = |kind| format!("seg-{n}.{kind}");
        Self { records: name("jsonl.zst"), tiles: name("tiles"), checkpoint: name("checkpoint"), manifest: name("manifest.json") }
    }
}

#[cfg(test)]
mod tests;
