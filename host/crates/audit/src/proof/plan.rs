//! Which nodes a proof consists of.

use super::ProofError;
use crate::{hash::Hash, text::TREE_SIZE_MAX, tree::fold};

/// The root of a perfect subtree: the leaves `index * 2^height ..` to `(index + 1) * 2^height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// The logarithm of the number of leaves below: 0 is a leaf.
    pub height: u8,
    /// Counted among the nodes of this height.
    pub index: u64,
}

/// Whoever knows the hashes of a tree's nodes.
pub trait NodeReader {
    /// Why a hash is not to be had.
    type Error;

    /// The hash of a node all of whose leaves are in the tree.
    ///
    /// # Errors
    /// The reader's own.
    fn node(&self, id: NodeId) -> Result<Hash, Self::Error>;
}

/// The nodes a proof is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One entry a hash of the proof; several nodes where that hash lies on the
    /// right edge and is no perfect subtree, largest first.
    hashes: Vec<Vec<NodeId>>,
}

impl Plan {
    /// The proof that the leaf `index` is in a tree of `size` leaves.
    ///
    /// # Errors
    /// [`ProofError::OutOfRange`] when it is not, [`ProofError::TooLarge`] for more than 2^63 - 1 leaves.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        check_size(size)?;
        if index >= size {
            return Err(ProofError::OutOfRange { position: index, size });
        }
        let (mut low, mut high) = (0, size);
        let mut hashes = Vec::new();
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                hashes.push(subtrees(middle, high));
                high = middle;
            } else {
                hashes.push(subtrees(low, middle));
                low = middle;
            }
        }
        hashes.reverse();
        Ok(Self { hashes })
    }

    /// The proof that a tree of `old` leaves is a prefix of one of `new` leaves; empty
    /// when they are equally large, and when the old one has no leaves.
    ///
    /// # Errors
    /// [`ProofError::OutOfRange`] when `old > new`, [`ProofError::TooLarge`] for more than 2^63 - 1 leaves.
    pub fn consistency(old: u64, new: u64) -> Result<Self, ProofError> {
        check_size(new)?;
        if old > new {
            return Err(ProofError::OutOfRange { position: old, size: new });
        }
        let mut hashes = Vec::new();
        if old == 0 || old == new {
            return Ok(Self { hashes });
        }
        let (mut low, mut high) = (0, new);
        while old != high {
            let middle = low + split(high - low);
            if old <= middle {
                hashes.push(subtrees(middle, high));
                high = middle;
            } else {
                hashes.push(subtrees(low, middle));
                low = middle;
            }
        }
        // The old tree itself is known to whoever checks, if it is one whole subtree.
        if low != 0 {
            hashes.push(subtrees(low, high));
        }
        hashes.reverse();
        Ok(Self { hashes })
    }

    /// The nodes whose hashes together are the root of a tree of `size` leaves, as a
    /// plan of one hash (of none for the empty tree).
    ///
    /// # Errors
    /// [`ProofError::TooLarge`] for more than 2^63 - 1 leaves.
    pub fn root(size: u64) -> Result<Self, ProofError> {
        check_size(size)?;
        Ok(Self { hashes: if size == 0 { Vec::new() } else { vec![subtrees(0, size)] } })
    }

    /// Every node that is needed, so that it can be fetched beforehand.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.hashes.iter().flatten().copied()
    }

    /// The proof's hashes, in the order of RFC 6962.
    ///
    /// # Errors
    /// The reader's.
    pub fn assemble<R: NodeReader + ?Sized>(&self, reader: &R) -> Result<Vec<Hash>, R::Error> {
        let mut proof = Vec::with_capacity(self.hashes.len());
        for nodes in &self.hashes {
            let parts = nodes.iter().map(|id| reader.node(*id)).collect::<Result<Vec<_>, _>>()?;
            proof.extend(fold(&parts));
        }
        Ok(proof)
    }
}

fn check_size(size: u64) -> Result<(), ProofError> {
    if size > TREE_SIZE_MAX { Err(ProofError::TooLarge(size)) } else { Ok(()) }
}

/// The largest power of two below `width`, which is at least 2.
fn split(width: u64) -> u64 {
    width.next_power_of_two() / 2
}

/// The perfect subtrees that `low..high` consists of, largest first. `low` is a
/// multiple of the largest power of two that is not above the width.
fn subtrees(mut low: u64, high: u64) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    while low < high {
        let height = (high - low).ilog2();
        nodes.push(NodeId { height: u8::try_from(height).unwrap_or(u8::MAX), index: low >> height });
        low += 1 << height;
    }
    nodes
}
