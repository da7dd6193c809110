//! Whether an archive goes on from checkpoints that were kept.

use super::{Archive, FRAMES, HEIGHT, Names, SEGMENT_RECORDS, TILES_BYTES};
use crate::{
    checkpoint::Checkpoint,
    hash::Hash,
    policy::Policy,
    tile::{TILE_BYTES_MAX, tile_hashes},
    tree::{self, Frontier},
    verify::{Check, Finding, Findings, Place, read_old},
};

/// Holds checkpoints that were kept against the tiles of an archive's first `count`
/// segments, which [`super::verify_segments`] has found sound: each must be a prefix.
/// One that is larger than what is archived cannot be told from here, and is incomplete.
pub fn check_since<A: Archive>(archive: &A, count: u64, since: &[Vec<u8>], policy: &Policy, findings: &mut Findings) {
    for old in since {
        let old = match read_old(old, policy.logs().iter().map(|log| &log.key)) {
            Ok(old) => old,
            Err(why) => {
                let place = Place::path("checkpoint of unknown many records");
                findings.add(Finding::tampered(place, Check::Since, "a checkpoint that the log signed", why));
                continue;
            }
        };
        let place = Place::path(format!("checkpoint of {} records", old.size()));
        if let Err((expected, found)) = prefix(archive, count, &old) {
            findings.add(match found {
                Found::Root(root) => Finding::tampered(place, Check::Since, expected, root),
                Found::Less(why) => Finding::incomplete(place, Check::Since, expected, why),
            });
        }
    }
}

enum Found {
    Root(Hash),
    Less(String),
}

fn prefix<A: Archive>(archive: &A, count: u64, old: &Checkpoint) -> Result<(), (String, Found)> {
    let whole = old.size() / SEGMENT_RECORDS;
    let rest = usize::try_from(old.size() % SEGMENT_RECORDS).unwrap_or(usize::MAX);
    let root = old.root().to_string();
    if old.size() > count.saturating_mul(SEGMENT_RECORDS) {
        let expected = format!("at least {} records", old.size());
        return Err((expected, Found::Less(format!("{count} segments of {SEGMENT_RECORDS} records"))));
    }
    let absent = |why: String| (root.clone(), Found::Less(why));
    let mut frontier = Frontier::new();
    for number in 0..whole {
        frontier.push_subtree(HEIGHT, segment_root(archive, number).map_err(absent)?);
    }
    if rest > 0 {
        for leaf in leaves(archive, whole).map_err(absent)?.into_iter().take(rest) {
            frontier.push(leaf);
        }
    }
    if frontier.root() == *old.root() { Ok(()) } else { Err((root, Found::Root(frontier.root()))) }
}

/// By the upper tile alone.
fn segment_root<A: Archive>(archive: &A, number: u64) -> Result<Hash, String> {
    let name = Names::of(number).tiles;
    let end = u64::try_from(TILES_BYTES).unwrap_or(u64::MAX);
    let start = u64::try_from(FRAMES * TILE_BYTES_MAX).unwrap_or(u64::MAX);
    let tile = archive.fetch_range(&name, start..end).map_err(|error| error.to_string())?;
    let hashes = tile.and_then(|bytes| tile_hashes(&bytes, 256)).ok_or_else(|| format!("`{name}` has no upper tile"))?;
    Ok(tree::root(&hashes))
}

fn leaves<A: Archive>(archive: &A, number: u64) -> Result<Vec<Hash>, String> {
    let name = Names::of(number).tiles;
    let bytes = archive.fetch(&name, TILES_BYTES).map_err(|error| error.to_string())?;
    let bytes = bytes.filter(|bytes| bytes.len() == TILES_BYTES).ok_or_else(|| format!("`{name}` is not there as it should be"))?;
    let tiles = bytes.chunks(TILE_BYTES_MAX).take(FRAMES);
    tiles
        .map(|tile| tile_hashes(tile, 256))
        .collect::<Option<Vec<_>>>()
        .map(|tiles| tiles.concat())
        .ok_or_else(|| format!("`{name}` is malformed"))
}
