//! From stored records to tiles.

use super::{
    AuditTree, damaged,
    store::{Epoch, StoredTile},
};
use plinth_audit::{
    hash::{HASH_BYTES, leaf_hash},
    tile::{TileEdge, TileId},
};
use plinth_capability::Result;
use std::collections::BTreeMap;

/// Records taken in at once: 64 MiB if all are as large as they may be, and a transaction of a few tiles.
const BATCH: u32 = 1_024;
/// A full batch ends at a multiple of this, where a tile and a mark end.
pub(in crate::audit) const STRETCH: u64 = 256;

/// Stored tiles by level and index.
pub(super) type Tiles = BTreeMap<(u8, u64), Vec<u8>>;

/// A tile as it was when it had this width.
pub(super) fn cut(tiles: &Tiles, id: &TileId) -> Option<Vec<u8>> {
    tiles.get(&(id.level(), id.index()))?.get(..usize::from(id.width()) * HASH_BYTES).map(<[u8]>::to_vec)
}

/// How many of these records are taken in at once.
fn whole(next: u64, present: usize) -> usize {
    let over = (next + present as u64) % STRETCH;
    if present < BATCH as usize { present } else { present - usize::try_from(over).unwrap_or(0) }
}

impl AuditTree {
    /// Takes in all that was stored when it began; what comes meanwhile is for the next time, or under steady
    /// load it would never end. A pure function of the log: whoever does it, and how often, it comes out the same.
    pub(super) async fn grow(&self, known: &mut Option<(u64, TileEdge)>) -> Result<(Epoch, TileEdge)> {
        loop {
            let epoch = self.current().await?;
            let mut edge = match known.take() {
                Some((number, edge)) if (number, edge.size()) == (epoch.number, epoch.size) => edge,
                _ => self.edge_of(&epoch).await?,
            };
            let next = epoch.first + epoch.size;
            let mut records = self.store.records(next, BATCH).await?;
            let present = (next..).zip(&records).take_while(|(expected, (sequence, _))| sequence == expected).count();
            if let Some((found, _)) = records.get(present) {
                self.standing().gap(next + present as u64, *found);
            }
            records.truncate(whole(next, present));
            if records.is_empty() {
                *known = Some((epoch.number, edge.clone()));
                return Ok((epoch, edge));
            }
            self.store.mark(&records).await?;
            let leaves: Vec<_> = records.iter().map(|(_, bytes)| leaf_hash(bytes)).collect();
            let tiles = edge.grow(&leaves).into_iter();
            let tiles = tiles.map(|tile| StoredTile { level: tile.id.level(), index: tile.id.index(), hashes: tile.bytes }).collect();
            if self.store.grow(&epoch, edge.size(), tiles).await? {
                *known = Some((epoch.number, edge.clone()));
                if present < BATCH as usize {
                    return Ok((Epoch { size: edge.size(), ..epoch }, edge));
                }
            }
        }
    }

    async fn edge_of(&self, epoch: &Epoch) -> Result<TileEdge> {
        let wanted: Vec<TileId> = TileEdge::needed(epoch.size).collect();
        let tiles = self.tiles(epoch.number, &wanted).await?;
        TileEdge::from_tiles(epoch.size, |id| cut(&tiles, id)).map_err(damaged)
    }

    pub(super) async fn tiles(&self, epoch: u64, wanted: &[TileId]) -> Result<Tiles> {
        let places: Vec<(u8, u64)> = wanted.iter().map(|id| (id.level(), id.index())).collect();
        let tiles = self.store.tiles(epoch, &places).await?;
        Ok(tiles.into_iter().map(|tile| ((tile.level, tile.index), tile.hashes)).collect())
    }
}
