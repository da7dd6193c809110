//! Segments verified one after the other, each against the one before and its checkpoint.

use super::{Archive, FRAME_RECORDS, FRAMES, FileEntry, HEIGHT, Manifest, Names, TILES_BYTES, read_frame};
use crate::{
    canonical::RECORD_MAX,
    hash::{Hash, Hasher, leaf_hash},
    note::{NOTE_MAX, Note},
    policy::Policy,
    proof::verify_consistency,
    tile::tile_hashes,
    tree::{self, Frontier},
    verify::{Check, EntryCheck, Finding, Findings, Place, Report},
};

/// Where verification stands between two segments.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// The log up to here.
    pub frontier: Frontier,
    /// The segment that comes next.
    pub next: u64,
    /// SHA-256 of the manifest before.
    pub previous: Option<Hash>,
    /// The records of segments below this one were dropped when their time was over: their tiles stand for them.
    pub dropped: u64,
}

/// Verifies the next `count` segments of an archive: every record, tile, hash and
/// checkpoint, and that each segment follows the one before. A chain that starts at the
/// default is the whole archive; one that was verified before can be continued.
pub fn verify_segments<A: Archive, C: EntryCheck>(archive: &A, count: u64, chain: &mut Chain, policy: &Policy, check: &C) -> Report {
    let mut report = Report { checkpoint: None, root: None, records: 0, files: 0, findings: Findings::default() };
    let mut last = None;
    for _ in 0..count {
        let names = Names::of(chain.next);
        let Some(manifest) = read_manifest(archive, &names, chain, &mut report) else {
            // Without a manifest nothing says where the frames are, and what follows cannot be continued.
            return report;
        };
        let mut segment = Verifier { archive, names: &names, manifest: &manifest, report: &mut report };
        let records = if manifest.segment < chain.dropped { vec![None; FRAMES] } else { segment.records(check, &mut last) };
        let subtree = segment.tiles(records);
        chain.next += 1;
        if let Some(subtree) = subtree {
            chain.frontier.push_subtree(HEIGHT, subtree);
            segment.root(&chain.frontier.root());
        } else {
            // Neither records nor tiles: what the manifest says is checked by the checkpoint only.
            segment.checkpoint(policy);
            return report;
        }
        segment.checkpoint(policy);
        report.root = Some(chain.frontier.root());
    }
    report
}

fn read_manifest<A: Archive>(archive: &A, names: &Names, chain: &mut Chain, report: &mut Report) -> Option<Manifest> {
    let place = || Place::path(names.manifest.as_str());
    let bytes = fetch(archive, &names.manifest, RECORD_MAX, report)?;
    let manifest = match Manifest::parse(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            report.findings.add(Finding::tampered(place(), Check::Format, "a manifest", error));
            return None;
        }
    };
    if manifest.segment != chain.next {
        report.findings.add(Finding::tampered(place(), Check::Continuity, format!("segment {}", chain.next), manifest.segment));
        return None;
    }
    if manifest.previous != chain.previous {
        let text = |hash: Option<Hash>| hash.map_or_else(|| "no manifest before".to_owned(), |hash| hash.to_hex());
        report.findings.add(Finding::tampered(place(), Check::Continuity, text(chain.previous), text(manifest.previous)));
    }
    chain.previous = Some(crate::hash::sha256(&bytes));
    Some(manifest)
}

fn fetch<A: Archive>(archive: &A, name: &str, max: usize, report: &mut Report) -> Option<Vec<u8>> {
    let found = match archive.fetch(name, max) {
        Ok(Some(bytes)) => {
            report.files += 1;
            return Some(bytes);
        }
        Ok(None) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    };
    report.findings.add(Finding::incomplete(Place::path(name), Check::Present, "a file", found));
    None
}

struct Verifier<'a, A> {
    archive: &'a A,
    names: &'a Names,
    manifest: &'a Manifest,
    report: &'a mut Report,
}

impl<A: Archive> Verifier<'_, A> {
    /// The leaves of each frame; `None` for those that cannot be read.
    fn records<C: EntryCheck>(&mut self, check: &C, last: &mut Option<C::Mark>) -> Vec<Option<Vec<Hash>>> {
        let mut hasher = Some(Hasher::new());
        let mut leaves = Vec::with_capacity(FRAMES);
        for frame in 0..FRAMES {
            let packed = self.frame(frame);
            match (&packed, &mut hasher) {
                (Some(packed), Some(hasher)) => hasher.update(packed),
                _ => hasher = None,
            }
            let start = self.manifest.first() + u64::try_from(frame * FRAME_RECORDS).unwrap_or(0);
            let records = packed.and_then(|packed| self.unpack(start, &packed));
            if records.is_none() {
                *last = None;
            }
            for (at, record) in (start..).zip(records.iter().flatten()) {
                let mark = check.record(at, record, &mut self.report.findings);
                if let Some(before) = last {
                    check.pair(at, before, &mark, &mut self.report.findings);
                }
                *last = Some(mark);
                self.report.records += 1;
            }
            leaves.push(records.map(|records| records.iter().map(|record| leaf_hash(record)).collect()));
        }
        if let Some(hasher) = hasher {
            self.report.files += 1;
            self.hash(&self.names.records, self.manifest.records.sha256, hasher.finish());
        }
        leaves
    }

    fn frame(&mut self, frame: usize) -> Option<Vec<u8>> {
        let found = match self.archive.fetch_range(&self.names.records, self.manifest.frame(frame)?) {
            Ok(Some(packed)) => return Some(packed),
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        let place = Place::path(self.names.records.as_str());
        self.report.findings.add(Finding::incomplete(place, Check::Present, format!("frame {frame}"), found));
        None
    }

    fn unpack(&mut self, start: u64, packed: &[u8]) -> Option<Vec<Vec<u8>>> {
        let records = read_frame(packed);
        if let Err(error) = &records {
            let last = start + u64::try_from(FRAME_RECORDS).unwrap_or(0) - 1;
            self.report.findings.add(Finding::tampered(Place::Records(start, last), Check::Format, "a frame of 256 records", error));
        }
        records.ok()
    }

    /// Compares the tiles with the records, and gives the root of the segment's subtree:
    /// by the records, and by the tiles where records are missing.
    fn tiles(&mut self, records: Vec<Option<Vec<Hash>>>) -> Option<Hash> {
        let tiles = fetch(self.archive, &self.names.tiles, TILES_BYTES, self.report);
        if let Some(bytes) = &tiles {
            self.file(&self.names.tiles, self.manifest.tiles, bytes);
        }
        let tiles = tiles.map(|bytes| bytes.chunks(crate::tile::TILE_BYTES_MAX).map(|tile| tile_hashes(tile, 256)).collect::<Vec<_>>());
        let mut roots = Vec::with_capacity(FRAMES);
        for (frame, leaves) in records.into_iter().enumerate() {
            let tile = tiles.as_ref().and_then(|tiles| tiles.get(frame)?.as_ref());
            let start = self.manifest.first() + u64::try_from(frame * FRAME_RECORDS).unwrap_or(0);
            for ((at, leaf), expected) in (start..).zip(leaves.iter().flatten()).zip(tile.into_iter().flatten()) {
                if leaf != expected {
                    self.report.findings.add(Finding::tampered(Place::Record(at), Check::Leaf, expected, leaf));
                }
            }
            roots.push(leaves.as_ref().or(tile).map(tree::root));
        }
        let upper = tiles.as_ref().and_then(|tiles| tiles.get(FRAMES)?.as_ref());
        for ((frame, root), expected) in roots.iter().enumerate().zip(upper.into_iter().flatten()) {
            if let Some(root) = root.filter(|root| root != expected) {
                let start = self.manifest.first() + u64::try_from(frame * FRAME_RECORDS).unwrap_or(0);
                let place = Place::Records(start, start + u64::try_from(FRAME_RECORDS).unwrap_or(0) - 1);
                self.report.findings.add(Finding::tampered(place, Check::Tile, expected, root));
            }
        }
        let roots: Option<Vec<Hash>> = roots.into_iter().collect();
        roots.or_else(|| upper.cloned()).map(|roots| tree::root(&roots))
    }

    fn root(&mut self, root: &Hash) {
        if *root != self.manifest.root {
            let place = Place::path(self.names.manifest.as_str());
            self.report.findings.add(Finding::tampered(place, Check::Root, self.manifest.root, root));
        }
    }

    /// The checkpoint is one that the policy accepts, and extends the log with this segment.
    fn checkpoint(&mut self, policy: &Policy) {
        let place = || Place::path(self.names.checkpoint.as_str());
        let Some(bytes) = fetch(self.archive, &self.names.checkpoint, NOTE_MAX, self.report) else { return };
        self.file(&self.names.checkpoint, self.manifest.checkpoint, &bytes);
        let note = Note::parse(&bytes).map_err(|error| error.to_string());
        let evaluation = match note.and_then(|note| policy.evaluate(&note).map_err(|error| error.to_string())) {
            Ok(evaluation) => evaluation,
            Err(error) => {
                self.report.findings.add(Finding::tampered(place(), Check::Format, "a signed checkpoint", error));
                return;
            }
        };
        crate::verify::judge(&self.names.checkpoint, &evaluation, &mut self.report.findings);
        let (checkpoint, manifest) = (&evaluation.checkpoint, self.manifest);
        let extends = verify_consistency(manifest.end(), &manifest.root, checkpoint.size(), checkpoint.root(), &manifest.proof);
        if let Err(error) = extends {
            let expected = format!("a log that begins with {} records and the root {}", manifest.end(), manifest.root);
            self.report.findings.add(Finding::tampered(place(), Check::Root, expected, error));
        }
        self.report.checkpoint = Some(evaluation);
    }

    fn file(&mut self, name: &str, entry: FileEntry, bytes: &[u8]) {
        let found = FileEntry::of(bytes);
        if entry.bytes != found.bytes {
            let place = Place::path(name);
            self.report.findings.add(Finding::tampered(place, Check::File, format!("{} bytes", entry.bytes), found.bytes));
        }
        self.hash(name, entry.sha256, found.sha256);
    }

    fn hash(&mut self, name: &str, expected: Hash, found: Hash) {
        if expected != found {
            self.report.findings.add(Finding::tampered(Place::path(name), Check::File, expected.to_hex(), found.to_hex()));
        }
    }
}
