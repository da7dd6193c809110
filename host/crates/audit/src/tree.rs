//! A tree that grows: the frontier is all that has to be kept to append and to know the root.

use crate::{
    hash::{HASH_BYTES, Hash, empty_root, leaf_hash, node_hash},
    text::TREE_SIZE_MAX,
};

/// The roots of the perfect subtrees that a tree of some size consists of,
/// largest first: one for each bit that is set in the size, at most 63.
///
/// # Serialised form
/// The size as 8 bytes, most significant first, then the hashes in order:
/// `8 + 32 * popcount(size)` bytes, at most 2,024.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier with these subtree roots, largest subtree first. `None` unless
    /// there is one for each bit of `size`, and the size is at most 2^63 - 1.
    #[must_use]
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let fits = size <= TREE_SIZE_MAX && usize::try_from(size.count_ones()).is_ok_and(|bits| bits == peaks.len());
        fits.then_some(Self { size, peaks })
    }

    /// Leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The subtree roots, largest subtree first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a record.
    pub fn append(&mut self, record: &[u8]) {
        self.push(leaf_hash(record));
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        self.push_subtree(0, leaf);
    }

    /// Appends a perfect subtree of `2^height` leaves by its root. The caller sees to
    /// it that the size is a multiple of `2^height`; otherwise nothing is appended.
    pub fn push_subtree(&mut self, height: u8, root: Hash) {
        let Some(leaves) = 1_u64.checked_shl(u32::from(height)).filter(|leaves| self.size.is_multiple_of(*leaves)) else { return };
        let mut node = root;
        // As many subtrees are completed as adding to the size carries bits.
        for _ in 0..(self.size >> height).trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.size += leaves;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(empty_root)
    }

    /// The serialised form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.peaks.iter().flat_map(Hash::as_bytes));
        bytes
    }

    /// Reads the serialised form; `None` for anything that [`Frontier::to_bytes`] would not write.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk()?;
        let (peaks, remainder) = rest.as_chunks::<HASH_BYTES>();
        if !remainder.is_empty() {
            return None;
        }
        Self::from_peaks(u64::from_be_bytes(*size), peaks.iter().copied().map(Hash::new).collect())
    }
}

/// The root of the tree over these leaf hashes.
#[must_use]
pub fn root<'a>(leaves: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut frontier = Frontier::new();
    leaves.into_iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The root over subtrees of falling size, from the smallest upwards; `None` of none.
pub(crate) fn fold(subtrees: &[Hash]) -> Option<Hash> {
    subtrees.iter().rev().copied().reduce(|right, left| node_hash(&left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition in RFC 6962, word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&mth(left), &mth(right))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    #[test]
    fn the_eight_leaves_that_everyone_tests_with() {
        let records = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let mut frontier = Frontier::new();
        for record in records {
            let bytes: Vec<u8> = (0..record.len()).step_by(2).map(|at| u8::from_str_radix(&record[at..at + 2], 16).unwrap()).collect();
            frontier.append(&bytes);
        }
        assert_eq!(frontier.root().to_hex(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn a_frontier_that_does_not_fit_its_size_is_refused() {
        let good = Frontier { size: 5, peaks: leaves(2) }.to_bytes();
        assert!(Frontier::from_bytes(&good).is_some());
        assert!(Frontier::from_bytes(&good[..good.len() - 1]).is_none());
        assert!(Frontier::from_bytes(&[&good[..], &[0; 32]].concat()).is_none());
        assert!(Frontier::from_bytes(&good[..7]).is_none());
        assert!(Frontier::from_bytes(&u64::MAX.to_be_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn the_root_is_what_rfc_6962_defines(count in 0_usize..600) {
            let leaves = leaves(count);
            prop_assert_eq!(root(&leaves), mth(&leaves));
        }

        #[test]
        fn subtrees_append_like_their_leaves(blocks in 0_usize..20, height in 0_u8..5, more in 0_usize..16) {
            let width = 1_usize << height;
            let leaves = leaves(blocks * width + more);
            let mut frontier = Frontier::new();
            leaves[..blocks * width].chunks(width).for_each(|block| frontier.push_subtree(height, mth(block)));
            leaves[blocks * width..].iter().for_each(|leaf| frontier.push(*leaf));
            prop_assert_eq!(frontier.root(), mth(&leaves));
            prop_assert_eq!(Frontier::from_bytes(&frontier.to_bytes()), Some(frontier));
        }
    }
}
