//! A log and its witness, and every answer of the specification.

use super::*;
use crate::{
    hash::leaf_hash,
    note::{KeyName, SignatureType, SignerKey},
    proof::{NodeId, NodeReader, Plan},
    tree,
};
use std::{collections::BTreeMap, convert::Infallible, sync::Mutex};

const ORIGIN: &str = "example.com/log";

#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, Latest>>);

impl WitnessStore for Memory {
    type Error = Infallible;

    fn latest(&self, origin: &str) -> Result<Option<Latest>, Infallible> {
        Ok(self.0.lock().unwrap().get(origin).cloned())
    }

    fn replace(&self, origin: &str, expected: Option<&Latest>, new: &Latest) -> Result<bool, Infallible> {
        let mut stored = self.0.lock().unwrap();
        let same = stored.get(origin) == expected;
        if same {
            stored.insert(origin.to_owned(), new.clone());
        }
        Ok(same)
    }
}

struct Leaves(Vec<Hash>);

impl NodeReader for Leaves {
    type Error = Infallible;

    fn node(&self, id: NodeId) -> Result<Hash, Infallible> {
        let from = usize::try_from(id.index << id.height).unwrap();
        Ok(tree::root(&self.0[from..from + (1 << id.height)]))
    }
}

fn key(name: &str, kind: SignatureType, seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::new(name).unwrap(), kind, [seed; 32]).unwrap()
}

fn log_key() -> SignerKey {
    key(ORIGIN, SignatureType::Ed25519, 1)
}

fn witness() -> Witness {
    let signers: Vec<Arc<dyn Signer>> =
        vec![Arc::new(key("w", SignatureType::Cosignature, 2)), Arc::new(key("w", SignatureType::MlDsa44, 2))];
    Witness::new(vec![log_key().key().clone()], signers)
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn checkpoint(origin: &str, size: u64, root: Hash, signer: &SignerKey) -> Note {
    let mut note = Checkpoint::new(origin, size, root).unwrap().to_note().unwrap();
    note.sign(signer, 0).unwrap();
    note
}

fn body(old: u64, size: u64) -> Vec<u8> {
    let leaves = leaves(size);
    let note = checkpoint(ORIGIN, size, tree::root(&leaves), &log_key());
    request_body(old, &Plan::consistency(old, size).unwrap().assemble(&Leaves(leaves)).unwrap(), &note)
}

#[test]
fn a_growing_log_is_cosigned_by_every_key() {
    let (witness, store) = (witness(), Memory::default());
    for (old, size) in [(0, 5), (5, 5), (5, 8), (8, 300)] {
        let answer = witness.add_checkpoint(&store, &body(old, size), 1_700_000_000).unwrap();
        assert_eq!(answer.status, 200, "{old} {size}: {}", answer.body);
        // As the specification suggests, the answer is read behind the checkpoint.
        let whole = format!("{}{}", checkpoint(ORIGIN, size, tree::root(&leaves(size)), &log_key()), answer.body);
        let keys: Vec<_> = witness.signers.iter().map(|signer| signer.key().clone()).collect();
        let verified = Note::parse(whole.as_bytes()).unwrap().verify(&keys).unwrap();
        assert_eq!(verified.iter().map(|v| v.timestamp).collect::<Vec<_>>(), [Some(1_700_000_000); 2]);
        assert_eq!(store.latest(ORIGIN).unwrap().unwrap().size, size);
    }
}

#[test]
fn every_refusal_has_its_status() {
    let (witness, store) = (witness(), Memory::default());
    assert_eq!(witness.add_checkpoint(&store, &body(0, 8), 1).unwrap().status, 200);
    let before = store.latest(ORIGIN).unwrap();
    let good = String::from_utf8(body(8, 12)).unwrap();
    let signed = |size, root| checkpoint(ORIGIN, size, root, &log_key());
    let hash = leaf_hash(b"");
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("empty", Vec::new(), 400),
        ("leading zero", good.replacen("old 8", "old 08", 1).into(), 400),
        ("no old line", good.replacen("old 8\n", "", 1).into(), 400),
        ("no empty line", good.replacen("\n\n", "\n", 1).into(), 400),
        ("a line that is no hash", good.replacen("old 8\n", "old 8\nAAAA\n", 1).into(), 400),
        ("64 hashes", request_body(8, &[hash; 64], &signed(12, hash)), 400),
        (
            "no checkpoint",
            request_body(8, &[], &{
                let mut note = Note::new("text\n").unwrap();
                note.sign(&log_key(), 0).unwrap();
                note
            }),
            400,
        ),
        ("old above new", request_body(8, &[], &signed(7, hash)), 400),
        ("too large", vec![b'x'; REQUEST_MAX + 1], 400),
        ("not UTF-8", b"old 0\n\n\xff".to_vec(), 400),
        ("unknown log", request_body(8, &[], &checkpoint("example.com/other", 12, hash, &log_key())), 404),
        ("unknown key", request_body(8, &[], &checkpoint(ORIGIN, 12, hash, &key(ORIGIN, SignatureType::Ed25519, 9))), 403),
        ("another old size", body(7, 12), 409),
        ("nothing known", body(0, 12), 409),
        ("another root of the same size", request_body(8, &[], &signed(8, hash)), 409),
        ("no proof", request_body(8, &[], &signed(12, hash)), 422),
        ("a proof of another tree", request_body(8, &[hash], &signed(12, hash)), 422),
        ("a proof where none is due", request_body(8, &[hash], &signed(8, tree::root(&leaves(8)))), 422),
    ];
    for (case, body, status) in cases {
        let answer = witness.add_checkpoint(&store, &body, 1).unwrap();
        assert_eq!(answer.status, status, "{case}: {}", answer.body);
        if status == 409 {
            assert_eq!((answer.content_type, answer.body.as_str()), ("text/x.tlog.size", "8\n"), "{case}");
        }
    }
    assert_eq!(store.latest(ORIGIN).unwrap(), before);
    let fresh = Memory::default();
    assert_eq!(witness.add_checkpoint(&fresh, &request_body(0, &[hash], &signed(5, hash)), 1).unwrap().status, 422);
}

#[test]
fn whoever_is_second_does_not_roll_back() {
    /// Lets another request in between reading and storing, once.
    struct Racing(Memory, Mutex<Option<Vec<u8>>>);
    impl WitnessStore for Racing {
        type Error = Infallible;
        fn latest(&self, origin: &str) -> Result<Option<Latest>, Infallible> {
            let latest = self.0.latest(origin)?;
            if let Some(body) = self.1.lock().unwrap().take() {
                assert_eq!(witness().add_checkpoint(&self.0, &body, 1).unwrap().status, 200);
            }
            Ok(latest)
        }
        fn replace(&self, origin: &str, expected: Option<&Latest>, new: &Latest) -> Result<bool, Infallible> {
            self.0.replace(origin, expected, new)
        }
    }
    let store = Racing(Memory::default(), Mutex::new(Some(body(0, 12))));
    let answer = witness().add_checkpoint(&store, &body(0, 8), 1).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (409, "12\n"));
    assert_eq!(store.latest(ORIGIN).unwrap().unwrap().size, 12);
}

#[test]
fn the_example_of_the_specification_is_read() {
    let body = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
    let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
    assert_eq!(
        (request.old, request.proof.len(), request.checkpoint.size(), request.note.signatures().len()),
        (20_852_014, 4, 20_852_163, 2)
    );
    assert_eq!(request_body(request.old, &request.proof, &request.note), body.as_bytes());
}
