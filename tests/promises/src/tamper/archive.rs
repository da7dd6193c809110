//! P5's archive: two segments, with a frame or a manifest edited.

use super::log::{Keys, records};
use anyhow::{Context as _, Result};
use plinth_audit::{
    checkpoint::Checkpoint,
    hash::{Hash, leaf_hash},
    note::{Note, Signer as _},
    policy::Policy,
    segment::{Archive, Before, Chain, FRAMES, FileEntry, Manifest, Names, SEGMENT_RECORDS, read_frame, verify_segments, write},
    tile::{TILE_BYTES_MAX, tile_hashes},
    tree,
    verify::{FetchError, NoCheck, Report},
};
use rand::{Rng as _, rngs::StdRng};
use std::{collections::HashMap, ops::Range};

const ORIGIN: &str = "example.com/archived/0";
/// The height of the subtree that a segment is.
const HEIGHT: u8 = 16;

type Files = HashMap<String, Vec<u8>>;

/// Two segments, and where verification stands before each.
pub(super) struct Segments {
    files: Files,
    before: [Chain; 2],
    keys: Keys,
    policy: Policy,
}

/// The archive with other files in place of some.
struct View<'a> {
    base: &'a Files,
    overlay: Files,
}

impl View<'_> {
    fn file(&self, name: &str) -> Option<&Vec<u8>> {
        self.overlay.get(name).or_else(|| self.base.get(name))
    }
}

impl Archive for View<'_> {
    fn fetch(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        match self.file(name) {
            Some(file) if file.len() > max => Err(FetchError::TooLarge(file.len() as u64)),
            file => Ok(file.cloned()),
        }
    }

    fn fetch_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, FetchError> {
        Ok(self.file(name).and_then(|file| file.get(range.start as usize..range.end as usize)).map(<[u8]>::to_vec))
    }
}

impl Segments {
    pub(super) fn new(rng: &mut StdRng) -> Result<Self> {
        let keys = Keys::new(ORIGIN, 3, 100)?;
        let policy = Policy::parse(format!("log {}\nwitness w1 {}\nquorum w1\n", keys.log.key(), keys.witness.key()).as_bytes())?;
        let (mut files, mut before, mut states) = (Files::new(), Before::default(), Vec::new());
        let mut chain = Chain::default();
        for _ in 0..2 {
            states.push(chain.clone());
            let records = records(rng, SEGMENT_RECORDS as usize)?;
            let leaves = records.iter().map(|record| leaf_hash(record)).collect::<Vec<_>>();
            chain.frontier.push_subtree(HEIGHT, tree::root(&leaves));
            let head = Checkpoint::new(ORIGIN, chain.frontier.size(), chain.frontier.root())?;
            let note = Note::parse(&keys.sign(&head, true)?)?;
            let segment = write(&before, records, &note, &[])?;
            files.extend(segment.blobs.into_iter().map(|blob| (blob.name, blob.bytes)));
            before = segment.after;
            chain.next += 1;
            chain.previous = before.manifest.as_ref().map(Manifest::digest).transpose()?;
        }
        let before = states.try_into().ok().context("two segments")?;
        Ok(Self { files, before, keys, policy })
    }

    /// Records are not looked into: the archive's hashes alone must tell.
    fn verify(&self, segment: usize, count: u64, overlay: Files) -> Report {
        let view = View { base: &self.files, overlay };
        verify_segments(&view, count, &mut self.before[segment].clone(), &self.policy, &NoCheck)
    }

    pub(super) fn untouched(&self) -> Report {
        self.verify(0, 2, Files::new())
    }

    fn manifest(&self, segment: usize) -> Result<Manifest> {
        let bytes = self.files.get(&Names::of(segment as u64).manifest).context("a segment has a manifest")?;
        Ok(Manifest::parse(bytes)?)
    }

    /// Bytes of the records' file, alone or with everything that has to fit them.
    pub(super) fn frame_edited(&self, rng: &mut StdRng) -> Result<Report> {
        let segment = rng.random_range(0..2);
        let names = Names::of(segment as u64);
        let mut manifest = self.manifest(segment)?;
        let mut packed = self.files.get(&names.records).context("a segment has records")?.clone();
        let frame = [0, FRAMES - 1, rng.random_range(0..FRAMES), rng.random_range(0..FRAMES)][rng.random_range(0..4)];
        let range = manifest.frame(frame).context("a segment has 256 frames")?;
        let range = range.start as usize..range.end as usize;
        match rng.random_range(0..4) {
            0 => packed.truncate(rng.random_range(range)),
            1 => packed[range].reverse(),
            2 => packed[rng.random_range(range)] ^= 1 << rng.random_range(0..8),
            _ => {
                let mut lines = read_frame(&packed[range.clone()])?;
                let at = rng.random_range(0..lines.len());
                lines[at] = records(rng, 1)?.pop().context("one record")?;
                let text = lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect::<Vec<_>>();
                let new = zstd::bulk::compress(&text, 9)?;
                manifest.frames[frame] = u32::try_from(new.len())?;
                packed.splice(range, new);
                let mut overlay = self.refitted(segment, &mut manifest, frame, at, leaf_hash(&lines[at]))?;
                if rng.random() {
                    // He holds the log's key, too; the witness has not seen it.
                    let head = Checkpoint::new(ORIGIN, manifest.end(), manifest.root)?;
                    let note = self.keys.sign(&head, false)?;
                    manifest.checkpoint = FileEntry::of(&note);
                    overlay.insert(names.checkpoint, note);
                }
                manifest.records = FileEntry::of(&packed);
                overlay.extend([(names.records, packed), (names.manifest, manifest.to_bytes()?)]);
                return Ok(self.verify(segment, 1, overlay));
            }
        }
        Ok(self.verify(segment, 1, Files::from([(names.records, packed)])))
    }

    /// The tiles with one leaf changed, and the manifest that says so.
    fn refitted(&self, segment: usize, manifest: &mut Manifest, frame: usize, at: usize, leaf: Hash) -> Result<Files> {
        let name = Names::of(segment as u64).tiles;
        let mut tiles = self.files.get(&name).context("a segment has tiles")?.clone();
        let mut put = |tile: usize, at: usize, hash: Hash| {
            let begin = tile * TILE_BYTES_MAX + at * 32;
            tiles[begin..begin + 32].copy_from_slice(hash.as_bytes());
            tile_hashes(&tiles[tile * TILE_BYTES_MAX..][..TILE_BYTES_MAX], 256).map(|hashes| tree::root(&hashes)).context("a full tile")
        };
        let root = put(frame, at, leaf)?;
        let subtree = put(FRAMES, frame, root)?;
        let mut frontier = self.before[segment].frontier.clone();
        frontier.push_subtree(HEIGHT, subtree);
        manifest.root = frontier.root();
        manifest.tiles = FileEntry::of(&tiles);
        Ok(Files::from([(name, tiles)]))
    }

    /// A byte of the manifest, or a member of it, in a manifest that is well-formed.
    pub(super) fn manifest_edited(&self, rng: &mut StdRng) -> Result<Report> {
        let segment = rng.random_range(0..2);
        let name = Names::of(segment as u64).manifest;
        let mut manifest = self.manifest(segment)?;
        let hash = leaf_hash(&rng.random::<[u8; 8]>());
        let mut bytes = manifest.to_bytes()?;
        match rng.random_range(0..10) {
            0 => manifest.root = hash,
            1 => {
                let at = rng.random_range(0..FRAMES - 1);
                manifest.frames[at] += 1;
                manifest.frames[at + 1] -= 1;
            }
            2 => manifest.records.sha256 = hash,
            3 => manifest.tiles.sha256 = hash,
            4 => manifest.checkpoint.sha256 = hash,
            5 => manifest.checkpoint.bytes += rng.random_range(1..1_000),
            6 => manifest.proof.push(hash),
            7 => match &mut manifest.previous {
                Some(previous) => *previous = hash,
                None => manifest.segment += 1,
            },
            8 => {
                manifest.frames[FRAMES - 1] += 1;
                manifest.records.bytes += 1;
            }
            _ => {
                let (at, new) = (rng.random_range(0..bytes.len()), rng.random_range(b' '..=b'~'));
                bytes[at] = if bytes[at] == new { b'~' ^ 1 } else { new };
                return Ok(self.verify(segment, 1, Files::from([(name, bytes)])));
            }
        }
        Ok(self.verify(segment, 1, Files::from([(name, manifest.to_bytes()?)])))
    }
}
