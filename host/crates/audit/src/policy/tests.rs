//! Policies as texts, and who has to sign for them to be met.

use super::*;
use crate::{
    hash::empty_root,
    note::{KeyError, SignatureType, Signer as _, SignerKey},
};

fn key(name: &str, kind: SignatureType) -> SignerKey {
    // A seed of its own for each name and type.
    let seed = crate::hash::sha256(format!("{name}{}", kind.byte()).as_bytes());
    SignerKey::from_seed(KeyName::new(name).unwrap(), kind, *seed.as_bytes()).unwrap()
}

fn log() -> SignerKey {
    key("example.com/log", SignatureType::Ed25519)
}

fn witness(name: &str) -> SignerKey {
    key(name, SignatureType::Cosignature)
}

/// The example of the specification, with keys.
fn example() -> String {
    let mut text = format!("log {}\n\n", log().key());
    for name in ["X1", "X2", "X3", "Y1", "Y2", "Y3"] {
        text += &format!("\twitness {name}  {} https://example.com/{name} \n", witness(name).key());
    }
    text + "# two of one, one of the other\ngroup X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn signed(signers: &[SignerKey]) -> Note {
    let mut note = Checkpoint::new("example.com/log", 0, empty_root()).unwrap().to_note().unwrap();
    signers.iter().for_each(|signer| note.sign(signer, 1_700_000_000).unwrap());
    note
}

#[test]
fn the_quorum_of_the_specifications_example() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["X1", "X3", "Y2"], &[]),
        (&["X1", "X2", "X3", "Y1", "Y2", "Y3"], &[]),
        (&["X1", "Y2"], &["1 of X-and-Y: X-witnesses", "1 of X-witnesses: X2, X3"]),
        (&["X1", "X2", "X3"], &["1 of X-and-Y: Y-witnesses", "1 of Y-witnesses: Y1, Y2, Y3"]),
    ];
    for (names, missing) in cases {
        let signers: Vec<_> = names.iter().map(|name| witness(name)).chain([log()]).collect();
        let result = policy.evaluate(&signed(&signers)).unwrap();
        assert_eq!(result.missing, *missing, "{names:?}");
        assert_eq!((result.is_met(), result.logs.len(), result.cosigned.len()), (missing.is_empty(), 1, names.len()));
    }
}

#[test]
fn the_log_itself_has_to_sign() {
    let policy = Policy::parse(
        format!("log {}\nlog {}\nquorum none\n", log().key(), key("example.com/other", SignatureType::Ed25519).key()).as_bytes(),
    )
    .unwrap();
    assert!(policy.evaluate(&signed(&[log()])).unwrap().is_met());
    assert!(!policy.evaluate(&signed(&[witness("W")])).unwrap().is_met());
    // Another log of the policy cannot vouch for this origin.
    assert!(!policy.evaluate(&signed(&[key("example.com/other", SignatureType::Ed25519)])).unwrap().is_met());
}

#[test]
fn a_signature_that_does_not_hold_is_named() {
    let policy = Policy::parse(format!("log {}\nwitness W {}\nquorum none\n", log().key(), witness("W").key()).as_bytes()).unwrap();
    let other = SignerKey::from_seed(KeyName::new("W").unwrap(), SignatureType::Cosignature, [9; 32]).unwrap();
    let mut note = signed(&[log()]);
    let mut line = crate::note::sign(&other, note.text(), 5).unwrap();
    line.key_id = witness("W").key().id();
    note.add(line).unwrap();
    let result = policy.evaluate(&note).unwrap();
    assert_eq!((result.is_met(), result.invalid), (false, vec![KeyName::new("W").unwrap()]));
}

#[test]
fn ml_dsa_keys_serve_logs_and_witnesses() {
    let (log, witness) = (key("example.com/log", SignatureType::MlDsa44), key("W", SignatureType::MlDsa44));
    let policy = Policy::parse(format!("log {}\nwitness W {}\nquorum W\n", log.key(), witness.key()).as_bytes()).unwrap();
    let result = policy.evaluate(&signed(&[log, witness])).unwrap();
    assert!(result.is_met());
    assert_eq!(result.cosigned, [("W".to_owned(), 1_700_000_000)]);
}

#[test]
fn names_are_bytes() {
    let text = [
        format!("witness \u{212a} {}\nwitness K {}\n", witness("a").key(), witness("b").key()).as_bytes(),
        b"group \xff any \xe2\x84\xaa K\nquorum \xff\n",
    ]
    .concat();
    assert!(Policy::parse(&text).is_ok());
}

#[test]
fn a_malformed_policy_is_refused() {
    use PolicyError::*;
    let (a, b) = (witness("a").key().to_string(), witness("b").key().to_string());
    let two = format!("witness a {a}\nwitness b {b}\n");
    let cases = [
        (String::new(), NoQuorum),
        (two.clone(), NoQuorum),
        ("quorum none".into(), Characters(1)),
        ("quorum\x0bnone\n".into(), Characters(1)),
        ("quorum none\x7f\n".into(), Characters(1)),
        ("quorum none\r\n".into(), Characters(1)),
        ("quorum none\nquorum none\n".into(), Duplicate(2)),
        ("quorum a\n".into(), Name(1)),
        ("Quorum none\n".into(), Line(1)),
        ("quorum none # why\n".into(), Line(1)),
        ("log\n".into(), Line(1)),
        ("log x\n".into(), Key(1, KeyError::Malformed)),
        (format!("log {a}\n"), KeyType(1)),
        (format!("witness a {}\n", log().key()), KeyType(1)),
        (format!("witness none {a}\n"), Name(1)),
        (format!("witness a {a}\nwitness c {a}\n"), Duplicate(2)),
        (format!("witness a {a}\nwitness a {b}\n"), Duplicate(2)),
        (format!("log {0}\nlog {0}\n", log().key()), Duplicate(2)),
        (format!("{two}group a any b\n"), Duplicate(3)),
        (format!("{two}group none any b\n"), Name(3)),
        (format!("{two}group g any\n"), Threshold(3)),
        (format!("{two}group g 0 a\n"), Threshold(3)),
        (format!("{two}group g 3 a b\n"), Threshold(3)),
        (format!("{two}group g 01 a b\n"), Threshold(3)),
        (format!("{two}group g all a a\n"), Name(3)),
        (format!("{two}group g all a none\n"), Name(3)),
        (format!("{two}group g all a g\n"), Name(3)),
        (format!("{two}group g any a\ngroup h any a\n"), Name(4)),
        ("#".repeat(POLICY_MAX) + "\n", TooLarge),
    ];
    for (text, error) in cases {
        assert_eq!(Policy::parse(text.as_bytes()), Err(error), "{text:.120?}");
    }
    let many: String = (0..=ENTRIES_MAX).map(|n| format!("witness w{n} {}\n", witness(&format!("w{n}")).key())).collect();
    assert_eq!(Policy::parse(many.as_bytes()), Err(TooLarge));
}
