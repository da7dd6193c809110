//! tlog-proof: a record's proof as one file, to be checked without the log.

use crate::{
    checkpoint::CheckpointError,
    hash::{Hash, leaf_hash},
    note::{NOTE_MAX, Note, NoteError},
    policy::{Evaluation, Policy},
    proof::{PROOF_MAX, ProofError, verify_inclusion},
    text,
};
use std::fmt;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1\n";

/// The most bytes of extra data.
pub const EXTRA_MAX: usize = 65_536;

/// The most bytes of a proof: extra data in base64, 63 hashes and a note.
pub const TLOG_PROOF_MAX: usize = 64 + EXTRA_MAX.div_ceil(3) * 4 + 7 + PROOF_MAX * 45 + NOTE_MAX;

/// That a record is in a log. What is written is byte for byte what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Application data that nothing vouches for.
    pub extra: Option<Vec<u8>>,
    /// The record's place in the log.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling upwards; at most 63 hashes.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub note: Note,
}

/// Why a text is no proof, or the proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// More than [`TLOG_PROOF_MAX`] bytes, or of extra data than [`EXTRA_MAX`].
    #[error("a proof has at most {TLOG_PROOF_MAX} bytes, and {EXTRA_MAX} of extra data")]
    TooLarge,
    /// Another first line.
    #[error("this is not a tlog-proof of version 1")]
    Header,
    /// Extra data that is not base64.
    #[error("the extra data is not base64")]
    Extra,
    /// No line with an index below 2^63.
    #[error("there is no line `index` with a place in the log")]
    Index,
    /// More than 63 lines, one that is no hash, or no empty line behind them.
    #[error("the proof is not at most 63 hashes and an empty line")]
    Hashes,
    /// What follows is no signed note.
    #[error("the checkpoint is not a signed note")]
    Note(#[from] NoteError),
    /// A note, but no checkpoint.
    #[error("the note is not a checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// The record is not where the proof says.
    #[error("the record is not in the checkpoint's tree at this place")]
    Inclusion(#[from] ProofError),
    /// The policy is not met; what was found is inside.
    #[error("the checkpoint does not meet the policy")]
    Policy(Box<Evaluation>),
}

impl TlogProof {
    /// Reads a proof of at most [`TLOG_PROOF_MAX`] bytes.
    ///
    /// # Errors
    /// Any [`TlogProofError`] but the last three.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > TLOG_PROOF_MAX {
            return Err(TlogProofError::TooLarge);
        }
        let whole = str::from_utf8(bytes).map_err(|_| TlogProofError::Note(NoteError::Characters))?;
        let rest = whole.strip_prefix(HEADER).ok_or(TlogProofError::Header)?;
        let (extra, rest) = match rest.strip_prefix("extra ") {
            Some(rest) => {
                let (extra, rest) = text::line(rest).ok_or(TlogProofError::Extra)?;
                (Some(text::base64(extra).ok_or(TlogProofError::Extra)?), rest)
            }
            None => (None, rest),
        };
        if extra.as_ref().is_some_and(|extra| extra.len() > EXTRA_MAX) {
            return Err(TlogProofError::TooLarge);
        }
        let (index, rest) = rest.strip_prefix("index ").and_then(text::line).ok_or(TlogProofError::Index)?;
        let index = text::tree_size(index).ok_or(TlogProofError::Index)?;
        let (hashes, rest) = text::hash_lines(rest, PROOF_MAX).ok_or(TlogProofError::Hashes)?;
        Ok(Self { extra, index, hashes, note: Note::parse(rest.as_bytes())? })
    }

    /// Checks the proof for a record's bytes: the checkpoint by the policy, the place by
    /// the hashes. The extra data is not looked at.
    ///
    /// # Errors
    /// [`TlogProofError::Checkpoint`], [`TlogProofError::Inclusion`] or [`TlogProofError::Policy`].
    pub fn verify(&self, record: &[u8], policy: &Policy) -> Result<Evaluation, TlogProofError> {
        let evaluation = policy.evaluate(&self.note)?;
        let checkpoint = &evaluation.checkpoint;
        verify_inclusion(&leaf_hash(record), self.index, checkpoint.size(), &self.hashes, checkpoint.root())?;
        if evaluation.is_met() { Ok(evaluation) } else { Err(TlogProofError::Policy(Box::new(evaluation))) }
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", text::to_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::Checkpoint,
        hash::node_hash,
        note::{KeyName, SignatureType, Signer as _, SignerKey},
    };

    fn key(seed: u8) -> SignerKey {
        SignerKey::from_seed(KeyName::new("example.com/log").unwrap(), SignatureType::Ed25519, [seed; 32]).unwrap()
    }

    /// Two records, and the proof of the second.
    fn proof(extra: Option<Vec<u8>>) -> TlogProof {
        let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
        let mut note = Checkpoint::new("example.com/log", 2, node_hash(&a, &b)).unwrap().to_note().unwrap();
        note.sign(&key(1), 0).unwrap();
        TlogProof { extra, index: 1, hashes: vec![a], note }
    }

    #[test]
    fn a_proof_holds_for_its_record_and_its_policy_only() {
        let policy = Policy::log_only(key(1).key().clone());
        for extra in [None, Some(Vec::new()), Some(b"more".to_vec())] {
            let written = proof(extra).to_string();
            let read = TlogProof::parse(written.as_bytes()).unwrap();
            assert_eq!(read.to_string(), written);
            assert_eq!(read.verify(b"b", &policy).unwrap().checkpoint.size(), 2);
            assert_eq!(read.verify(b"a", &policy), Err(ProofError::RootMismatch.into()));
            let other = Policy::log_only(key(2).key().clone());
            assert!(matches!(read.verify(b"b", &other), Err(TlogProofError::Policy(_))));
            assert!(TlogProof { index: 0, ..read.clone() }.verify(b"b", &policy).is_err());
            assert!(TlogProof { index: 2, ..read }.verify(b"b", &policy).is_err());
        }
    }

    #[test]
    fn a_malformed_proof_is_refused() {
        use TlogProofError::*;
        let good = proof(Some(b"more".to_vec())).to_string();
        let cases = [
            (String::new(), Header),
            (good.replace("@v1", "@v2"), Header),
            (good.replace("bW9yZQ==", "bW9yZQ"), Extra),
            (good.replace("index 1", "index 01"), Index),
            (good.replace("index 1\n", ""), Index),
            (good.replace("index 1", "index 9223372036854775808"), Index),
            (good.replace("index 1\n", "index 1\nAAAA\n"), Hashes),
            (good.replacen("\n\n", "\n", 1), Hashes),
            (good.replace("index 1\n", &format!("index 1\n{}", format!("{}\n", leaf_hash(b"")).repeat(PROOF_MAX))), Hashes),
            (good.replace("bW9yZQ==", &text::to_base64(&vec![0; EXTRA_MAX + 1])), TooLarge),
            ("x".repeat(TLOG_PROOF_MAX + 1), TooLarge),
            (good.trim_end().to_owned(), Note(NoteError::Malformed)),
        ];
        for (text, error) in cases {
            assert_eq!(TlogProof::parse(text.as_bytes()), Err(error), "{text:.100?}");
        }
    }
}
