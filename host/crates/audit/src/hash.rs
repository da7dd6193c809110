//! The hashes of RFC 6962: SHA-256, with a prefix that tells a leaf from an inner node.

use crate::text;
use aws_lc_rs::digest::{Context, SHA256, digest};
use std::fmt;

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// A SHA-256 hash of a leaf, of a node or of a whole tree. Written as base64,
/// as the C2SP formats write it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// Any 32 bytes are a hash.
    #[must_use]
    pub const fn new(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// The hash in these bytes; `None` unless there are exactly 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The hash that this standard base64 (44 characters) spells.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        text::hash(text)
    }

    /// The hash that these 64 lower-case hexadecimal digits spell.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        text::from_hex(digits).map(Self)
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        text::to_hex(&self.0)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::to_base64(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The leaf hash of a record: `SHA-256(0x00 || record)`.
#[must_use]
pub fn leaf_hash(record: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(record);
    take(context.finish().as_ref())
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 1 + 2 * HASH_BYTES];
    for (to, from) in bytes.iter_mut().skip(1).zip(left.0.iter().chain(&right.0)) {
        *to = *from;
    }
    sha256(&bytes)
}

/// The root of a tree without leaves: the hash of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// Plain SHA-256, for files and keys.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    take(digest(&SHA256, bytes).as_ref())
}

/// Plain SHA-256 of bytes that come in parts.
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Hash {
        take(self.0.finish().as_ref())
    }
}

fn take(digest: &[u8]) -> Hash {
    let mut bytes = [0; HASH_BYTES];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = *from;
    }
    Hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_inputs_hash_as_rfc_6962_says() {
        assert_eq!(empty_root().to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(leaf_hash(b"").to_hex(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn a_node_is_hashed_with_its_prefix() {
        let (left, right) = (leaf_hash(b"a"), leaf_hash(b"b"));
        assert_eq!(node_hash(&left, &right), sha256(&[&[1][..], left.as_bytes(), right.as_bytes()].concat()));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = leaf_hash(b"x");
        assert_eq!(Hash::from_base64(&hash.to_string()), Some(hash));
        assert_eq!(Hash::from_hex(&hash.to_hex()), Some(hash));
        assert_eq!(Hash::from_base64("AAAA"), None);
    }
}
