//! A small log in memory, sound and spoilt in every way.

use super::*;
use crate::{
    hash::leaf_hash,
    note::{KeyName, SignatureType, Signer as _, SignerKey},
    tile::{TileEdge, encode_bundle, new_bundles},
};
use std::collections::BTreeMap;

const ORIGIN: &str = "example.com/log";

#[derive(Clone, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Source for Files {
    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FetchError> {
        Ok(self.0.get(path).cloned())
    }
}

fn key() -> SignerKey {
    SignerKey::from_seed(KeyName::new(ORIGIN).unwrap(), SignatureType::Ed25519, [1; 32]).unwrap()
}

fn record(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n}}}").into_bytes()
}

fn checkpoint(size: u64, root: Hash) -> Vec<u8> {
    let mut note = Checkpoint::new(ORIGIN, size, root).unwrap().to_note().unwrap();
    note.sign(&key(), 0).unwrap();
    note.to_bytes()
}

fn log(records: &[Vec<u8>]) -> Files {
    let mut files = Files::default();
    let mut edge = TileEdge::new();
    let leaves: Vec<_> = records.iter().map(|record| leaf_hash(record)).collect();
    let size = u64::try_from(leaves.len()).unwrap();
    files.0.extend(edge.grow(&leaves).into_iter().map(|tile| (tile.id.path(), tile.bytes)));
    for (bundle, records) in new_bundles(0, size).zip(records.chunks(256)) {
        files.0.insert(bundle.to_string(), encode_bundle(records).unwrap());
    }
    files.0.insert("checkpoint".into(), checkpoint(size, edge.root()));
    files
}

fn small() -> Files {
    log(&(0..70_000).map(record).collect::<Vec<_>>())
}

fn run(files: &Files, since: &[Vec<u8>]) -> Report {
    let policy = Policy::log_only(key().key().clone());
    verify(files, &CanonicalEntries, &Request { policy: &policy, since, threads: NonZeroUsize::new(2).unwrap() })
}

/// Severity, place and check of everything found.
fn summary(report: &Report) -> Vec<String> {
    report.findings.list().iter().map(|finding| finding.to_string().split(": expected").next().unwrap().to_owned()).collect()
}

#[test]
fn sound_logs_of_all_shapes_verify() {
    for size in [0, 1, 255, 256, 257, 511, 512, 8_192, 65_536, 70_000] {
        let files = log(&(0..size).map(record).collect::<Vec<_>>());
        let report = run(&files, &[]);
        assert_eq!((summary(&report), report.is_sound(), report.records), (vec![], true, size), "{size}");
        assert_eq!(report.files, u64::try_from(files.0.len()).unwrap() - 1, "{size}");
        assert_eq!(report.root, Some(*report.checkpoint.unwrap().checkpoint.root()));
    }
}

#[test]
fn whatever_is_spoilt_is_named() {
    type Spoil = fn(&mut Files);
    let cases: &[(&str, Spoil, &[&str])] = &[
        ("a record", |f| flip_byte(f, "tile/entries/001", 6), &["tampered: record 256: canonical", "tampered: record 256: leaf"]),
        ("a record of the partial bundle", |f| flip_byte(f, "tile/entries/273.p/112", 7), &["tampered: record 69888: leaf"]),
        ("a bundle's lengths", |f| flip_byte(f, "tile/entries/001", 0), &["tampered: tile/entries/001: format"]),
        ("a leaf in a tile", |f| flip_byte(f, "tile/0/002", 33), &["tampered: record 513: leaf", "tampered: records 512 to 767: tile"]),
        ("a leaf in the partial tile", |f| flip_byte(f, "tile/0/273.p/112", 0), &["tampered: record 69888: leaf", "tampered: log: root"]),
        (
            "an upper tile",
            |f| flip_byte(f, "tile/1/000", 64),
            &["tampered: records 512 to 767: tile", "tampered: records 0 to 65535: tile"],
        ),
        ("the top tile", |f| flip_byte(f, "tile/2/000.p/1", 0), &["tampered: records 0 to 65535: tile", "tampered: log: root"]),
        ("a tile's length", |f| f.0.get_mut("tile/0/002").unwrap().truncate(8_191), &["tampered: tile/0/002: format"]),
        ("no bundle", |f| drop(f.0.remove("tile/entries/001")), &["incomplete: tile/entries/001: present"]),
        ("no tile", |f| drop(f.0.remove("tile/0/001")), &["incomplete: tile/0/001: present"]),
        (
            "neither",
            |f| {
                f.0.remove("tile/0/001");
                f.0.remove("tile/entries/001");
            },
            &["incomplete: tile/0/001: present", "incomplete: tile/entries/001: present"],
        ),
        ("no upper tile", |f| drop(f.0.remove("tile/2/000.p/1")), &["incomplete: tile/2/000.p/1: present"]),
        ("no checkpoint", |f| drop(f.0.remove("checkpoint")), &["incomplete: checkpoint: present"]),
        ("no note", |f| drop(f.0.insert("checkpoint".into(), b"text\n".to_vec())), &["tampered: checkpoint: format"]),
        ("the checkpoint's size", |f| flip_byte(f, "checkpoint", ORIGIN.len() + 1), &["tampered: checkpoint: signature"]),
        ("another root, signed", |f| drop(f.0.insert("checkpoint".into(), checkpoint(70_000, leaf_hash(b"")))), &["tampered: log: root"]),
    ];
    let sound = small();
    for (case, spoil, expected) in cases {
        let mut files = sound.clone();
        spoil(&mut files);
        let report = run(&files, &[]);
        assert_eq!(summary(&report), *expected, "{case}");
        assert!(!report.is_sound());
        let tampered = expected.iter().any(|finding| finding.starts_with("tampered"));
        assert_eq!(report.findings.severity(), Some(if tampered { Severity::Tampered } else { Severity::Incomplete }), "{case}");
    }
}

fn flip_byte(files: &mut Files, path: &str, at: usize) {
    files.0.get_mut(path).unwrap()[at] ^= 1;
}

#[test]
fn a_rewritten_log_is_caught_by_an_old_checkpoint() {
    let records: Vec<_> = (0..700).map(record).collect();
    let old = |size: usize| log(&records[..size]).0["checkpoint"].clone();
    let files = log(&records);
    assert!(run(&files, &[old(0), old(1), old(300), old(512), old(700)]).is_sound());

    let mut rewritten = records.clone();
    rewritten[5] = record(1_000_000);
    let rewritten = log(&rewritten);
    assert!(run(&rewritten, &[old(3)]).is_sound());
    assert_eq!(summary(&run(&rewritten, &[old(300)])), ["tampered: checkpoint of 300 records: since"]);

    let truncated = log(&records[..600]);
    assert_eq!(summary(&run(&truncated, &[old(700)])), ["tampered: checkpoint of 700 records: since"]);
    let mut unsigned = old(300);
    unsigned[ORIGIN.len() + 1] ^= 1;
    assert_eq!(summary(&run(&files, &[unsigned])), ["tampered: checkpoint of unknown many records: since"]);
}

#[test]
fn a_quorum_that_is_not_met_stops_the_run() {
    let witness = SignerKey::from_seed(KeyName::new("w").unwrap(), SignatureType::Cosignature, [2; 32]).unwrap();
    let text = format!("log {}\nwitness w1 {}\nquorum w1\n", key().key(), witness.key());
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let mut files = log(&[record(0)]);
    let request = Request { policy: &policy, since: &[], threads: NonZeroUsize::MIN };
    let report = verify(&files, &NoCheck, &request);
    assert_eq!((summary(&report), report.records), (vec!["incomplete: checkpoint: quorum".to_owned()], 0));

    let mut note = Note::parse(&files.0["checkpoint"]).unwrap();
    note.sign(&witness, 5).unwrap();
    files.0.insert("checkpoint".into(), note.to_bytes());
    assert!(verify(&files, &NoCheck, &request).is_sound());
}

#[test]
fn pairs_are_seen_across_parts_but_not_across_gaps() {
    struct Rising;
    impl EntryCheck for Rising {
        type Mark = u64;
        fn record(&self, _index: u64, record: &[u8], _findings: &mut Findings) -> u64 {
            String::from_utf8_lossy(record).trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
        }
        fn pair(&self, index: u64, before: &u64, this: &u64, findings: &mut Findings) {
            if this <= before {
                findings.add(Finding::tampered(Place::Record(index), Check::Order, before, this));
            }
        }
    }
    let mut records: Vec<_> = (0..20_000).map(|n| record(n + 1_000_000)).collect();
    // The first of the second part, one in the middle, and one behind a bundle that will be gone.
    for at in [8_192, 10_000, 2_560] {
        records[at] = record(7);
    }
    let mut files = log(&records);
    files.0.remove("tile/entries/009");
    let policy = Policy::log_only(key().key().clone());
    let report = verify(&files, &Rising, &Request { policy: &policy, since: &[], threads: NonZeroUsize::new(3).unwrap() });
    let expected = ["incomplete: tile/entries/009: present", "tampered: record 8192: order", "tampered: record 10000: order"];
    assert_eq!(summary(&report), expected);
}

#[test]
fn findings_are_counted_beyond_their_limit() {
    let mut files = log(&(0..2_000).map(|n| format!("{{ \"n\":{n}}}").into_bytes()).collect::<Vec<_>>());
    files.0.remove("tile/2/000.p/1");
    let report = run(&files, &[]);
    assert_eq!((report.findings.list().len(), report.findings.tampered()), (FINDINGS_MAX, 2_000));
}

#[test]
fn a_size_that_is_only_claimed_does_not_keep_the_verifier_busy() {
    let mut files = log(&[record(0)]);
    files.0.insert("checkpoint".into(), checkpoint((1 << 63) - 1, leaf_hash(b"")));
    let report = run(&files, &[]);
    assert!(report.findings.incomplete() > 10_000);
    assert_eq!(report.findings.severity(), Some(Severity::Incomplete));
}

#[test]
fn a_directory_is_a_source() {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in &log(&(0..300).map(record).collect::<Vec<_>>()).0 {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let policy = Policy::log_only(key().key().clone());
    let request = Request { policy: &policy, since: &[], threads: NonZeroUsize::MIN };
    assert!(verify(&Directory::new(folder.path()), &CanonicalEntries, &request).is_sound());
    let large = std::fs::File::create(folder.path().join("tile/entries/000")).unwrap();
    large.set_len(u64::try_from(crate::tile::BUNDLE_BYTES_MAX).unwrap() + 1).unwrap();
    let report = verify(&Directory::new(folder.path()), &CanonicalEntries, &request);
    assert_eq!(summary(&report), ["incomplete: tile/entries/000: present"]);
}
