//! PyPI `aics-tlog` reads our logs and we read its own. It needs Python 3.12: `cargo xtask audit-interop` provides it where that is.

#![cfg(test)]

use plinth_audit::{
    checkpoint::Checkpoint,
    hash::leaf_hash,
    note::{KeyName, SignatureType, Signer as _, SignerKey},
    policy::Policy,
    tile::{TileEdge, encode_bundle, new_bundles},
    verify::{Directory, NoCheck, Request, verify},
};
use std::{fs, num::NonZeroUsize, path::Path, process::Command};

const ORIGIN: &str = "example.com/log";
const SIZES: [u64; 8] = [0, 1, 2, 255, 256, 257, 65_536, 65_793];

fn key(name: &str, kind: SignatureType) -> SignerKey {
    SignerKey::from_seed(KeyName::new(name).unwrap(), kind, [7; 32]).unwrap()
}

fn witness() -> SignerKey {
    key("example.com/witness", SignatureType::Cosignature)
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A log of ours, signed with both of its keys and by a witness.
fn write_log(folder: &Path, size: u64) {
    let records: Vec<Vec<u8>> = (0..size).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect();
    let mut edge = TileEdge::new();
    for tile in edge.grow(&records.iter().map(|record| leaf_hash(record)).collect::<Vec<_>>()) {
        write(folder, &tile.id.path(), &tile.bytes);
    }
    for (bundle, records) in new_bundles(0, size).zip(records.chunks(256)) {
        write(folder, &bundle.to_string(), &encode_bundle(records).unwrap());
    }
    let mut note = Checkpoint::new(ORIGIN, size, edge.root()).unwrap().to_note().unwrap();
    note.sign(&key(ORIGIN, SignatureType::Ed25519), 0).unwrap();
    note.sign(&key(ORIGIN, SignatureType::MlDsa44), 0).unwrap();
    note.sign(&witness(), 1_700_000_000).unwrap();
    write(folder, "checkpoint", &note.to_bytes());
}

/// Whether the program ended well, and what it said.
fn python(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("python3").arg("-c").arg(program).args(arguments).output().expect("python3 is on the path");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

/// Checkpoint, every tile and bundle, proofs of a few records, and one of consistency.
const READS: &str = r#"
import sys
from aics_tlog import *
folder, log_key, witness_key = sys.argv[1:]
note = open(folder + "/checkpoint", "rb").read()
checked = verify_checkpoint(parse_note(note), parse_vkey(log_key), [parse_vkey(witness_key)], quorum=1)
assert checked.ok, checked
checkpoint = parse_checkpoint(parse_note(note).text)
reader, size, root = FileSystemTileReader(folder), checkpoint.size, checkpoint.root
audit_tiles(reader, size, root)
for index in sorted({0, size // 3, size - 1}) if size else []:
    entry = read_entry(reader, index, size)
    assert entry == b'{"n":%d}' % index, entry
    assert verify_leaf_inclusion(entry, index, size, inclusion_proof_from_tiles(reader, index, size), root)
if size > 1:
    old = size // 2
    proof = consistency_proof_from_tiles(reader, old, size)
    assert verify_consistency(old, size, tree_root_from_tiles(reader, old, size), root, proof)
print("read", size)
"#;

fn theirs(folder: &Path) -> (bool, String) {
    let keys = [key(ORIGIN, SignatureType::Ed25519), witness()].map(|key| key.key().to_string());
    python(READS, &[folder.to_str().unwrap(), &keys[0], &keys[1]])
}

#[test]
fn they_read_our_logs() {
    for size in SIZES {
        let folder = tempfile::tempdir().unwrap();
        write_log(folder.path(), size);
        let (good, said) = theirs(folder.path());
        assert!(good && said.ends_with(&format!("read {size}\n")), "{size}: {said}");
    }
}

#[test]
fn they_see_what_is_spoilt_in_our_logs() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), 800);
    for (path, at) in [("tile/entries/001", 7), ("tile/0/002", 40), ("tile/1/000.p/3", 1), ("checkpoint", ORIGIN.len() + 8)] {
        let file = folder.path().join(path);
        let sound = fs::read(&file).unwrap();
        let mut spoilt = sound.clone();
        spoilt[at] ^= 1;
        fs::write(&file, spoilt).unwrap();
        let (good, said) = theirs(folder.path());
        assert!(!good, "{path}: {said}");
        fs::write(&file, sound).unwrap();
    }
    assert!(theirs(folder.path()).0);
}

/// A log of theirs that grew twice, signed and cosigned; it prints the keys.
const WRITES: &str = r#"
import sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from aics_tlog import *
folder, size = sys.argv[1], int(sys.argv[2])
name, witness = "example.com/theirs", "example.com/their-witness"
log_key, witness_key = Ed25519PrivateKey.from_private_bytes(b"l" * 32), Ed25519PrivateKey.from_private_bytes(b"w" * 32)
store = DirectoryTileStore(folder, fsync=False)
writer = IncrementalTileWriter(store)
writer.append([b'{"n":%d}' % n for n in range(size // 2)])
writer.append([b'{"n":%d}' % n for n in range(size // 2, size)])
note = sign_checkpoint(Checkpoint(name, writer.size, writer.root()), log_key, name)
_, line = sign_cosignature(witness_key, witness, 1700000000, name, writer.size, writer.root())
store.write_checkpoint(Note(text=note.text, signatures=(*note.signatures, line)).to_bytes())
print(format_vkey(vkey_from_ed25519(name, log_key.public_key())))
print(format_vkey(cosignature_vkey(witness, witness_key.public_key())))
"#;

#[test]
fn we_read_their_logs_and_see_what_is_spoilt_in_them() {
    for size in SIZES {
        let folder = tempfile::tempdir().unwrap();
        let (good, said) = python(WRITES, &[folder.path().to_str().unwrap(), &size.to_string()]);
        assert!(good, "{said}");
        let keys: Vec<&str> = said.lines().collect();
        let policy = Policy::parse(format!("log {}\nwitness w {}\nquorum w\n", keys[0], keys[1]).as_bytes()).unwrap();
        let request = Request { policy: &policy, since: &[], threads: NonZeroUsize::new(2).unwrap() };
        let look = || {
            let findings = verify(&Directory::new(folder.path()), &NoCheck, &request).findings;
            (findings.tampered(), findings.incomplete())
        };
        assert_eq!(look(), (0, 0), "{size}");
        let bundle = folder.path().join("tile/entries/000");
        if let Ok(mut bytes) = fs::read(&bundle) {
            bytes[9] ^= 1;
            fs::write(&bundle, bytes).unwrap();
            assert_eq!(look().0, 1, "{size}");
        }
    }
}
