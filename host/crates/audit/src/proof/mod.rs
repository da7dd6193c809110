//! Inclusion and consistency proofs of RFC 6962: planned, assembled and verified.
//!
//! Making a proof has two steps, because whoever holds the hashes may have to
//! wait for them: a [`Plan`] says which nodes are needed, and puts them together
//! once a [`NodeReader`] has them.

mod check;
mod plan;

pub use check::{verify_consistency, verify_inclusion};
pub use plan::{NodeId, NodeReader, Plan};

/// The most hashes that a proof has: the height of a tree of 2^63 leaves.
pub const PROOF_MAX: usize = 63;

/// Why a proof cannot be made or does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf is not in the tree, or the old tree is larger than the new.
    #[error("{position} is not within a tree of {size} leaves")]
    OutOfRange {
        /// The index of the leaf, or the old size.
        position: u64,
        /// Leaves in the (new) tree.
        size: u64,
    },
    /// The number of hashes does not fit the positions.
    #[error("a proof of {found} hashes where the tree asks for {expected}")]
    Length {
        /// Hashes that the positions ask for.
        expected: usize,
        /// Hashes that were given.
        found: usize,
    },
    /// The hashes lead to another root than the (old or new) tree's.
    #[error("the proof does not lead to the root")]
    RootMismatch,
    /// Trees of more than 2^63 - 1 leaves are not served.
    #[error("a tree of {0} leaves is too large")]
    TooLarge(u64),
}
