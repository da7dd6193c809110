//! Two epochs in memory, sound and with every part of the link spoilt.

use super::*;
use crate::{
    canonical,
    hash::{Hash, leaf_hash},
    note::{KeyName, SignatureType, Signer as _, SignerKey},
    tile::{TileEdge, encode_bundle, new_bundles},
    verify::{CanonicalEntries, FetchError},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, num::NonZeroUsize};

#[derive(Clone, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Source for Files {
    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FetchError> {
        Ok(self.0.get(path).cloned())
    }
}

fn key(epoch: u64) -> SignerKey {
    SignerKey::from_seed(KeyName::new(format!("example.com/log/{epoch}")).unwrap(), SignatureType::Ed25519, [1; 32]).unwrap()
}

fn checkpoint(epoch: u64, size: u64, root: Hash) -> String {
    let mut note = Checkpoint::new(format!("example.com/log/{epoch}"), size, root).unwrap().to_note().unwrap();
    note.sign(&key(epoch), 0).unwrap();
    note.to_string()
}

fn root(records: &[Vec<u8>]) -> Hash {
    let leaves: Vec<_> = records.iter().map(|record| leaf_hash(record)).collect();
    crate::tree::root(&leaves)
}

/// A log whose checkpoint covers the first `signed` of its records.
fn log(epoch: u64, records: &[Vec<u8>], signed: usize) -> Files {
    let mut files = Files::default();
    let leaves: Vec<_> = records.iter().map(|record| leaf_hash(record)).collect();
    for size in [leaves.len(), signed] {
        let count = u64::try_from(size).unwrap();
        files.0.extend(TileEdge::new().grow(&leaves[..size]).into_iter().map(|tile| (tile.id.path(), tile.bytes)));
        for (bundle, records) in new_bundles(0, count).zip(records[..size].chunks(256)) {
            files.0.insert(bundle.to_string(), encode_bundle(records).unwrap());
        }
    }
    let note = checkpoint(epoch, u64::try_from(signed).unwrap(), root(&records[..signed]));
    files.0.insert("checkpoint".into(), note.into_bytes());
    files
}

fn records() -> Vec<Vec<u8>> {
    (0..700).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect()
}

/// What the second epoch begins with when 50 records of 750 are gone.
fn link() -> Value {
    json!({"entry": {
        "action": "audit.epoch.opened",
        "subject": {"kind": "audit-log", "id": "example.com/log/1"},
        "attributes": [
            ["reason", "behind"],
            ["signed-checkpoint", checkpoint(0, 750, leaf_hash(b"whatever it was"))],
            ["signed-origin", "example.com/log/0"],
            ["signed-size", "750"],
            ["stored-origin", "example.com/log/0"],
            ["stored-size", "700"],
            ["stored-root", root(&records()).to_string()],
            ["missing", "50"],
        ],
    }})
}

/// What is found when the first epoch's checkpoint has this size and the second epoch begins so.
fn found(signed: usize, first: &Value) -> (Vec<String>, Option<Link>) {
    let logs = [log(0, &records(), signed), log(1, &[canonical::encode(first).unwrap(), b"{}".to_vec()], 2)];
    let policies = [0, 1].map(|epoch| Policy::log_only(key(epoch).key().clone()));
    let epochs: Vec<_> = (logs.iter().zip(&policies))
        .map(|(source, policy)| Epoch { source, request: Request { policy, since: &[], threads: NonZeroUsize::MIN } })
        .collect();
    let mut reports = verify_epochs(&epochs, &CanonicalEntries);
    let list = reports.iter().flat_map(|found| found.report.findings.list());
    let summary = list.map(|finding| finding.to_string().split(": expected").next().unwrap().to_owned()).collect();
    (summary, reports.pop().unwrap().link)
}

#[test]
fn an_epoch_that_names_the_end_of_the_one_before_is_sound() {
    for signed in [700, 600, 256, 1] {
        let (summary, link) = found(signed, &link());
        assert_eq!((summary, link.unwrap().missing), (vec![], Some(50)), "{signed}");
    }
}

#[test]
fn whatever_is_spoilt_in_the_link_is_named() {
    let epoch = ["tampered: record 0: epoch".to_owned()];
    let root = root(&records()[..699]).to_string();
    let other = leaf_hash(b"").to_string();
    let cases = [
        (1, "no note"),
        (3, "751"),
        (7, "49"),
        (7, "unknown"),
        (4, "example.com/log/2"),
        (5, "699"),
        (5, "x"),
        (6, root.as_str()),
        (6, other.as_str()),
    ];
    for (at, value) in cases {
        let mut spoilt = link();
        spoilt["entry"]["attributes"][at][1] = value.into();
        assert_eq!(found(700, &spoilt).0, epoch, "{at} {value}");
    }
    let unsigned = checkpoint(0, 750, leaf_hash(b"whatever it was")).replace("\n750\n", "\n751\n");
    let mut spoilt = link();
    spoilt["entry"]["attributes"][1][1] = unsigned.into();
    spoilt["entry"]["attributes"][3][1] = "751".into();
    assert_eq!(found(700, &spoilt).0, epoch);
    for (pointer, value) in
        [("/entry/action", json!("order.refund")), ("/entry/subject/id", json!("example.com/log/3")), ("/entry", json!(7))]
    {
        let mut spoilt = link();
        *spoilt.pointer_mut(pointer).unwrap() = value;
        assert_eq!(found(700, &spoilt).0, epoch, "{pointer}");
    }
    let mut twice = link();
    twice["entry"]["attributes"][0] = json!(["missing", "50"]);
    assert_eq!(found(700, &twice).0, epoch);
}

#[test]
fn a_checkpoint_of_a_log_that_nobody_named_is_incomplete() {
    let mut other = link();
    other["entry"]["attributes"][2][1] = "example.com/log/7".into();
    other["entry"]["attributes"][7][1] = "unknown".into();
    assert_eq!(found(700, &other).0, ["incomplete: record 0: epoch"]);
}

#[test]
fn a_size_beyond_what_is_there_is_incomplete() {
    let mut spoilt = link();
    spoilt["entry"]["attributes"][5][1] = "100000".into();
    let (summary, _) = found(700, &spoilt);
    assert!(summary.iter().any(|finding| finding.starts_with("incomplete")), "{summary:?}");
}
