//! Other implementations agree: the verifier in `examples/audit-verifier`, and PyPI `pymerkle`.
//!
//! They need a `python3` on the path with the packages of `examples/audit-verifier/requirements.txt`,
//! which `cargo xtask audit-interop` provides; without them these tests fail. The feature `interop`
//! keeps them out of every other run.

#![cfg(test)]

use plinth_audit::{
    checkpoint::Checkpoint,
    hash::leaf_hash,
    note::{KeyName, Note, SignatureType, Signer as _, SignerKey},
    policy::Policy,
    proof::{NodeId, NodeReader, Plan},
    tile::{TileEdge, encode_bundle, new_bundles},
    tree,
    verify::{Directory, NoCheck, Request, verify},
};
use std::{convert::Infallible, fs, num::NonZeroUsize, path::Path, process::Command};

const ORIGIN: &str = "example.com/log";

fn key(name: &str, kind: SignatureType) -> SignerKey {
    SignerKey::from_seed(KeyName::new(name).unwrap(), kind, [7; 32]).unwrap()
}

fn log_key() -> SignerKey {
    key(ORIGIN, SignatureType::Ed25519)
}

fn witness_key() -> SignerKey {
    key("example.com/witness", SignatureType::Cosignature)
}

fn record(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n}}}").into_bytes()
}

/// A log as a directory, with its checkpoint cosigned.
fn write_log(folder: &Path, size: u64) {
    let records: Vec<_> = (0..size).map(record).collect();
    let mut edge = TileEdge::new();
    let leaves: Vec<_> = records.iter().map(|record| leaf_hash(record)).collect();
    for tile in edge.grow(&leaves) {
        write(folder, &tile.id.path(), &tile.bytes);
    }
    for (bundle, records) in new_bundles(0, size).zip(records.chunks(256)) {
        write(folder, &bundle.to_string(), &encode_bundle(records).unwrap());
    }
    let mut note = Checkpoint::new(ORIGIN, size, edge.root()).unwrap().to_note().unwrap();
    note.sign(&log_key(), 0).unwrap();
    note.sign(&key(ORIGIN, SignatureType::MlDsa44), 0).unwrap();
    note.sign(&witness_key(), 1_700_000_000).unwrap();
    write(folder, "checkpoint", &note.to_bytes());
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The exit codes of both verifiers, which must agree, and what theirs says.
fn both(folder: &Path) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/audit-verifier/verify.py");
    let output = Command::new("python3")
        .arg(script)
        .arg("--dir")
        .arg(folder)
        .args(["--key", &log_key().key().to_string(), "--witness", &witness_key().key().to_string(), "--quorum", "1"])
        .output()
        .expect("python3 is on the path");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let theirs = output.status.code().unwrap();

    let policy = format!("log {}\nwitness w {}\nquorum w\n", log_key().key(), witness_key().key());
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let request = Request { policy: &policy, since: &[], threads: NonZeroUsize::new(2).unwrap() };
    let report = verify(&Directory::new(folder), &NoCheck, &request);
    let ours = match (report.findings.tampered(), report.findings.incomplete()) {
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    };
    assert_eq!(ours, theirs, "{said}\n{:?}", report.findings);
    (theirs, said)
}

#[test]
fn both_verifiers_accept_sound_logs() {
    for size in [0, 1, 2, 255, 256, 257, 65_535, 65_536, 65_793] {
        let folder = tempfile::tempdir().unwrap();
        write_log(folder.path(), size);
        let (code, said) = both(folder.path());
        assert!(code == 0 && said.starts_with(&format!("ok: {size} records")), "{size}: {said}");
    }
}

#[test]
fn both_verifiers_see_what_is_spoilt() {
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    type Spoil = Box<dyn Fn(&mut Vec<u8>)>;
    let cases: Vec<(&str, Spoil, &str)> = vec![
        ("tile/entries/001", Box::new(flip(7)), "tampered: record 256:"),
        ("tile/entries/003.p/32", Box::new(flip(7)), "tampered: record 768:"),
        ("tile/entries/001", Box::new(flip(0)), "tampered: tile/entries/001:"),
        ("tile/entries/001", Box::new(|bytes| bytes.push(0)), "tampered: tile/entries/001:"),
        ("tile/0/002", Box::new(flip(32)), "tampered: record 513:"),
        ("tile/1/000.p/3", Box::new(flip(0)), "tampered: tile/1/000.p/3:"),
        ("tile/0/002", Box::new(|bytes| bytes.truncate(8_191)), "tampered: tile/0/002:"),
        ("checkpoint", Box::new(flip(ORIGIN.len() + 1)), "tampered: checkpoint:"),
        ("checkpoint", Box::new(|bytes| bytes.truncate(60)), "tampered: checkpoint:"),
        ("checkpoint", Box::new(without_witness), "incomplete: checkpoint: 0 witnesses"),
        ("checkpoint", Box::new(another_root), "tampered: log:"),
    ];
    let sound = tempfile::tempdir().unwrap();
    write_log(sound.path(), 800);
    for (path, spoil, expected) in cases {
        let file = sound.path().join(path);
        let before = fs::read(&file).unwrap();
        let mut bytes = before.clone();
        spoil(&mut bytes);
        fs::write(&file, bytes).unwrap();
        let (_, said) = both(sound.path());
        assert!(said.starts_with(expected), "{path}: {said}");
        fs::remove_file(&file).unwrap();
        let (_, said) = both(sound.path());
        assert!(said.starts_with(&format!("incomplete: {path}")), "{path}: {said}");
        fs::write(&file, before).unwrap();
    }
    assert_eq!(both(sound.path()).0, 0);
}

fn without_witness(bytes: &mut Vec<u8>) {
    let mut note = Note::new(Note::parse(bytes).unwrap().text()).unwrap();
    note.sign(&log_key(), 0).unwrap();
    *bytes = note.to_bytes();
}

fn another_root(bytes: &mut Vec<u8>) {
    let mut note = Checkpoint::new(ORIGIN, 800, leaf_hash(b"")).unwrap().to_note().unwrap();
    note.sign(&log_key(), 0).unwrap();
    note.sign(&witness_key(), 0).unwrap();
    *bytes = note.to_bytes();
}

/// What a Python program prints.
fn python(program: &str, arguments: &[String]) -> String {
    let output = Command::new("python3").arg("-c").arg(program).args(arguments).output().expect("python3 is on the path");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

struct Leaves(Vec<plinth_audit::hash::Hash>);

impl NodeReader for Leaves {
    type Error = Infallible;

    fn node(&self, id: NodeId) -> Result<plinth_audit::hash::Hash, Infallible> {
        let from = usize::try_from(id.index << id.height).unwrap();
        Ok(tree::root(&self.0[from..from + (1 << id.height)]))
    }
}

#[test]
fn pymerkle_computes_the_same_roots() {
    let sizes: Vec<u64> = (0..40).chain([255, 256, 257, 600]).collect();
    let program = r#"
import sys
from pymerkle import InmemoryTree
tree = InmemoryTree(algorithm="sha256")
for size in map(int, sys.argv[1:]):
    while tree.get_size() < size:
        tree.append_entry(b'{"n":%d}' % tree.get_size())
    print(tree.get_state(size).hex())
"#;
    let arguments: Vec<_> = sizes.iter().map(u64::to_string).collect();
    let theirs = python(program, &arguments);
    for (size, theirs) in sizes.iter().zip(theirs.lines()) {
        let leaves: Vec<_> = (0..*size).map(|n| leaf_hash(&record(n))).collect();
        assert_eq!(tree::root(&leaves).to_hex(), theirs, "{size}");
    }
    assert_eq!(theirs.lines().count(), sizes.len());
}

#[test]
fn pymerkle_proves_what_we_verify_and_the_other_way_round() {
    let size = 300;
    let leaves = Leaves((0..size).map(|n| leaf_hash(&record(n))).collect());
    let ours: Vec<String> = [0, 1, 17, 255, 256, 299]
        .map(|index| {
            let proof = Plan::inclusion(index, size).unwrap().assemble(&leaves).unwrap();
            proof.iter().fold(index.to_string(), |text, hash| text + "," + &hash.to_hex())
        })
        .to_vec();
    // Their indexes are counted from 1, and their path begins with the leaf itself.
    let program = r#"
import sys
from pymerkle import InmemoryTree
tree = InmemoryTree(algorithm="sha256")
for n in range(300):
    tree.append_entry(b'{"n":%d}' % n)
for argument in sys.argv[1:]:
    index, *path = argument.split(",")
    proof = tree.prove_inclusion(int(index) + 1, 300)
    assert [node.hex() for node in proof.path[1:]] == path, (index, [node.hex() for node in proof.path], path)
    print("same")
"#;
    assert_eq!(python(program, &ours).lines().count(), ours.len());
}

#[test]
fn ml_dsa_signatures_hold_elsewhere() {
    let signer = key(ORIGIN, SignatureType::MlDsa44);
    let text = Checkpoint::new(ORIGIN, 0, plinth_audit::hash::empty_root()).unwrap().to_string();
    let message = plinth_audit::cosignature::message(signer.key(), &text, 5).unwrap();
    let signature = signer.sign_message(&message).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let program = r#"
import sys
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
public, signature, message = map(bytes.fromhex, sys.argv[1:])
MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
own = MLDSA44PrivateKey.from_seed_bytes(bytes([7] * 32))
assert own.public_key().public_bytes_raw() == public
print(own.sign(message).hex())
"#;
    let theirs = python(program, &[hex(signer.key().public_key()), hex(&signature), hex(&message)]);
    let bare: Vec<u8> =
        theirs.trim().as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    let mut line = plinth_audit::note::sign(&signer, &text, 5).unwrap();
    line.signature.splice(8.., bare);
    let mut note = Note::new(text).unwrap();
    note.add(line).unwrap();
    assert_eq!(note.verify([signer.key()]).unwrap()[0].timestamp, Some(5));
}
