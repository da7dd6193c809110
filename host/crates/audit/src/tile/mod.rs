//! tlog-tiles: a tree as files of 256 hashes, its records as bundles of 256 entries.
//!
//! A tile of level `L` holds hashes of subtrees of `256^L` leaves. All but the
//! rightmost of a level are full; a partial one is named with its width.

mod bundle;
mod grow;
mod path;
mod reader;

pub use bundle::{decode_bundle, encode_bundle};
pub use grow::{Tile, TileEdge, new_bundles, new_tiles};
pub use path::{Resource, TileId};
pub use reader::{TileReader, tiles_for};

use crate::hash::Hash;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// The highest level that has a name.
pub const LEVEL_MAX: u8 = 63;

/// The most bytes of a tile: 256 hashes.
pub const TILE_BYTES_MAX: usize = 8_192;

/// The most bytes of an entry bundle: 256 entries of 65,535 bytes with their lengths.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + 65_535);

/// What is wrong with a tile, an entry bundle or the path of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not a path that tlog-tiles defines, or not in its one spelling.
    #[error("not the path of a tile or an entry bundle")]
    Path,
    /// A level above 63, a width outside 1 to 256, or an index of 2^56 and more.
    #[error("no tile has this level, index or width")]
    Range,
    /// Not the number of bytes or of entries that the width asks for.
    #[error("{0} does not have the width in its name")]
    Width(String),
    /// An entry longer than 65,535 bytes, or a bundle of none or of more than 256.
    #[error("an entry bundle holds 1 to 256 entries of at most 65,535 bytes")]
    Bundle,
    /// A tile that the tree needs is not there.
    #[error("{0} is missing")]
    Missing(TileId),
    /// A tile is not the one that the root commits to.
    #[error("{0} does not fit the root")]
    Mismatch(TileId),
    /// The tiles at the right edge do not lead to the root.
    #[error("the tiles at the right edge do not lead to the root")]
    RootMismatch,
    /// A node outside the tree.
    #[error("a tree of {size} leaves has no such node")]
    OutOfRange {
        /// Leaves in the tree.
        size: u64,
    },
    /// The tile could not be fetched.
    #[error("could not fetch a tile: {0}")]
    Fetch(String),
}

/// The hashes in a tile's bytes; `None` unless there are exactly `width`.
#[must_use]
pub fn tile_hashes(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks();
    (rest.is_empty() && hashes.len() == usize::from(width)).then(|| hashes.iter().copied().map(Hash::new).collect())
}

/// A tile's bytes.
#[must_use]
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(Hash::as_bytes).copied().collect()
}

/// How many nodes a tree of `size` leaves has at the height of this level's hashes.
pub(crate) fn nodes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// How many hashes the tile has in a tree of this size; 0 where there is no such tile.
pub(crate) fn width_at(size: u64, level: u8, index: u64) -> u16 {
    let nodes = nodes_at(size, level).saturating_sub(index.saturating_mul(u64::from(TILE_WIDTH)));
    u16::try_from(nodes).unwrap_or(TILE_WIDTH).min(TILE_WIDTH)
}
