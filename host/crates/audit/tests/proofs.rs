//! Proofs against the vectors of others and against another implementation.

#![cfg(test)]

use ct_merkle::{HashableLeaf, mem_backed_tree::MemoryBackedTree};
use plinth_audit::{
    hash::{Hash, leaf_hash},
    json_proof::JsonProof,
    proof::{NodeId, NodeReader, Plan, verify_consistency, verify_inclusion},
    tree,
};
use proptest::prelude::*;
use sha2::Sha256;
use std::{convert::Infallible, fs, path::Path};

#[test]
fn every_published_vector_has_the_published_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/rfc6962");
    let mut outcomes = [0, 0];
    for file in files(&folder) {
        let bytes = fs::read(&file).unwrap();
        let published: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let refused = published["wantErr"].as_bool().unwrap();
        let found = JsonProof::parse(&bytes).map(|proof| proof.verify());
        assert_eq!(!matches!(found, Ok(Ok(()))), refused, "{}: {found:?}", file.display());
        outcomes[usize::from(refused)] += 1;
    }
    assert_eq!(outcomes, [7, 89]);
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

struct Leaves(Vec<Hash>);

impl NodeReader for Leaves {
    type Error = Infallible;

    fn node(&self, id: NodeId) -> Result<Hash, Infallible> {
        let from = usize::try_from(id.index << id.height).unwrap();
        Ok(tree::root(&self.0[from..from + (1 << id.height)]))
    }
}

struct Record(u64);

impl HashableLeaf for Record {
    fn hash<H: sha2::digest::Update>(&self, hasher: &mut H) {
        hasher.update(&self.0.to_be_bytes());
    }
}

fn bytes(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(Hash::as_bytes).copied().collect()
}

/// A tree of ours and the same of theirs.
fn trees(size: u64) -> (Leaves, MemoryBackedTree<Sha256, Record>) {
    let mut theirs = MemoryBackedTree::new();
    (0..size).for_each(|n| theirs.push(Record(n)));
    (Leaves((0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()), theirs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn proofs_are_those_of_another_implementation(size in 1_u64..300, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let (ours, theirs) = trees(size);
        let root = tree::root(&ours.0);
        prop_assert_eq!(root.as_bytes().to_vec(), theirs.root().as_bytes().to_vec());

        let index = a.index(ours.0.len());
        let at = u64::try_from(index).unwrap();
        let proof = Plan::inclusion(at, size).unwrap().assemble(&ours).unwrap();
        prop_assert_eq!(bytes(&proof), theirs.prove_inclusion(index).as_bytes().to_vec());
        prop_assert_eq!(verify_inclusion(&ours.0[index], at, size, &proof, &root), Ok(()));

        let old = 1 + b.index(ours.0.len());
        let more = u64::try_from(old).unwrap();
        let proof = Plan::consistency(more, size).unwrap().assemble(&ours).unwrap();
        if more < size {
            prop_assert_eq!(bytes(&proof), theirs.prove_consistency(ours.0.len() - old).as_bytes().to_vec());
        }
        prop_assert_eq!(verify_consistency(more, &tree::root(&ours.0[..old]), size, &root, &proof), Ok(()));
    }

    #[test]
    fn a_proof_holds_for_nothing_else(size in 2_u64..200, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
        let (ours, _) = trees(size);
        let root = tree::root(&ours.0);
        let (index, other) = (a.index(ours.0.len()), b.index(ours.0.len()));
        let (at, elsewhere) = (u64::try_from(index).unwrap(), u64::try_from(other).unwrap());
        let proof = Plan::inclusion(at, size).unwrap().assemble(&ours).unwrap();
        if at != elsewhere {
            prop_assert!(verify_inclusion(&ours.0[index], elsewhere, size, &proof, &root).is_err());
            prop_assert!(verify_inclusion(&ours.0[other], at, size, &proof, &root).is_err());
        }
        let flipped = flip(&proof, bit);
        prop_assert!(verify_inclusion(&ours.0[index], at, size, &flipped, &root).is_err());
        prop_assert!(verify_inclusion(&ours.0[index], at, size, &proof[1..], &root).is_err());
        prop_assert!(verify_inclusion(&ours.0[index], at, size, &[proof.clone(), vec![root]].concat(), &root).is_err());

        let old = tree::root(&ours.0[..index]);
        let proof = Plan::consistency(at, size).unwrap().assemble(&ours).unwrap();
        // Everything extends the empty tree.
        if at > 0 {
            prop_assert!(verify_consistency(at, &old, size, &old, &proof).is_err());
            prop_assert!(verify_consistency(at, &root, size, &root, &proof).is_err());
            prop_assert!(verify_consistency(at, &old, size, &root, &flip(&proof, bit)).is_err());
            prop_assert!(verify_consistency(at, &old, size, &root, &proof[1..]).is_err());
        }
    }

    #[test]
    fn nothing_given_to_a_verifier_makes_it_fail_otherwise_than_by_saying_so(
        a in any::<u64>(), b in any::<u64>(), hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let hashes: Vec<_> = hashes.into_iter().map(Hash::new).collect();
        let root = leaf_hash(b"");
        let _ = verify_inclusion(&root, a, b, &hashes, &root);
        let _ = verify_consistency(a, &root, b, &root, &hashes);
        let _ = (Plan::inclusion(a, b), Plan::consistency(a, b), Plan::root(a));
    }
}

fn flip(proof: &[Hash], bit: prop::sample::Index) -> Vec<Hash> {
    let mut flat = bytes(proof);
    let bit = bit.index(flat.len() * 8);
    flat[bit / 8] ^= 1 << (bit % 8);
    flat.as_chunks().0.iter().copied().map(Hash::new).collect()
}
