//! Whether a proof holds; every input may come from an attacker.

use super::ProofError;
use crate::hash::{Hash, empty_root, node_hash};

/// Checks that `leaf` is the leaf `index` of the tree with `size` leaves and this root.
/// The proof may have any length: only the right one is accepted.
///
/// # Errors
/// [`ProofError`] says what does not fit.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { position: index, size });
    }
    let (inner, border) = path_shape(index, size);
    check_length(inner + border, proof)?;
    let (inner, border) = proof.split_at_checked(inner).unwrap_or((proof, &[]));
    let subtree = chain_inner(*leaf, inner, index);
    matches(&chain_right(subtree, border), root)
}

/// Checks that the tree of `old` leaves with `old_root` is a prefix of the tree of
/// `new` leaves with `new_root`. Of the empty tree everything is an extension: its root
/// must be the hash of nothing, and the proof empty.
///
/// # Errors
/// [`ProofError`] says what does not fit.
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange { position: old, size: new });
    }
    if old == new {
        check_length(0, proof)?;
        return matches(old_root, new_root);
    }
    if old == 0 {
        check_length(0, proof)?;
        return matches(old_root, &empty_root());
    }

    let (inner, border) = path_shape(old - 1, new);
    // The proof starts at the last whole subtree of the old tree. When that is the
    // whole old tree, its hash is the old root and is left out.
    let shift = old.trailing_zeros();
    let whole = old.is_power_of_two();
    let shift_hashes = usize::try_from(shift).unwrap_or(usize::MAX);
    let inner = inner.saturating_sub(shift_hashes);
    check_length(usize::from(!whole) + inner + border, proof)?;
    let (seed, rest) = match proof.split_first() {
        Some((seed, rest)) if !whole => (*seed, rest),
        _ => (*old_root, proof),
    };
    let (inner, border) = rest.split_at_checked(inner).unwrap_or((rest, &[]));
    let position = (old - 1) >> shift;
    let old_found = chain_right(chain_inner_right(seed, inner, position), border);
    matches(&old_found, old_root)?;
    let new_found = chain_right(chain_inner(seed, inner, position), border);
    matches(&new_found, new_root)
}

/// How many hashes of a leaf's path lie below the point where it meets the tree's right
/// edge (they may be on either side) and how many above (they are all on the left).
fn path_shape(index: u64, size: u64) -> (usize, usize) {
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (usize::try_from(inner).unwrap_or(usize::MAX), usize::try_from(border).unwrap_or(usize::MAX))
}

/// Up the tree, with each sibling on the side that the index says.
fn chain_inner(seed: Hash, proof: &[Hash], index: u64) -> Hash {
    proof.iter().zip(0_u32..).fold(seed, |node, (sibling, level)| {
        if index.checked_shr(level).unwrap_or(0) & 1 == 0 { node_hash(&node, sibling) } else { node_hash(sibling, &node) }
    })
}

/// Up the old tree: the siblings on the right were not there yet.
fn chain_inner_right(seed: Hash, proof: &[Hash], index: u64) -> Hash {
    proof.iter().zip(0_u32..).fold(
        seed,
        |node, (sibling, level)| {
            if index.checked_shr(level).unwrap_or(0) & 1 == 1 { node_hash(sibling, &node) } else { node }
        },
    )
}

/// Up the right edge, where every sibling is on the left.
fn chain_right(seed: Hash, proof: &[Hash]) -> Hash {
    proof.iter().fold(seed, |node, sibling| node_hash(sibling, &node))
}

fn check_length(expected: usize, proof: &[Hash]) -> Result<(), ProofError> {
    if proof.len() == expected { Ok(()) } else { Err(ProofError::Length { expected, found: proof.len() }) }
}

fn matches(found: &Hash, root: &Hash) -> Result<(), ProofError> {
    if found == root { Ok(()) } else { Err(ProofError::RootMismatch) }
}
