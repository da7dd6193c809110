//! From records to the roots of level-0 tiles, on several threads.

use super::{Check, EntryCheck, Finding, Findings, Place, Source};
use crate::{
    hash::{Hash, leaf_hash},
    tile::{Resource, TILE_WIDTH, TileId, decode_bundle, tile_hashes, width_at},
    tree,
};
use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Bundles that a thread takes at once.
const PART: u64 = 32;

/// What may be wrong before the rest is not asked for: the size is only a claim,
/// and one of 2^62 must not keep the verifier busy for ever, nor fill its memory.
const WRONG_MAX: u64 = 100_000;
/// A missing file weighs as much as so many findings of tampering, one of which is one record.
const MISSING_WEIGHT: u64 = 10;

/// What the records lead to.
pub(super) struct Bundles {
    /// The root of every full level-0 tile; `None` where neither records nor tile are there.
    pub(super) roots: Vec<Option<Hash>>,
    /// The hashes in the partial level-0 tile, `None` likewise.
    pub(super) rest: Option<Vec<Hash>>,
    pub(super) records: u64,
    pub(super) files: u64,
    pub(super) findings: Findings,
    /// Whether too much was missing or wrong to go on.
    pub(super) gave_up: bool,
}

/// What a thread found in one part of the log.
struct Part<M> {
    /// The part's first record.
    first: u64,
    roots: Vec<Option<Hash>>,
    rest: Option<Vec<Hash>>,
    records: u64,
    files: u64,
    findings: Findings,
    /// The mark of the part's first record, if that is there.
    begin: Option<M>,
    /// The mark of the record before the next one, if that is there.
    last: Option<M>,
}

pub(super) fn read<S: Source, C: EntryCheck>(source: &S, check: &C, size: u64, threads: NonZeroUsize) -> Bundles {
    let bundles = size.div_ceil(u64::from(TILE_WIDTH));
    let next = AtomicU64::new(0);
    let wrong = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(PART, Ordering::Relaxed);
                    if first >= bundles || wrong.load(Ordering::Relaxed) > WRONG_MAX {
                        return;
                    }
                    let part = Reader { source, check, size }.part(first, bundles.min(first + PART));
                    let found = part.findings.incomplete() * MISSING_WEIGHT + part.findings.tampered();
                    wrong.fetch_add(found, Ordering::Relaxed);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(part);
                }
            });
        }
    });
    let mut parts = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    parts.sort_by_key(|part| part.first);
    Bundles { gave_up: wrong.into_inner() > WRONG_MAX, ..join(parts, check) }
}

fn join<C: EntryCheck>(parts: Vec<Part<C::Mark>>, check: &C) -> Bundles {
    let mut all =
        Bundles { roots: Vec::new(), rest: Some(Vec::new()), records: 0, files: 0, findings: Findings::default(), gave_up: false };
    let mut before = None;
    for mut part in parts {
        if let (Some(before), Some(begin)) = (&before, &part.begin) {
            check.pair(part.first, before, begin, &mut all.findings);
        }
        before = part.last;
        all.roots.append(&mut part.roots);
        all.rest = part.rest;
        all.records += part.records;
        all.files += part.files;
        all.findings.append(part.findings);
    }
    all
}

struct Reader<'a, S, C> {
    source: &'a S,
    check: &'a C,
    size: u64,
}

impl<S: Source, C: EntryCheck> Reader<'_, S, C> {
    fn part(&self, first: u64, end: u64) -> Part<C::Mark> {
        let mut part = Part {
            first: first * u64::from(TILE_WIDTH),
            roots: Vec::new(),
            rest: Some(Vec::new()),
            records: 0,
            files: 0,
            findings: Findings::default(),
            begin: None,
            last: None,
        };
        for index in first..end {
            let width = width_at(self.size, 0, index);
            let hashes = self.bundle(index, width, &mut part);
            if width == TILE_WIDTH {
                part.roots.push(hashes.map(|hashes| tree::root(&hashes)));
            } else {
                part.rest = hashes;
            }
        }
        part
    }

    /// The hashes of level 0: those in the tile where there is one, because the tree above
    /// says whether they are right; those of the records otherwise.
    fn bundle(&self, index: u64, width: u16, part: &mut Part<C::Mark>) -> Option<Vec<Hash>> {
        let tile = TileId::new(0, index, width).ok().and_then(|id| {
            let (hashes, found) = read_tile(self.source, id, &mut part.findings);
            part.files += u64::from(found);
            hashes
        });
        let Some(hashes) = self.records(index, width, part) else {
            part.last = None;
            return tile;
        };
        let Some(tile) = tile else { return Some(hashes) };
        for ((at, hash), expected) in (index * u64::from(TILE_WIDTH)..).zip(&hashes).zip(&tile) {
            if hash != expected {
                part.findings.add(Finding::tampered(Place::Record(at), Check::Leaf, expected, hash));
            }
        }
        Some(tile)
    }

    /// The hashes of a bundle's records, each of which is looked at on the way.
    fn records(&self, index: u64, width: u16, part: &mut Part<C::Mark>) -> Option<Vec<Hash>> {
        let name = |width| Resource::Entries { index, width };
        let (bytes, served) = fetch_cut(self.source, name, width, &mut part.findings)?;
        part.files += 1;
        let Ok(mut records) = decode_bundle(&bytes, served) else {
            let place = Place::path(name(width).to_string());
            part.findings.add(Finding::tampered(place, Check::Format, format!("{served} entries"), "a malformed entry bundle"));
            return None;
        };
        records.truncate(usize::from(width));
        for (at, record) in (index * u64::from(TILE_WIDTH)..).zip(&records) {
            let mark = self.check.record(at, record, &mut part.findings);
            if let Some(before) = &part.last {
                self.check.pair(at, before, &mark, &mut part.findings);
            }
            if at == part.first {
                part.begin = Some(mark.clone());
            }
            part.last = Some(mark);
            part.records += 1;
        }
        Some(records.into_iter().map(leaf_hash).collect())
    }
}

/// The hashes of a tile, and whether there was a file at all.
pub(super) fn read_tile<S: Source>(source: &S, id: TileId, findings: &mut Findings) -> (Option<Vec<Hash>>, bool) {
    let name = |width| TileId::new(id.level(), id.index(), width).map_or(Resource::Tile(id), Resource::Tile);
    let Some((bytes, served)) = fetch_cut(source, name, id.width(), findings) else { return (None, false) };
    let Some(mut hashes) = tile_hashes(&bytes, served) else {
        let found = format!("{} bytes", bytes.len());
        findings.add(Finding::tampered(Place::path(id.path()), Check::Format, format!("{served} hashes"), found));
        return (None, true);
    };
    hashes.truncate(usize::from(id.width()));
    (Some(hashes), true)
}

/// A file of this width or, where a partial one is gone, the full one; with its width.
pub(super) fn fetch_cut<S: Source>(
    source: &S,
    name: impl Fn(u16) -> Resource,
    width: u16,
    findings: &mut Findings,
) -> Option<(Vec<u8>, u16)> {
    let mut found = "nothing".to_owned();
    for served in [width, TILE_WIDTH] {
        match source.fetch(&name(served).to_string()) {
            Ok(Some(bytes)) => return Some((bytes, served)),
            Ok(None) => {}
            Err(error) => found = error.to_string(),
        }
        if width == TILE_WIDTH {
            break;
        }
    }
    findings.add(Finding::incomplete(Place::path(name(width).to_string()), Check::Present, "a file", found));
    None
}
