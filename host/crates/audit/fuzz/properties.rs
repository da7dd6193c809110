//! What holds for any bytes at all: nothing panics, and what is read is written back as it was.
//!
//! The fuzz targets call these, and so does a test with mutated seeds on the stable compiler.

use plinth_audit::{
    canonical,
    checkpoint::Checkpoint,
    json_proof::JsonProof,
    note::{Note, VerifierKey},
    policy::Policy,
    segment::Manifest,
    tile::{Resource, decode_bundle, encode_bundle},
    tlog_proof::TlogProof,
    witness::{AddCheckpoint, request_body},
};

/// Canonical bytes are those that the encoder writes for what a JSON parser reads.
pub(crate) fn canonical(bytes: &[u8]) {
    let parsed = serde_json::from_slice::<serde_json::Value>(bytes);
    match canonical::check(bytes) {
        Ok(()) => {
            let value = parsed.expect("canonical bytes are JSON");
            assert_eq!(canonical::encode(&value).as_deref(), Ok(bytes));
            assert!(!bytes.contains(&b'\n'));
        }
        Err(error) => {
            assert!(error.at <= bytes.len());
            if let Ok(written) = parsed.map_err(drop).and_then(|value| canonical::encode(&value).map_err(drop)) {
                assert_ne!(written, bytes);
                assert_eq!(canonical::check(&written), Ok(()));
            }
        }
    }
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(manifest.to_bytes().expect("it was read"), bytes);
    }
}

/// A note is written back as it was; the same holds for a key.
pub(crate) fn note(bytes: &[u8]) {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_bytes(), bytes);
        assert!(note.text().ends_with('\n') && !note.signatures().is_empty());
    }
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(key) = text.parse::<VerifierKey>()
    {
        assert_eq!(key.to_string(), text);
    }
}

/// A checkpoint is written back as it was.
pub(crate) fn checkpoint(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert_eq!(checkpoint.to_string(), text);
        let again = Checkpoint::new(checkpoint.origin(), checkpoint.size(), *checkpoint.root());
        let again = again.and_then(|again| again.with_extensions(checkpoint.extensions().to_vec()));
        assert_eq!(again, Ok(checkpoint));
    }
}

/// A path is written back as it was.
pub(crate) fn tile_path(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(resource) = Resource::parse(text) {
        assert_eq!(resource.to_string(), text);
        assert!(text.len() <= 47);
    }
}

/// A proof is written back as it was, and verifying it ends.
pub(crate) fn proof(bytes: &[u8]) {
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        if let Ok(policy) = Policy::parse(b"quorum none\n") {
            assert!(proof.verify(b"record", &policy).is_err());
        }
    }
    if let Ok(proof) = JsonProof::parse(bytes) {
        let _ = proof.verify();
    }
}

/// Reading a policy ends, and what has been read can be evaluated.
pub(crate) fn policy(bytes: &[u8]) {
    const NOTE: &str = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} a AAAAAAA=\n";
    if let (Ok(policy), Ok(note)) = (Policy::parse(bytes), Note::parse(NOTE.as_bytes())) {
        let evaluation = policy.evaluate(&note).expect("the note is a checkpoint");
        assert_eq!(evaluation.quorum, evaluation.missing.is_empty());
        assert!(!evaluation.is_met());
    }
}

/// A request to a witness is written back as it was.
pub(crate) fn request(bytes: &[u8]) {
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request_body(request.old, &request.proof, &request.note), bytes);
    }
}

/// An entry bundle is written back as it was; the first byte says how wide it is.
pub(crate) fn bundle(bytes: &[u8]) {
    let Some((width, bytes)) = bytes.split_first() else { return };
    if let Ok(entries) = decode_bundle(bytes, u16::from(*width) + 1) {
        assert_eq!(encode_bundle(&entries).as_deref(), Ok(bytes));
    }
}
