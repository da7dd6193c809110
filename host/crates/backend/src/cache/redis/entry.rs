//! How an entry lies in Redis: tags and version before the value, all in one string.
//!
//! One byte says how many tags there are, 16 bytes are the version, each tag
//! follows two bytes of its length (big endian), and the rest is the value. So
//! one `GET` reads value and version, one `SET` writes them, and an entry that
//! is overwritten has lost its tags whatever their indexes say.

use bytes::{Buf as _, Bytes};
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{Entry, Version},
    name::Tag,
};
use redis::{RedisWrite, ToRedisArgs};
use std::{
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

const VERSION: usize = 16;
/// Bytes before the value of an entry without tags.
pub(super) const HEAD: usize = 1 + VERSION;

/// Versions are made by the writer: 64 random bits of this process and 64 that count.
pub(super) struct Stamps {
    process: [u8; 8],
    count: AtomicU64,
}

pub(super) type Stamp = [u8; VERSION];

impl Stamps {
    pub(super) fn new() -> Self {
        Self { process: rand::random(), count: AtomicU64::new(rand::random()) }
    }

    pub(super) fn next(&self) -> Stamp {
        let mut stamp = [0; VERSION];
        let (process, count) = stamp.split_at_mut(8);
        process.copy_from_slice(&self.process);
        count.copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        stamp
    }
}

/// In hexadecimal, as guests see it.
pub(super) fn version(stamp: &[u8]) -> Version {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let mut text = [b'0'; VERSION * 2];
    for (pair, byte) in text.chunks_exact_mut(2).zip(stamp) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    Version(String::from_utf8_lossy(&text).into_owned())
}

/// `None` for what no write ever returned.
pub(super) fn stamp(version: &Version) -> Option<Stamp> {
    if version.0.len() != VERSION * 2 || version.0.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(&version.0, 16).ok().map(u128::to_be_bytes)
}

pub(super) fn decode(operation: &'static str, stored: Vec<u8>) -> Result<Entry> {
    let Some((version, at)) = parts(&stored).map(|(stamp, at)| (version(stamp), at)) else {
        return Err(Error::new(ErrorKind::WrongType, operation, "what is stored was not written by this cache"));
    };
    let mut value = Bytes::from(stored);
    // Not a slice of it: that would begin to count references.
    value.advance(at);
    Ok(Entry { value, version })
}

/// The version and where the value begins.
fn parts(stored: &[u8]) -> Option<(&[u8], usize)> {
    let stamp = stored.get(1..HEAD)?;
    let mut at = HEAD;
    for _ in 0..*stored.first()? {
        let length: [u8; 2] = stored.get(at..at + 2)?.try_into().ok()?;
        at += 2 + usize::from(u16::from_be_bytes(length));
    }
    (at <= stored.len()).then_some((stamp, at))
}

/// An entry as an argument: written in pieces, copied once.
pub(super) struct Stored<'a> {
    pub(super) stamp: &'a Stamp,
    pub(super) tags: &'a [Tag],
    pub(super) value: &'a [u8],
}

impl ToRedisArgs for Stored<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut to = out.writer_for_next_arg();
        // Both lengths were checked: at most `TAGS_MAX` tags of 256 bytes. Memory takes every write.
        _ = to.write_all(&[u8::try_from(self.tags.len()).unwrap_or(u8::MAX)]);
        _ = to.write_all(self.stamp);
        for tag in self.tags {
            _ = to.write_all(&u16::try_from(tag.as_str().len()).unwrap_or(u16::MAX).to_be_bytes());
            _ = to.write_all(tag.as_str().as_bytes());
        }
        _ = to.write_all(self.value);
    }
}

/// A key as an argument: what all keys of the bucket begin with, and the name.
#[derive(Clone, Copy)]
pub(super) struct Key<'a>(pub(super) &'a str, pub(super) &'a str);

impl ToRedisArgs for Key<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut to = out.writer_for_next_arg();
        _ = to.write_all(self.0.as_bytes());
        _ = to.write_all(self.1.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_read_back() {
        let stamps = Stamps::new();
        let (first, second) = (stamps.next(), stamps.next());
        assert_ne!(first, second);
        assert_eq!(stamp(&version(&first)), Some(first));
        for text in ["", "zz", "0123456789abcdef0123456789abcdeF", "+123456789abcdef0123456789abcdef"] {
            assert_eq!(stamp(&Version(text.to_owned())), None, "{text}");
        }
        for tags in [&[][..], &[Tag::new("a").unwrap(), Tag::new(&"t".repeat(256)).unwrap()]] {
            let packed = Stored { stamp: &first, tags, value: b"value" }.to_redis_args().remove(0);
            let entry = decode("cache.get", packed.clone()).unwrap();
            assert_eq!((&entry.value[..], entry.version), (&b"value"[..], version(&first)));
            let cut = packed.len() - b"value".len() - 1;
            assert_eq!(decode("cache.get", packed[..cut].to_vec()).unwrap_err().kind(), ErrorKind::WrongType);
        }
    }
}
