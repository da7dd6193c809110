//! Proofs as JSON, the form in which transparency-dev/merkle publishes its test vectors.
//!
//! Inclusion: `leafIdx`, `treeSize`, `root`, `leafHash`, `proof`. Consistency: `size1`,
//! `size2`, `root1`, `root2`, `proof`. Hashes are in base64; a missing `proof` and `null`
//! are the empty one. Other members are not looked at.

use crate::{
    hash::Hash,
    proof::{ProofError, verify_consistency, verify_inclusion},
};
use serde::Deserialize;

/// The most bytes of a proof in this form.
pub const JSON_PROOF_MAX: usize = 65_536;

/// A proof and everything it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonProof {
    /// A leaf is in a tree.
    Inclusion {
        /// The leaf's place.
        index: u64,
        /// Leaves in the tree.
        size: u64,
        /// The tree's root.
        root: Hash,
        /// The leaf's hash.
        leaf: Hash,
        /// From the leaf's sibling upwards.
        proof: Vec<Hash>,
    },
    /// A tree is a prefix of another.
    Consistency {
        /// Leaves in the smaller tree.
        old: u64,
        /// Leaves in the larger tree.
        new: u64,
        /// The smaller tree's root.
        old_root: Hash,
        /// The larger tree's root.
        new_root: Hash,
        /// As RFC 6962 orders it.
        proof: Vec<Hash>,
    },
}

/// Why bytes are no proof in this form.
#[derive(Debug, thiserror::Error)]
pub enum JsonProofError {
    /// More than [`JSON_PROOF_MAX`] bytes.
    #[error("a proof has at most {JSON_PROOF_MAX} bytes")]
    TooLarge,
    /// Not JSON, or not with the members of either kind.
    #[error("not an inclusion or consistency proof in JSON")]
    Json(#[from] serde_json::Error),
    /// A hash that is not 32 bytes in base64.
    #[error("{0} is not a hash in base64")]
    Hash(&'static str),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    #[serde(rename_all = "camelCase")]
    Inclusion {
        leaf_idx: u64,
        tree_size: u64,
        root: String,
        leaf_hash: String,
        proof: Option<Vec<String>>,
    },
    Consistency {
        size1: u64,
        size2: u64,
        root1: String,
        root2: String,
        proof: Option<Vec<String>>,
    },
}

impl JsonProof {
    /// Reads a proof of at most [`JSON_PROOF_MAX`] bytes.
    ///
    /// # Errors
    /// [`JsonProofError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonProofError> {
        if bytes.len() > JSON_PROOF_MAX {
            return Err(JsonProofError::TooLarge);
        }
        match serde_json::from_slice(bytes)? {
            Form::Inclusion { leaf_idx, tree_size, root, leaf_hash, proof } => Ok(Self::Inclusion {
                index: leaf_idx,
                size: tree_size,
                root: hash("root", &root)?,
                leaf: hash("leafHash", &leaf_hash)?,
                proof: hashes(proof)?,
            }),
            Form::Consistency { size1, size2, root1, root2, proof } => Ok(Self::Consistency {
                old: size1,
                new: size2,
                old_root: hash("root1", &root1)?,
                new_root: hash("root2", &root2)?,
                proof: hashes(proof)?,
            }),
        }
    }

    /// Whether the proof holds. It says nothing about who vouches for the roots.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self) -> Result<(), ProofError> {
        match self {
            Self::Inclusion { index, size, root, leaf, proof } => verify_inclusion(leaf, *index, *size, proof, root),
            Self::Consistency { old, new, old_root, new_root, proof } => verify_consistency(*old, old_root, *new, new_root, proof),
        }
    }
}

fn hash(member: &'static str, text: &str) -> Result<Hash, JsonProofError> {
    Hash::from_base64(text).ok_or(JsonProofError::Hash(member))
}

fn hashes(proof: Option<Vec<String>>) -> Result<Vec<Hash>, JsonProofError> {
    proof.unwrap_or_default().iter().map(|text| hash("proof", text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_proof_is_refused() {
        let hash = crate::hash::empty_root();
        let good = format!(r#"{{"leafIdx":0,"treeSize":1,"root":"{hash}","leafHash":"{hash}"}}"#);
        assert_eq!(JsonProof::parse(good.as_bytes()).unwrap().verify(), Ok(()));
        for bad in [
            "",
            "[]",
            "{}",
            &good.replace("treeSize\":1", "treeSize\":-1"),
            &good.replace("treeSize\":1", "treeSize\":1.5"),
            &good.replace('=', ""),
        ] {
            assert!(JsonProof::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(matches!(JsonProof::parse(&vec![b' '; JSON_PROOF_MAX + 1]), Err(JsonProofError::TooLarge)));
    }
}
