//! tlog-cosignature: that a cosigner has seen a checkpoint, and when.
//!
//! The functions here say what is signed; [`crate::note::sign`] and
//! [`crate::note::Note::verify`] do it. A cosignature is a timestamp of eight bytes and a
//! bare signature: Ed25519 over `cosignature/v1` and the whole text, or ML-DSA-44 over a
//! structure with the names of cosigner and log, the range of the tree and its root.

use crate::{
    checkpoint::Checkpoint,
    hash::Hash,
    note::{KeyName, SignError, SignatureType, VerifierKey},
};

/// What an ML-DSA-44 message begins with.
const LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// The bytes a cosigner signs: under a checkpoint's text, at a time in POSIX seconds.
///
/// # Errors
/// [`SignError::NotACheckpoint`], [`SignError::NameTooLong`] or [`SignError::Timestamp`].
pub fn message(key: &VerifierKey, text: &str, timestamp: u64) -> Result<Vec<u8>, SignError> {
    if i64::try_from(timestamp).is_err() {
        return Err(SignError::Timestamp);
    }
    let checkpoint: Checkpoint = text.parse().map_err(|_| SignError::NotACheckpoint)?;
    match key.kind() {
        SignatureType::Ed25519 => Ok(text.as_bytes().to_vec()),
        SignatureType::Cosignature => Ok(format!("cosignature/v1\ntime {timestamp}\n{text}").into_bytes()),
        SignatureType::MlDsa44 => subtree_message(key.name(), timestamp, checkpoint.origin(), 0, checkpoint.size(), checkpoint.root()),
    }
}

/// The `cosigned_message` of an ML-DSA-44 cosigner: a checkpoint is the subtree from 0
/// to its size. Where `start` is not 0 the timestamp must be.
///
/// # Errors
/// [`SignError::NameTooLong`] for a name or an origin of more than 255 bytes,
/// [`SignError::Timestamp`] for one that a subtree must not have.
pub fn subtree_message(cosigner: &KeyName, timestamp: u64, origin: &str, start: u64, end: u64, root: &Hash) -> Result<Vec<u8>, SignError> {
    if start != 0 && timestamp != 0 {
        return Err(SignError::Timestamp);
    }
    let mut message = LABEL.to_vec();
    prefixed(&mut message, cosigner.as_str())?;
    message.extend_from_slice(&timestamp.to_be_bytes());
    prefixed(&mut message, origin)?;
    message.extend_from_slice(&start.to_be_bytes());
    message.extend_from_slice(&end.to_be_bytes());
    message.extend_from_slice(root.as_bytes());
    Ok(message)
}

fn prefixed(message: &mut Vec<u8>, text: &str) -> Result<(), SignError> {
    let length = u8::try_from(text.len()).map_err(|_| SignError::NameTooLong)?;
    message.push(length);
    message.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Timestamp and bare signature of a `timestamped_signature`.
pub(crate) fn split(signature: &[u8]) -> Option<(u64, &[u8])> {
    let (timestamp, bare) = signature.split_first_chunk()?;
    Some((u64::from_be_bytes(*timestamp), bare))
}

pub(crate) fn join(timestamp: u64, bare: &[u8]) -> Vec<u8> {
    [&timestamp.to_be_bytes()[..], bare].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Note, NoteError, Signer as _, SignerKey};

    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn signer(kind: SignatureType) -> SignerKey {
        SignerKey::from_seed(KeyName::new("witness.example.com/w1").unwrap(), kind, [7; 32]).unwrap()
    }

    #[test]
    fn the_messages_are_those_of_the_specification() {
        let ed25519 = message(signer(SignatureType::Cosignature).key(), TEXT, 1_679_315_147).unwrap();
        assert_eq!(String::from_utf8(ed25519).unwrap(), format!("cosignature/v1\ntime 1679315147\n{TEXT}"));
        let ml_dsa = message(signer(SignatureType::MlDsa44).key(), TEXT, 1_679_315_147).unwrap();
        let root = Hash::from_base64("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=").unwrap();
        let expected = [
            &b"subtree/v1\n\0\x16witness.example.com/w1"[..],
            &1_679_315_147_u64.to_be_bytes(),
            b"\x1bexample.com/behind-the-sofa",
            &0_u64.to_be_bytes(),
            &20_852_163_u64.to_be_bytes(),
            root.as_bytes(),
        ];
        assert_eq!(ml_dsa, expected.concat());
    }

    #[test]
    fn both_types_hold_and_commit_to_their_time() {
        for (kind, length) in [(SignatureType::Cosignature, 72), (SignatureType::MlDsa44, 2_428)] {
            let signer = signer(kind);
            let mut note = Note::new(TEXT).unwrap();
            note.sign(&signer, 1_679_315_147).unwrap();
            let note = Note::parse(&note.to_bytes()).unwrap();
            assert_eq!(note.signatures()[0].signature.len(), length);
            assert_eq!(note.verify([signer.key()]).unwrap()[0].timestamp, Some(1_679_315_147));

            for at in [0, 7, 8, length - 1] {
                let mut line = note.signatures()[0].clone();
                line.signature[at] ^= 1;
                let mut changed = note.clone();
                changed.add(line).unwrap();
                assert_eq!(changed.verify([signer.key()]), Err(NoteError::Invalid(signer.key().name().clone())), "{kind:?} {at}");
            }
        }
    }

    #[test]
    fn the_extension_lines_are_signed_with_ed25519_only() {
        let extended = format!("{TEXT}more\n");
        for (kind, differs) in [(SignatureType::Cosignature, true), (SignatureType::MlDsa44, false)] {
            let signer = signer(kind);
            assert_eq!(message(signer.key(), TEXT, 1) != message(signer.key(), &extended, 1), differs);
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_not_cosigned() {
        for kind in [SignatureType::Cosignature, SignatureType::MlDsa44] {
            let mut note = Note::new("text\n").unwrap();
            assert_eq!(note.sign(&signer(kind), 1), Err(SignError::NotACheckpoint));
            let mut note = Note::new(TEXT).unwrap();
            assert_eq!(note.sign(&signer(kind), 1 << 63), Err(SignError::Timestamp));
        }
        let mut note = Note::new(TEXT.replace("example", &"x".repeat(256))).unwrap();
        assert_eq!(note.sign(&signer(SignatureType::MlDsa44), 1), Err(SignError::NameTooLong));
        assert!(note.sign(&signer(SignatureType::Cosignature), 1).is_ok());
        let name = KeyName::new("w").unwrap();
        assert_eq!(subtree_message(&name, 1, "o", 8, 16, &crate::hash::empty_root()), Err(SignError::Timestamp));
    }
}
