//! The suite of the log as a tree: one case per bullet of the contract of [`Transparency`].
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a case fails by panicking")]

use super::{
    audit::{record, records},
    eventually, find_all,
};
use crate::{
    ErrorKind,
    audit::{AuditFilter, AuditLog},
    transparency::Transparency,
};
use async_trait::async_trait;
use plinth_audit::{
    checkpoint::Checkpoint,
    hash::{Hash, leaf_hash},
    note::{Note, VerifierKey},
    policy::Policy,
    proof::verify_consistency,
    tile::{Resource, decode_bundle, new_bundles, new_tiles},
    tlog_proof::TlogProof,
    tree,
};
use std::{collections::BTreeSet, sync::Arc};

/// A log, alone in its storage, with a host that grows and signs its tree.
#[async_trait]
pub trait TransparencyFixture: Send + Sync {
    fn log(&self) -> Arc<dyn AuditLog>;
    fn tree(&self) -> Arc<dyn Transparency>;
    /// Keeps the database as it is now.
    async fn back_up(&mut self);
    /// The database is again what was kept last, and the host is started anew.
    async fn restore(&mut self);
}

/// Makes the tests of one backend: `$make` is an async expression that yields a [`TransparencyFixture`].
#[macro_export]
macro_rules! transparency_conformance {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::transparency, $make;
            signed_soon,
            checkpoints_are_consistent,
            tiles_give_the_root,
            entries_are_the_stored_bytes,
            each_record_has_a_proof,
            unknown_is_none,
            bad_path_is_refused,
            bad_range_is_refused,
            restored_opens_an_epoch,
        }
    };
}

/// The newest checkpoint of an epoch, its signature checked with the key the tree names.
async fn head(tree: &dyn Transparency, epoch: u64) -> Checkpoint {
    let view = tree.trees().await.unwrap().into_iter().find(|view| view.epoch == epoch).unwrap();
    let key: VerifierKey = view.verifier_key.parse().unwrap();
    let note = Note::parse(tree.checkpoint(epoch).await.unwrap().unwrap().as_bytes()).unwrap();
    assert_eq!(note.verify([&key]).unwrap().len(), 1, "the log has signed it");
    let checkpoint: Checkpoint = note.text().parse().unwrap();
    assert_eq!(checkpoint.origin(), view.origin);
    checkpoint
}

async fn signed(tree: &dyn Transparency, epoch: u64, size: u64) -> Checkpoint {
    eventually("the records are signed", || async { head(tree, epoch).await.size() >= size }).await;
    head(tree, epoch).await
}

/// Leaf hashes of all entries below a checkpoint, read as an outsider reads them.
async fn leaves(tree: &dyn Transparency, epoch: u64, size: u64) -> Vec<Hash> {
    let mut leaves = Vec::new();
    for bundle in new_bundles(0, size) {
        let Resource::Entries { width, .. } = bundle else { panic!("{bundle} is no bundle") };
        let bytes = tree.tile(epoch, &bundle.to_string()).await.unwrap().unwrap();
        leaves.extend(decode_bundle(&bytes, width).unwrap().into_iter().map(leaf_hash));
    }
    leaves
}

pub async fn signed_soon(fixture: impl TransparencyFixture) {
    let tree = fixture.tree();
    assert_eq!(head(&*tree, 0).await.size(), 0, "the empty tree is signed");
    fixture.log().append(records(3)).await.unwrap();
    assert_eq!(signed(&*tree, 0, 3).await.size(), 3);
    assert_eq!(tree.trees().await.unwrap()[0].signed, 3);
}

pub async fn checkpoints_are_consistent(fixture: impl TransparencyFixture) {
    let (log, tree) = (fixture.log(), fixture.tree());
    let mut before = head(&*tree, 0).await;
    for count in [1, 2, 300, 5] {
        log.append(records(count)).await.unwrap();
        let now = signed(&*tree, 0, before.size() + count as u64).await;
        let proof = tree.consistency(0, before.size(), now.size()).await.unwrap().unwrap();
        let proof: Vec<Hash> = proof.into_iter().map(Hash::new).collect();
        verify_consistency(before.size(), before.root(), now.size(), now.root(), &proof).unwrap();
        before = now;
    }
}

pub async fn tiles_give_the_root(fixture: impl TransparencyFixture) {
    let tree = fixture.tree();
    fixture.log().append(records(700)).await.unwrap();
    let head = signed(&*tree, 0, 700).await;
    let leaves = leaves(&*tree, 0, head.size()).await;
    assert_eq!(tree::root(&leaves), *head.root());
    for id in new_tiles(0, head.size()) {
        let hashes = tree.tile(0, &id.path()).await.unwrap().unwrap();
        let below = 256_usize.pow(u32::from(id.level()));
        let first = usize::try_from(id.index()).unwrap() * 256;
        for (place, hash) in hashes.chunks(32).enumerate() {
            let from = (first + place) * below;
            assert_eq!(Hash::from_slice(hash), Some(tree::root(&leaves[from..from + below])), "{id} at {place}");
        }
    }
}

pub async fn entries_are_the_stored_bytes(fixture: impl TransparencyFixture) {
    let (log, tree) = (fixture.log(), fixture.tree());
    log.append(records(260)).await.unwrap();
    let head = signed(&*tree, 0, 260).await;
    let stored = find_all(&*log, &AuditFilter::default(), 1_000).await;
    let digests: Vec<String> = stored.into_iter().map(|stored| stored.digest).collect();
    let read: Vec<String> = leaves(&*tree, 0, head.size()).await.iter().map(Hash::to_hex).collect();
    assert_eq!(read, digests);
}

pub async fn each_record_has_a_proof(fixture: impl TransparencyFixture) {
    let (log, tree) = (fixture.log(), fixture.tree());
    let records = records(520);
    log.append(records.clone()).await.unwrap();
    signed(&*tree, 0, 520).await;
    let key: VerifierKey = tree.trees().await.unwrap()[0].verifier_key.parse().unwrap();
    let policy = Policy::log_only(key);
    for at in [0, 1, 255, 256, 519] {
        let proof = tree.proof(&records[at].id).await.unwrap().unwrap();
        let proof = TlogProof::parse(proof.as_bytes()).unwrap();
        assert_eq!(proof.index, at as u64);
        let bundle = tree.tile(0, &new_bundles(0, 520).nth(at / 256).unwrap().to_string()).await.unwrap().unwrap();
        let entries = decode_bundle(&bundle, if at < 512 { 256 } else { 8 }).unwrap();
        proof.verify(entries[at % 256], &policy).unwrap();
        assert!(proof.verify(b"something else", &policy).is_err());
    }
}

pub async fn unknown_is_none(fixture: impl TransparencyFixture) {
    let tree = fixture.tree();
    fixture.log().append(records(1)).await.unwrap();
    signed(&*tree, 0, 1).await;
    assert_eq!(tree.checkpoint(7).await.unwrap(), None);
    assert_eq!(tree.tile(7, "tile/0/000.p/1").await.unwrap(), None);
    assert_eq!(tree.consistency(7, 0, 1).await.unwrap(), None);
    for beyond in ["tile/0/000", "tile/0/000.p/2", "tile/entries/000.p/2", "tile/1/000.p/1", "tile/entries/x001/000"] {
        assert_eq!(tree.tile(0, beyond).await.unwrap(), None, "{beyond}");
    }
    assert_eq!(tree.proof(&record("a.b").id).await.unwrap(), None);
    assert_eq!(tree.proof("no id at all").await.unwrap(), None);
}

pub async fn bad_path_is_refused(fixture: impl TransparencyFixture) {
    let tree = fixture.tree();
    let long = format!("tile/0/{}000", "x000/".repeat(60));
    for path in ["", "checkpoint", "tile/0/1", "tile/0/000.p/256", "tile/0/000.p/0", "tile/99/000", "../host.key", "tile/0/000/", &long] {
        assert_eq!(tree.tile(0, path).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{path}");
    }
}

pub async fn bad_range_is_refused(fixture: impl TransparencyFixture) {
    let tree = fixture.tree();
    fixture.log().append(records(2)).await.unwrap();
    signed(&*tree, 0, 2).await;
    for (from, to) in [(2, 1), (0, 3), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        assert_eq!(tree.consistency(0, from, to).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{from} to {to}");
    }
}

pub async fn restored_opens_an_epoch(mut fixture: impl TransparencyFixture) {
    fixture.log().append(records(4)).await.unwrap();
    signed(&*fixture.tree(), 0, 4).await;
    fixture.back_up().await;
    fixture.log().append(records(3)).await.unwrap();
    let lost = signed(&*fixture.tree(), 0, 7).await;
    fixture.restore().await;
    let (log, tree) = (fixture.log(), fixture.tree());
    // Under the old name nothing is signed that contradicts what was.
    log.append(records(2)).await.unwrap();
    let old = signed(&*tree, 0, 4).await;
    assert_eq!(old.size(), 4, "what the restored database had signed");
    let trees = tree.trees().await.unwrap();
    assert_eq!(trees.len(), 2);
    assert_eq!((trees[0].sealed, trees[1].epoch, trees[1].first, trees[1].sealed), (Some(4), 1, 4, None));
    assert_eq!(trees.iter().map(|tree| &tree.origin).collect::<BTreeSet<_>>().len(), 2);
    // The new tree begins with what is missing, and goes on from there.
    let new = signed(&*tree, 1, 3).await;
    assert_eq!(tree::root(&leaves(&*tree, 1, new.size()).await), *new.root());
    let stored = find_all(&*log, &AuditFilter::default(), 100).await;
    let first = &stored.iter().find(|stored| stored.sequence == 4).unwrap().record;
    let said = |name: &str| first.entry.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    assert_eq!(first.entry.action, "audit.epoch.opened");
    assert_eq!(
        (said("missing").as_deref(), said("signed-size").as_deref(), said("stored-size").as_deref()),
        (Some("3"), Some("7"), Some("4"))
    );
    assert_eq!(said("signed-checkpoint").unwrap().lines().nth(2), Some(lost.root().to_string().as_str()));
    // Records from before and after have their proofs, each in its tree.
    for stored in [&stored[0], &stored[5]] {
        assert!(tree.proof(&stored.record.id).await.unwrap().is_some(), "record {}", stored.sequence);
    }
    // Restored once more: the third epoch follows the second, whatever the database says.
    fixture.restore().await;
    fixture.log().append(records(1)).await.unwrap();
    signed(&*fixture.tree(), 2, 2).await;
}
