//! Three segments of a log, sound and spoilt.

use super::*;
use crate::{
    checkpoint::Checkpoint,
    hash::{Hash, leaf_hash},
    note::{KeyName, Note, SignatureType, Signer as _, SignerKey},
    policy::Policy,
    proof::Plan,
    tile::{TileEdge, TileId, TileReader},
    verify::{CanonicalEntries, FetchError, Report},
};
use std::{collections::BTreeMap, convert::Infallible, ops::Range, sync::LazyLock};

const ORIGIN: &str = "example.com/log";
const SIZE: u64 = 3 * SEGMENT_RECORDS + 1_000;

#[derive(Clone, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Archive for Files {
    fn fetch(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        match self.0.get(name) {
            Some(bytes) if bytes.len() > max => Err(FetchError::TooLarge(0)),
            bytes => Ok(bytes.cloned()),
        }
    }

    fn fetch_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, FetchError> {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok(self.0.get(name).and_then(|bytes| bytes.get(range)).map(<[u8]>::to_vec))
    }
}

fn key() -> SignerKey {
    SignerKey::from_seed(KeyName::new(ORIGIN).unwrap(), SignatureType::Ed25519, [1; 32]).unwrap()
}

fn record(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n},\"text\":\"a record like any other\"}}").into_bytes()
}

fn records(segment: u64) -> impl Iterator<Item = Vec<u8>> {
    (segment * SEGMENT_RECORDS..(segment + 1) * SEGMENT_RECORDS).map(record)
}

struct Log {
    tiles: BTreeMap<TileId, Vec<u8>>,
    root: Hash,
    note: Note,
}

impl Log {
    fn proof(&self, from: u64) -> Vec<Hash> {
        let reader = TileReader::new(SIZE, &self.root, |id: &TileId| Ok::<_, Infallible>(self.tiles.get(id).cloned())).unwrap();
        Plan::consistency(from, SIZE).unwrap().assemble(&reader).unwrap()
    }
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let leaves: Vec<_> = (0..SIZE).map(|n| leaf_hash(&record(n))).collect();
    let mut edge = TileEdge::new();
    let tiles = edge.grow(&leaves).into_iter().map(|tile| (tile.id, tile.bytes)).collect();
    let root = edge.root();
    let mut note = Checkpoint::new(ORIGIN, SIZE, root).unwrap().to_note().unwrap();
    note.sign(&key(), 0).unwrap();
    Log { tiles, root, note }
});

static ARCHIVE: LazyLock<Files> = LazyLock::new(|| {
    let mut files = Files::default();
    let mut before = Before::default();
    for n in 0..3 {
        let segment = write(&before, records(n), &LOG.note, &LOG.proof((n + 1) * SEGMENT_RECORDS)).unwrap();
        files.0.extend(segment.blobs.into_iter().map(|blob| (blob.name, blob.bytes)));
        before = segment.after;
    }
    files
});

fn run(files: &Files, count: u64, chain: &mut Chain) -> Report {
    verify_segments(files, count, chain, &Policy::log_only(key().key().clone()), &CanonicalEntries)
}

fn summary(report: &Report) -> Vec<String> {
    report.findings.list().iter().map(|finding| finding.to_string().split(": expected").next().unwrap().to_owned()).collect()
}

#[test]
fn a_sound_archive_verifies_at_once_and_in_steps() {
    let mut chain = Chain::default();
    let whole = run(&ARCHIVE, 3, &mut chain);
    assert_eq!((summary(&whole), whole.records, whole.files), (vec![], 3 * SEGMENT_RECORDS, 12));
    let mut steps = Chain::default();
    for _ in 0..3 {
        assert!(run(&ARCHIVE, 1, &mut steps).is_sound());
    }
    assert_eq!((steps.frontier.root(), steps.previous), (chain.frontier.root(), chain.previous));
}

#[test]
fn one_frame_can_be_read_alone() {
    let manifest = Manifest::parse(&ARCHIVE.0["seg-1.manifest.json"]).unwrap();
    assert_eq!((manifest.first(), manifest.end()), (65_536, 131_072));
    let packed = ARCHIVE.fetch_range("seg-1.jsonl.zst", manifest.frame(17).unwrap()).unwrap().unwrap();
    let found = read_frame(&packed).unwrap();
    let first = 65_536 + 17 * 256;
    assert_eq!(found, (first..first + 256).map(record).collect::<Vec<_>>());
    assert_eq!(manifest.frame(256), None);
}

#[test]
fn whatever_is_spoilt_is_named() {
    type Spoil = fn(&mut Files);
    let cases: &[(&str, Spoil, &[&str])] = &[
        ("a tile", |f| flip(f, "seg-1.tiles", 0), &["tampered: seg-1.tiles: file", "tampered: record 65536: leaf"]),
        (
            "the upper tile",
            |f| flip(f, "seg-1.tiles", TILES_BYTES - 1),
            &["tampered: seg-1.tiles: file", "tampered: records 130816 to 131071: tile"],
        ),
        ("no tiles", |f| drop(f.0.remove("seg-1.tiles")), &["incomplete: seg-1.tiles: present"]),
        ("no checkpoint", |f| drop(f.0.remove("seg-1.checkpoint")), &["incomplete: seg-1.checkpoint: present"]),
        (
            "the checkpoint",
            |f| flip(f, "seg-1.checkpoint", ORIGIN.len() + 2),
            &["tampered: seg-1.checkpoint: file", "tampered: seg-1.checkpoint: signature"],
        ),
        (
            "a length in the manifest",
            |f| {
                let mut manifest = Manifest::parse(&f.0["seg-2.manifest.json"]).unwrap();
                manifest.checkpoint.bytes += 1;
                f.0.insert("seg-2.manifest.json".into(), manifest.to_bytes().unwrap());
            },
            &["tampered: seg-2.checkpoint: file"],
        ),
        ("no manifest", |f| drop(f.0.remove("seg-1.manifest.json")), &["incomplete: seg-1.manifest.json: present"]),
        ("the manifest", |f| flip(f, "seg-1.manifest.json", 1), &["tampered: seg-1.manifest.json: format"]),
        (
            "another segment's manifest",
            |f| copy(f, "seg-1.manifest.json", "seg-2.manifest.json"),
            &["tampered: seg-1.manifest.json: continuity"],
        ),
        ("the tail of the records", |f| cut(f, "seg-2.jsonl.zst"), &["incomplete: seg-2.jsonl.zst: present"]),
        (
            "a record",
            rewrite,
            &[
                "tampered: seg-1.jsonl.zst: file",
                "tampered: record 65541: leaf",
                "tampered: records 65536 to 65791: tile",
                "tampered: seg-1.manifest.json: root",
                "tampered: seg-2.manifest.json: root",
            ],
        ),
    ];
    for (case, spoil, expected) in cases {
        let mut files = ARCHIVE.clone();
        spoil(&mut files);
        assert_eq!(summary(&run(&files, 3, &mut Chain::default())), *expected, "{case}");
    }
    let mut files = ARCHIVE.clone();
    flip(&mut files, "seg-0.jsonl.zst", 40);
    let found = summary(&run(&files, 3, &mut Chain::default()));
    assert_eq!(found[..1], ["tampered: records 0 to 255: format".to_owned()], "{found:?}");
}

fn flip(files: &mut Files, name: &str, at: usize) {
    files.0.get_mut(name).unwrap()[at] ^= 1;
}

fn cut(files: &mut Files, name: &str) {
    files.0.get_mut(name).unwrap().pop();
}

fn copy(files: &mut Files, to: &str, from: &str) {
    let bytes = files.0[from].clone();
    files.0.insert(to.into(), bytes);
}

/// Another record 65,541, packed again to the same length, as someone with the tools would do it.
fn rewrite(files: &mut Files) {
    let manifest = Manifest::parse(&files.0["seg-1.manifest.json"]).unwrap();
    let range = manifest.frame(0).unwrap();
    let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
    let mut records = read_frame(&files.0["seg-1.jsonl.zst"][range.clone()]).unwrap();
    records[5][8] ^= 1;
    let lines: Vec<u8> = records.iter().flat_map(|record| [&record[..], b"\n"].concat()).collect();
    let packed = zstd::bulk::compress(&lines, 9).unwrap();
    // An honest length needs an honest manifest: the frames are shifted in it too.
    let mut form: serde_json::Value = serde_json::from_slice(&files.0["seg-1.manifest.json"]).unwrap();
    let change = i64::try_from(packed.len()).unwrap() - i64::try_from(range.len()).unwrap();
    form["frames"][0] = packed.len().into();
    form["files"]["records"]["bytes"] = (form["files"]["records"]["bytes"].as_i64().unwrap() + change).into();
    files.0.get_mut("seg-1.jsonl.zst").unwrap().splice(range, packed);
    let bytes = crate::canonical::encode(&form).unwrap();
    let mut next: serde_json::Value = serde_json::from_slice(&files.0["seg-2.manifest.json"]).unwrap();
    next["previous"] = crate::hash::sha256(&bytes).to_hex().into();
    files.0.insert("seg-1.manifest.json".into(), bytes);
    files.0.insert("seg-2.manifest.json".into(), crate::canonical::encode(&next).unwrap());
}

#[test]
fn what_does_not_follow_is_not_written() {
    let proof = LOG.proof(SEGMENT_RECORDS);
    let start = Before::default();
    let write = |before: &Before, records: Vec<Vec<u8>>, proof: &[Hash]| write(before, records, &LOG.note, proof);
    let all: Vec<_> = records(0).collect();
    assert!(matches!(write(&start, all[1..].to_vec(), &proof), Err(SegmentError::Records)));
    assert!(matches!(write(&start, [&all[..], &all[..1]].concat(), &proof), Err(SegmentError::Records)));
    for bad in [&b""[..], b"a\nb", &[b'x'; 65_536]] {
        let mut records = all.clone();
        records[7] = bad.to_vec();
        assert!(matches!(write(&start, records, &proof), Err(SegmentError::Records)));
    }
    let mut changed = all.clone();
    changed[7] = b"{}".to_vec();
    assert!(matches!(write(&start, changed, &proof), Err(SegmentError::Checkpoint(_))));
    assert!(matches!(write(&start, all.clone(), &proof[1..]), Err(SegmentError::Checkpoint(_))));
    let torn = Before { manifest: Some(Manifest::parse(&ARCHIVE.0["seg-0.manifest.json"]).unwrap()), ..Before::default() };
    assert!(matches!(write(&torn, all, &proof), Err(SegmentError::Continuity)));
}

#[test]
fn a_frame_is_bounded_and_exact() {
    let pack = |lines: &[u8]| zstd::bulk::compress(lines, 1).unwrap();
    let good = pack(&b"x\n".repeat(256));
    assert!(read_frame(&good).is_ok());
    let cases = [
        pack(&b"x\n".repeat(255)),
        pack(&b"x\n".repeat(257)),
        pack(&b"x\n".repeat(256)[..511]),
        pack(&[&b"x\n".repeat(255)[..], b"\n"].concat()),
        pack(&vec![b'x'; FRAME_BYTES_MAX + 1]),
        [&good[..], b"more"].concat(),
        [&good[..], &good].concat(),
        good[..good.len() - 1].to_vec(),
        Vec::new(),
    ];
    for (at, bytes) in cases.iter().enumerate() {
        assert!(matches!(read_frame(bytes), Err(SegmentError::Frame)), "{at}");
    }
}

#[test]
fn a_manifest_reads_back_and_has_one_form() {
    let bytes = &ARCHIVE.0["seg-2.manifest.json"];
    assert_eq!(Manifest::parse(bytes).unwrap().to_bytes().unwrap(), *bytes);
    let text = String::from_utf8(bytes.clone()).unwrap();
    for (from, to) in [
        ("\"v\":1", "\"v\":2"),
        ("\"count\":65536", "\"count\":65535"),
        ("\"segment\":2", "\"segment\":3"),
        ("seg-2.tiles", "seg-1.tiles"),
        ("{", "{ "),
        ("\"v\":1", "\"v\":1,\"w\":1"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert!(Manifest::parse(changed.as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn a_directory_is_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in &ARCHIVE.0 {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let directory = crate::verify::Directory::new(folder.path());
    let policy = Policy::log_only(key().key().clone());
    assert!(verify_segments(&directory, 1, &mut Chain::default(), &policy, &CanonicalEntries).is_sound());
    assert!(directory.fetch_range("seg-0.tiles", 0..u64::try_from(TILES_BYTES).unwrap() + 1).unwrap().is_none());
    assert!(directory.fetch_range("seg-9.tiles", 0..1).unwrap().is_none());
}
