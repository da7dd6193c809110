//! Nodes of a tree from its tiles, none of them believed before the root says so.

use super::{TILE_WIDTH, TileEdge, TileError, TileId, tile_hashes, width_at};
use crate::{
    hash::Hash,
    proof::{NodeId, NodeReader, Plan},
    tree,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    rc::Rc,
};

/// Tiles kept between nodes: 8 KiB each. Beyond it the reader starts afresh.
const CACHE_MAX: usize = 1_024;

type Tiles = BTreeMap<(u8, u64), Rc<[Hash]>>;

/// Reads nodes through a function that fetches tiles. A tile is used only after it has
/// led, through the tiles above it, to the root that the reader was given.
///
/// The function gets the name of a tile and answers `None` when there is none. For a
/// partial tile that is gone the full one is asked for, as tlog-tiles allows.
pub struct TileReader<F> {
    size: u64,
    fetch: F,
    /// Authenticated ones, by level and index. The right edge never leaves it.
    tiles: RefCell<Tiles>,
}

impl<F, E> TileReader<F>
where
    F: Fn(&TileId) -> Result<Option<Vec<u8>>, E>,
    E: Display,
{
    /// Fetches the tiles of the right edge, at most 8, and checks them against the root.
    ///
    /// # Errors
    /// [`TileError::RootMismatch`], or what is wrong with a tile.
    pub fn new(size: u64, root: &Hash, fetch: F) -> Result<Self, TileError> {
        let reader = Self { size, fetch, tiles: RefCell::default() };
        let mut failure = None;
        let mut partial = BTreeMap::new();
        let edge = TileEdge::from_tiles(size, |id| match reader.load(id.level(), id.index()) {
            Ok(hashes) => {
                partial.insert((id.level(), id.index()), Rc::clone(&hashes));
                Some(super::tile_bytes(&hashes))
            }
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        let edge = edge.map_err(|error| failure.unwrap_or(error))?;
        if edge.root() != *root {
            return Err(TileError::RootMismatch);
        }
        reader.tiles.replace(partial);
        Ok(reader)
    }

    /// Leaves in the tree.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// A tile of this tree, authenticated.
    fn tile(&self, level: u8, index: u64) -> Result<Rc<[Hash]>, TileError> {
        if let Some(tile) = self.tiles.borrow().get(&(level, index)) {
            return Ok(Rc::clone(tile));
        }
        let hashes = self.load(level, index)?;
        let parent = self.tile(level + 1, index / u64::from(TILE_WIDTH))?;
        let place = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        if parent.get(place) != Some(&tree::root(hashes.iter())) {
            return Err(TileError::Mismatch(TileId::new(level, index, TILE_WIDTH)?));
        }
        let mut tiles = self.tiles.borrow_mut();
        if tiles.len() >= CACHE_MAX {
            tiles.retain(|(level, index), _| width_at(self.size, *level, *index) < TILE_WIDTH);
        }
        tiles.insert((level, index), Rc::clone(&hashes));
        Ok(hashes)
    }

    /// A tile as it is served, cut to its width in this tree.
    fn load(&self, level: u8, index: u64) -> Result<Rc<[Hash]>, TileError> {
        let out_of_range = TileError::OutOfRange { size: self.size };
        let id = TileId::new(level, index, width_at(self.size, level, index)).map_err(|_| out_of_range)?;
        let (id, bytes) = match self.get(&id)? {
            Some(bytes) => (id, bytes),
            None if id.is_full() => return Err(TileError::Missing(id)),
            None => (id.full(), self.get(&id.full())?.ok_or(TileError::Missing(id))?),
        };
        let mut hashes = tile_hashes(&bytes, id.width()).ok_or_else(|| TileError::Width(id.to_string()))?;
        hashes.truncate(usize::from(width_at(self.size, level, index)));
        Ok(hashes.into())
    }

    fn get(&self, id: &TileId) -> Result<Option<Vec<u8>>, TileError> {
        (self.fetch)(id).map_err(|error| TileError::Fetch(error.to_string()))
    }
}

impl<F, E> NodeReader for TileReader<F>
where
    F: Fn(&TileId) -> Result<Option<Vec<u8>>, E>,
    E: Display,
{
    type Error = TileError;

    fn node(&self, id: NodeId) -> Result<Hash, TileError> {
        let out_of_range = TileError::OutOfRange { size: self.size };
        let place = place(id, self.size).ok_or(out_of_range.clone())?;
        let tile = self.tile(place.level, place.tile)?;
        tile.get(place.from..place.from + place.count).map(tree::root).ok_or(out_of_range)
    }
}

/// Where in the tiles a node's hash is, or is made from.
struct Place {
    level: u8,
    tile: u64,
    from: usize,
    count: usize,
}

/// `None` for a node that is not wholly in the tree.
fn place(id: NodeId, size: u64) -> Option<Place> {
    if u32::from(id.height) >= u64::BITS - 1 || id.index.checked_add(1)? > size >> id.height {
        return None;
    }
    let (level, within) = (id.height / 8, id.height % 8);
    let first = id.index << within;
    let from = usize::try_from(first % u64::from(TILE_WIDTH)).ok()?;
    Some(Place { level, tile: first / u64::from(TILE_WIDTH), from, count: 1 << within })
}

/// Every tile that a [`TileReader`] of a tree of this size fetches for these plans, so
/// that they can be fetched beforehand.
#[must_use]
pub fn tiles_for<'a>(plans: impl IntoIterator<Item = &'a Plan>, size: u64) -> BTreeSet<TileId> {
    let mut tiles: BTreeSet<TileId> = TileEdge::needed(size).collect();
    for node in plans.into_iter().flat_map(Plan::nodes) {
        let Some(Place { mut level, tile: mut index, .. }) = place(node, size) else { continue };
        while let Ok(id) = TileId::new(level, index, width_at(size, level, index)) {
            // Above a tile that is there already, and above a partial one, all are.
            if !tiles.insert(id) {
                break;
            }
            level += 1;
            index /= u64::from(TILE_WIDTH);
        }
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hash::leaf_hash,
        proof::{verify_consistency, verify_inclusion},
    };
    use proptest::prelude::*;
    use std::convert::Infallible;

    type Files = BTreeMap<TileId, Vec<u8>>;

    fn log(size: u64) -> (Vec<Hash>, Files, Hash) {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut edge = TileEdge::new();
        let tiles = edge.grow(&leaves).into_iter().map(|tile| (tile.id, tile.bytes)).collect();
        (leaves, tiles, edge.root())
    }

    fn from(tiles: &Files) -> impl Fn(&TileId) -> Result<Option<Vec<u8>>, Infallible> {
        |id| Ok(tiles.get(id).cloned())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn proofs_from_tiles_hold(size in 1_u64..1_500, picks in prop::collection::vec(any::<prop::sample::Index>(), 8)) {
            let (leaves, tiles, root) = log(size);
            let reader = TileReader::new(size, &root, from(&tiles)).unwrap();
            for pick in picks {
                let index = pick.index(leaves.len());
                let at = u64::try_from(index).unwrap();
                let plan = Plan::inclusion(at, size).unwrap();
                let proof = plan.assemble(&reader).unwrap();
                prop_assert_eq!(verify_inclusion(&leaves[index], at, size, &proof, &root), Ok(()));
                let few: Files = tiles_for([&plan], size).into_iter().map(|id| (id, tiles[&id].clone())).collect();
                prop_assert_eq!(plan.assemble(&TileReader::new(size, &root, from(&few)).unwrap()).unwrap(), proof);

                let proof = Plan::consistency(at, size).unwrap().assemble(&reader).unwrap();
                let old = tree::root(&leaves[..index]);
                prop_assert_eq!(verify_consistency(at, &old, size, &root, &proof), Ok(()));
                let parts = Plan::root(at).unwrap().assemble(&reader).unwrap();
                prop_assert_eq!(parts.first().copied().unwrap_or_else(crate::hash::empty_root), old);
            }
        }

        #[test]
        fn a_changed_byte_is_never_believed(size in 1_u64..1_500, tile in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), index in any::<prop::sample::Index>()) {
            let (leaves, mut tiles, root) = log(size);
            let bytes = tiles.values_mut().nth(tile.index(new_len(size))).unwrap();
            let at = byte.index(bytes.len());
            bytes[at] ^= 1;
            let index = index.index(leaves.len());
            let at = u64::try_from(index).unwrap();
            if let Ok(reader) = TileReader::new(size, &root, from(&tiles))
                && let Ok(proof) = Plan::inclusion(at, size).unwrap().assemble(&reader)
            {
                prop_assert_eq!(verify_inclusion(&leaves[index], at, size, &proof, &root), Ok(()));
            }
        }
    }

    fn new_len(size: u64) -> usize {
        super::super::new_tiles(0, size).count()
    }

    #[test]
    fn a_partial_tile_that_is_gone_is_cut_from_the_full_one() {
        let (_, tiles, _) = log(256);
        let (_, _, root) = log(100);
        let reader = TileReader::new(100, &root, from(&tiles)).unwrap();
        assert!(reader.node(NodeId { height: 0, index: 99 }).is_ok());
        assert_eq!(reader.node(NodeId { height: 0, index: 100 }), Err(TileError::OutOfRange { size: 100 }));
        assert_eq!(reader.node(NodeId { height: 200, index: 0 }), Err(TileError::OutOfRange { size: 100 }));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let (_, mut tiles, root) = log(600);
        assert_eq!(TileReader::new(600, &leaf_hash(b""), from(&tiles)).err(), Some(TileError::RootMismatch));
        let full = TileId::new(0, 1, 256).unwrap();
        tiles.get_mut(&full).unwrap()[0] ^= 1;
        let leaf = NodeId { height: 0, index: 300 };
        assert_eq!(TileReader::new(600, &root, from(&tiles)).unwrap().node(leaf), Err(TileError::Mismatch(full)));
        tiles.remove(&full);
        assert_eq!(TileReader::new(600, &root, from(&tiles)).unwrap().node(leaf), Err(TileError::Missing(full)));
        let partial = TileId::new(0, 2, 88).unwrap();
        tiles.insert(partial, vec![0; 31]);
        assert_eq!(TileReader::new(600, &root, from(&tiles)).err(), Some(TileError::Width(partial.to_string())));
    }
}
