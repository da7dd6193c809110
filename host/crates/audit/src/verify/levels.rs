//! The tiles above level 0, against what the level below leads to.

use super::{Check, Finding, Findings, Place, Source, bundles::read_tile};
use crate::{
    hash::Hash,
    tile::{TILE_WIDTH, TileId, nodes_at},
    tree::{self, Frontier},
};

/// What the levels lead to.
pub(super) struct Levels {
    /// `None` when a hash that it is made from is not to be had.
    pub(super) root: Option<Hash>,
    pub(super) files: u64,
}

/// Compares level by level: `nodes` are the hashes of level 1, `rest` those of the partial level-0 tile.
pub(super) fn compare<S: Source>(
    source: &S,
    size: u64,
    mut nodes: Vec<Option<Hash>>,
    rest: Option<Vec<Hash>>,
    findings: &mut Findings,
) -> Levels {
    // The partial tile of each level, from level 0: together they are the tree's edge.
    let mut edge = vec![rest];
    let mut files = 0;
    let mut level = 1;
    while nodes_at(size, level) > 0 {
        let mut above = Vec::with_capacity(nodes.len() / usize::from(TILE_WIDTH));
        let mut partial = Some(Vec::new());
        for (computed, index) in nodes.chunks(usize::from(TILE_WIDTH)).zip(0..) {
            let width = u16::try_from(computed.len()).unwrap_or(TILE_WIDTH);
            let (tile, found) = TileId::new(level, index, width).map_or((None, false), |id| read_tile(source, id, findings));
            files += u64::from(found);
            let hashes = settle(level, index, computed, tile, findings);
            if width == TILE_WIDTH {
                above.push(hashes.map(|hashes| tree::root(&hashes)));
            } else {
                partial = hashes;
            }
        }
        edge.push(partial);
        nodes = above;
        level += 1;
    }
    Levels { root: root(edge), files }
}

/// The hashes that the level above is made from: the tile's, or the computed ones where there is none.
fn settle(level: u8, index: u64, computed: &[Option<Hash>], tile: Option<Vec<Hash>>, findings: &mut Findings) -> Option<Vec<Hash>> {
    let Some(tile) = tile else { return computed.iter().copied().collect() };
    for ((node, computed), expected) in (index * u64::from(TILE_WIDTH)..).zip(computed).zip(&tile) {
        if let Some(computed) = computed.filter(|computed| computed != expected) {
            let place = Place::Records(node << (8 * level), ((node + 1) << (8 * level)) - 1);
            findings.add(Finding::tampered(place, Check::Tile, expected, computed));
        }
    }
    Some(tile)
}

fn root(edge: Vec<Option<Vec<Hash>>>) -> Option<Hash> {
    let edge: Vec<Vec<Hash>> = edge.into_iter().collect::<Option<_>>()?;
    let mut frontier = Frontier::new();
    for (hashes, height) in edge.iter().zip((0..).step_by(8)).collect::<Vec<_>>().into_iter().rev() {
        hashes.iter().for_each(|hash| frontier.push_subtree(height, *hash));
    }
    Some(frontier.root())
}
