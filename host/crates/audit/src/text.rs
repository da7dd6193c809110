//! What several text formats share: decimals, base64 and lines with one spelling each.

use crate::hash::Hash;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The largest tree size read from a text. A tree of 2^63 leaves has proofs of
/// 63 hashes, the most that tlog-witness carries.
pub(crate) const TREE_SIZE_MAX: u64 = (1 << 63) - 1;

/// An ASCII decimal without sign and without leading zeroes.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

/// A tree size: a decimal up to [`TREE_SIZE_MAX`].
pub(crate) fn tree_size(text: &str) -> Option<u64> {
    decimal(text).filter(|size| *size <= TREE_SIZE_MAX)
}

/// Standard base64 with its padding; each sequence of bytes has one spelling.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn hash(text: &str) -> Option<Hash> {
    base64(text)?.try_into().ok().map(Hash::new)
}

/// The text before the first newline and the text behind it.
pub(crate) fn line(text: &str) -> Option<(&str, &str)> {
    text.split_once('\n')
}

/// Hashes, one a line, up to an empty line; the rest is what follows that line.
pub(crate) fn hash_lines(mut text: &str, max: usize) -> Option<(Vec<Hash>, &str)> {
    let mut hashes = Vec::new();
    loop {
        let (first, rest) = line(text)?;
        text = rest;
        if first.is_empty() {
            return Some((hashes, text));
        }
        if hashes.len() == max {
            return None;
        }
        hashes.push(hash(first)?);
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// Lower-case hexadecimal of exactly `N` bytes.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).filter(|_| !c.is_ascii_uppercase()))
        .map(|d| d.and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() == 2 * N { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "18446744073709551616", "١"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
        assert_eq!(tree_size("9223372036854775808"), None);
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(base64("AA=="), Some(vec![0]));
        for bad in ["AA", "AB==", "AA==\n", "A A=", "_w=="] {
            assert_eq!(base64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn hexadecimal_is_lower_case() {
        assert_eq!(from_hex("00ff"), Some([0, 255]));
        assert_eq!(to_hex(&[0, 255]), "00ff");
        for bad in ["00FF", "00f", "00ffa", "00fg", ""] {
            assert_eq!(from_hex::<2>(bad), None, "{bad:?}");
        }
    }
}
