//! Entry bundles: records, each behind its length in two bytes.

use super::{TILE_WIDTH, TileError};

/// The bytes of a bundle: 1 to 256 entries of at most 65,535 bytes each.
///
/// # Errors
/// [`TileError::Bundle`].
pub fn encode_bundle<T: AsRef<[u8]>>(entries: &[T]) -> Result<Vec<u8>, TileError> {
    if entries.is_empty() || entries.len() > usize::from(TILE_WIDTH) {
        return Err(TileError::Bundle);
    }
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.as_ref().len()).sum());
    for entry in entries {
        let length = u16::try_from(entry.as_ref().len()).map_err(|_| TileError::Bundle)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry.as_ref());
    }
    Ok(bytes)
}

/// The entries of a bundle; exactly `width` of them, and nothing behind them.
///
/// # Errors
/// [`TileError::Bundle`].
pub fn decode_bundle(mut bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::with_capacity(usize::from(width.min(TILE_WIDTH)));
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(TileError::Bundle)?;
        if entries.len() == usize::from(width) {
            return Err(TileError::Bundle);
        }
        entries.push(entry);
        bytes = rest;
    }
    if bytes.is_empty() && !entries.is_empty() && entries.len() == usize::from(width) { Ok(entries) } else { Err(TileError::Bundle) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_malformed_bundle_is_refused() {
        let good = encode_bundle(&[&b"ab"[..], b""]).unwrap();
        assert_eq!(good, b"\0\x02ab\0\0");
        assert!(decode_bundle(&good, 2).is_ok());
        for (bytes, width) in [(&good[..], 1), (&good[..], 3), (&good[..5], 2), (&good[..3], 1), (b"", 0), (b"\0", 1), (b"\0\0", 0)] {
            assert_eq!(decode_bundle(bytes, width), Err(TileError::Bundle), "{bytes:?} {width}");
        }
        assert!(encode_bundle::<&[u8]>(&[]).is_err());
        assert!(encode_bundle(&[b""; 257]).is_err());
        assert!(encode_bundle(&[vec![0; 65_536]]).is_err());
        assert!(encode_bundle(&[vec![0; 65_535]]).is_ok());
    }

    proptest! {
        #[test]
        fn a_bundle_reads_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..=256)) {
            let bytes = encode_bundle(&entries).unwrap();
            prop_assert_eq!(decode_bundle(&bytes, u16::try_from(entries.len()).unwrap()).unwrap(), entries);
        }
    }
}
