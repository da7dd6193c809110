//! Notes of others, and what is refused.

use super::*;
use proptest::prelude::*;

/// The example of the signed-note specification.
const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example in the documentation of Go's sumdb/note.
const GO_SIGNER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

fn signer(kind: SignatureType, seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::new("example.com/log").unwrap(), kind, [seed; 32]).unwrap()
}

#[test]
fn the_example_of_the_specification_holds() {
    let key = key(SPEC_KEY);
    assert_eq!(key.id(), 0x530d_903a);
    assert_eq!(key.to_string(), SPEC_KEY);
    let note = Note::parse(SPEC_NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.verify([&key]).unwrap(), [Verified { key, timestamp: None }]);
    assert_eq!(note.to_string(), SPEC_NOTE);
}

#[test]
fn a_go_key_signs_what_go_signs() {
    let signer: SignerKey = GO_SIGNER.parse().unwrap();
    assert_eq!(signer.key().to_string(), GO_KEY);
    assert_eq!(signer.to_secret(), GO_SIGNER);
    assert!(!format!("{signer:?}").contains("YEKFALV"));
    let mut note = Note::new(GO_TEXT).unwrap();
    note.sign(&signer, 0).unwrap();
    assert_eq!(note.to_string(), format!("{GO_TEXT}\n{GO_LINE}\n"));
}

#[test]
fn unknown_signatures_are_kept_and_bad_ones_of_known_keys_refused() {
    let (known, unknown) = (signer(SignatureType::Ed25519, 1), signer(SignatureType::Ed25519, 2));
    let mut note = Note::new("text\n").unwrap();
    note.sign(&unknown, 0).unwrap();
    assert_eq!(note.verify([known.key()]), Err(NoteError::Unverified));
    note.sign(&known, 0).unwrap();
    let read = Note::parse(&note.to_bytes()).unwrap();
    assert_eq!(read, note);
    assert_eq!(read.verify([known.key()]).unwrap().len(), 1);

    let mut bad = note.clone();
    bad.signatures[1].signature[0] ^= 1;
    assert_eq!(bad.verify([known.key()]), Err(NoteError::Invalid(known.key().name().clone())));
    assert_eq!(bad.verify([unknown.key()]).unwrap().len(), 1);
    // A good signature beside a bad one of the same key does not help.
    bad.signatures.push(note.signatures[1].clone());
    assert!(bad.verify([known.key()]).is_err());
}

#[test]
fn signing_twice_leaves_one_line() {
    let key = signer(SignatureType::Ed25519, 1);
    let mut note = Note::new("text\n").unwrap();
    note.sign(&key, 0).unwrap();
    note.sign(&key, 0).unwrap();
    assert_eq!(note.signatures().len(), 1);
}

#[test]
fn a_malformed_note_is_refused() {
    use NoteError::*;
    let line = SPEC_NOTE.lines().nth(2).unwrap();
    let with = |text: &str| format!("{text}\n{line}\n");
    let cases = [
        (String::new(), Malformed),
        ("text\n".into(), Malformed),
        ("text\n\n".into(), Malformed),
        (format!("text\n\n{line}"), Malformed),
        (format!("\n{line}\n"), Malformed),
        (with("te\txt\n"), Characters),
        (with("te\rxt\n"), Characters),
        (with("te\0xt\n"), Characters),
        (format!("text\n\n{line}\nmore\n"), SignatureLine(2)),
        (format!("text\n\n{}\n", line.replace('\u{2014}', "-")), SignatureLine(1)),
        (format!("text\n\n{}\n", line.replace("/foo ", "/foo  ")), SignatureLine(1)),
        (format!("text\n\n{}\n", line.replace("/foo", "/f+o")), SignatureLine(1)),
        (format!("text\n\n{}\n", line.replace("/foo", "/f\u{2003}o")), SignatureLine(1)),
        (format!("text\n\n{line} \n"), SignatureLine(1)),
        ("text\n\n\u{2014} a AAAAAA==\n".into(), SignatureLine(1)),
        ("text\n\n\u{2014} a AAAAAAB=\n".into(), SignatureLine(1)),
        (format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX + 1)), TooLarge),
        (with(&format!("{}\n", "x".repeat(NOTE_MAX))), TooLarge),
    ];
    for (text, error) in cases {
        assert_eq!(Note::parse(text.as_bytes()), Err(error), "{text:.80?}");
    }
    assert_eq!(Note::parse(b"\xff\n\n\n"), Err(Characters));
    assert!(Note::parse(format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX)).as_bytes()).is_ok());
    for bad in ["", "text", "te\rxt\n"] {
        assert!(Note::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_malformed_key_is_refused() {
    let cases = [
        ("", KeyError::Malformed),
        ("example.com/foo", KeyError::Malformed),
        ("example.com/foo+530d903a", KeyError::Malformed),
        ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Malformed),
        ("example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Id),
        ("example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Id),
        ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
        ("a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
        ("example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Type(2)),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U0=", KeyError::Length),
        ("example.com/foo+530d903a+", KeyError::Malformed),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text:?}");
    }
    assert_eq!(GO_KEY.parse::<SignerKey>().err(), Some(KeyError::Malformed));
    assert_eq!(GO_SIGNER.replace("c74f20a3", "c74f20a4").parse::<SignerKey>().err(), Some(KeyError::Id));
}

proptest! {
    #[test]
    fn a_note_reads_back(text in "[^\\x00-\\x1f]{0,20}(\n[^\\x00-\\x1f]{0,20}){0,4}", seeds in prop::collection::vec(any::<u8>(), 1..5)) {
        let mut note = Note::new(format!("{text}\n")).unwrap();
        for seed in seeds {
            note.sign(&signer(SignatureType::Ed25519, seed), 0).unwrap();
        }
        let bytes = note.to_bytes();
        prop_assert_eq!(Note::parse(&bytes).unwrap(), note);
    }

    #[test]
    fn every_key_reads_back(seed in any::<[u8; 32]>(), name in "[a-z./0-9é]{1,20}") {
        for kind in [SignatureType::Ed25519, SignatureType::Cosignature, SignatureType::MlDsa44] {
            let signer = SignerKey::from_seed(KeyName::new(name.clone()).unwrap(), kind, seed).unwrap();
            prop_assert_eq!(&signer.key().to_string().parse::<VerifierKey>().unwrap(), signer.key());
            let again = signer.to_secret().parse::<SignerKey>().unwrap();
            prop_assert_eq!(again.key(), signer.key());
        }
    }
}
