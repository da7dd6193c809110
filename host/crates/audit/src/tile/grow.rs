//! Which tiles a growing tree has, and what is in them.

use super::{Resource, TILE_WIDTH, TileError, TileId, nodes_at, tile_bytes, tile_hashes, width_at};
use crate::{
    hash::Hash,
    text::TREE_SIZE_MAX,
    tree::{self, Frontier},
};
use std::collections::BTreeMap;

/// Levels that a tree of 2^63 - 1 leaves has.
const LEVELS: u8 = 8;

/// A tile and its bytes: 32 for each hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Its name.
    pub id: TileId,
    /// Its hashes, concatenated.
    pub bytes: Vec<u8>,
}

/// The tiles that a tree of `to` leaves has and one of `from` leaves has not, level by
/// level. Among them are all full ones; of the partial ones only those of size `to`.
pub fn new_tiles(from: u64, to: u64) -> impl Iterator<Item = TileId> {
    (0..LEVELS).flat_map(move |level| {
        let (before, after) = (nodes_at(from, level), nodes_at(to, level));
        let width = u64::from(TILE_WIDTH);
        let end = if before < after { after.div_ceil(width) } else { 0 };
        (before / width..end).filter_map(move |index| TileId::new(level, index, width_at(to, level, index)).ok())
    })
}

/// The entry bundles that a log of `to` records has and one of `from` records has not.
pub fn new_bundles(from: u64, to: u64) -> impl Iterator<Item = Resource> {
    new_tiles(from, to).take_while(|id| id.level() == 0).map(|id| Resource::Entries { index: id.index(), width: id.width() })
}

/// The right edge of a tree: the partial tile of each level. It is all that has to be
/// kept to make the tiles of a larger tree; at most 8 tiles of 255 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileEdge {
    size: u64,
    /// The hashes of the partial tile of each level that has one.
    levels: BTreeMap<u8, Vec<Hash>>,
}

impl TileEdge {
    /// The edge of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tiles that [`TileEdge::from_tiles`] asks for: the partial ones.
    pub fn needed(size: u64) -> impl Iterator<Item = TileId> {
        (0..LEVELS).filter_map(move |level| {
            let index = nodes_at(size, level) / u64::from(TILE_WIDTH);
            TileId::new(level, index, width_at(size, level, index)).ok()
        })
    }

    /// The edge of a tree of `size` leaves, at most 2^63 - 1, from its partial tiles.
    /// Whether they are the tree's is seen from [`TileEdge::root`].
    ///
    /// # Errors
    /// [`TileError::Missing`] or [`TileError::Width`] for a tile that is not as it should be.
    pub fn from_tiles(size: u64, mut fetch: impl FnMut(&TileId) -> Option<Vec<u8>>) -> Result<Self, TileError> {
        if size > TREE_SIZE_MAX {
            return Err(TileError::OutOfRange { size });
        }
        let mut edge = Self { size, levels: BTreeMap::new() };
        for id in Self::needed(size) {
            let bytes = fetch(&id).ok_or(TileError::Missing(id))?;
            *edge.level(id.level()) = tile_hashes(&bytes, id.width()).ok_or_else(|| TileError::Width(id.to_string()))?;
        }
        Ok(edge)
    }

    /// Leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The frontier of the tree.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::new();
        for (level, hashes) in self.levels.iter().rev() {
            hashes.iter().for_each(|hash| frontier.push_subtree(8 * level, *hash));
        }
        frontier
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier().root()
    }

    /// Appends leaves, and gives the tiles of [`new_tiles`] with their bytes.
    #[must_use = "the edge no longer knows the full tiles"]
    pub fn grow(&mut self, leaves: &[Hash]) -> Vec<Tile> {
        let from = self.size;
        let mut full = Vec::new();
        for leaf in leaves {
            self.push(0, *leaf, &mut full);
            self.size += 1;
        }
        let partial = new_tiles(from, self.size).filter(|id| !id.is_full());
        let partial: Vec<_> = partial.map(|id| Tile { id, bytes: tile_bytes(self.level(id.level())) }).collect();
        full.extend(partial);
        full.sort_by_key(|tile| tile.id);
        full
    }

    fn push(&mut self, level: u8, hash: Hash, full: &mut Vec<Tile>) {
        // The node that this hash is, counted in its level.
        let index = nodes_at(self.size, level) / u64::from(TILE_WIDTH);
        let hashes = self.level(level);
        hashes.push(hash);
        if hashes.len() < usize::from(TILE_WIDTH) {
            return;
        }
        let hashes = std::mem::take(hashes);
        full.extend(TileId::new(level, index, TILE_WIDTH).ok().map(|id| Tile { id, bytes: tile_bytes(&hashes) }));
        self.push(level + 1, tree::root(&hashes), full);
    }

    fn level(&mut self, level: u8) -> &mut Vec<Hash> {
        self.levels.entry(level).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn leaves(range: std::ops::Range<u64>) -> Vec<Hash> {
        range.map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    fn widths(size: u64) -> BTreeSet<(u8, u64, u16)> {
        new_tiles(0, size).map(|id| (id.level(), id.index(), id.width())).collect()
    }

    #[test]
    fn trees_have_the_tiles_of_the_specifications_examples() {
        let found = widths(70_000);
        let full = |level| found.iter().filter(|(l, _, width)| *l == level && *width == 256).count();
        assert_eq!((full(0), full(1), full(2)), (273, 1, 0));
        for partial in [(0, 273, 112), (1, 1, 17), (2, 0, 1)] {
            assert!(found.contains(&partial), "{partial:?}");
        }
        assert_eq!(found.len(), 273 + 1 + 3);
        assert_eq!(widths(256), BTreeSet::from([(0, 0, 256), (1, 0, 1)]));
        assert_eq!(widths(0), BTreeSet::new());
    }

    #[test]
    fn nothing_is_new_without_growth() {
        assert_eq!(new_tiles(256, 256).count(), 0);
        assert_eq!(new_bundles(0, 257).map(|b| b.to_string()).collect::<Vec<_>>(), ["tile/entries/000", "tile/entries/001.p/1"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn growing_in_steps_gives_the_tiles_of_the_whole(steps in prop::collection::vec(0_u64..700, 1..6)) {
            let mut edge = TileEdge::new();
            let mut stored = BTreeMap::new();
            for step in steps {
                let from = edge.size();
                let tiles = edge.grow(&leaves(from..from + step));
                let ids: Vec<_> = tiles.iter().map(|tile| tile.id).collect();
                prop_assert_eq!(ids, new_tiles(from, from + step).collect::<Vec<_>>());
                stored.extend(tiles.into_iter().map(|tile| (tile.id, tile.bytes)));
                let again = TileEdge::from_tiles(edge.size(), |id| stored.get(id).cloned()).unwrap();
                prop_assert_eq!(again.root(), edge.root());
                prop_assert_eq!(edge.root(), tree::root(&leaves(0..edge.size())));
            }
            let mut whole = TileEdge::new();
            for tile in whole.grow(&leaves(0..edge.size())) {
                prop_assert_eq!(stored.get(&tile.id), Some(&tile.bytes));
            }
        }
    }
}
