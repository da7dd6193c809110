//! Bytes under string keys that may vanish at any time.

pub use crate::bindings::plinth::cache::cache_types::{Error, Expiry, Failure, KeyPage, SwapOutcome, Versioned};
use crate::{
    bindings::plinth::cache::{buckets, tags},
    hooks::millis,
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// The result of a cache call.
pub type Result<T> = std::result::Result<T, Error>;

/// An open cache. A `ttl` of `None` means the bucket's own default lifetime.
#[derive(Debug)]
pub struct Bucket(buckets::Bucket);

impl Bucket {
    /// Opens a granted cache; local to the host, so opening in every call is fine.
    pub fn open(name: &str) -> Result<Self> {
        buckets::Bucket::open(name).map(Self)
    }

    /// The value, or `None` if the cache has none.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.0.get(key)
    }

    /// As [`get`](Self::get), read as JSON; what does not parse counts as a miss.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        Ok(self.get(key)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// One round trip; one slot per key, in the order asked.
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>> {
        self.0.get_many(&owned(keys))
    }

    /// Writes a value.
    pub fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        self.0.set(key, value, ttl.map(millis))
    }

    /// Writes `value` as JSON.
    pub fn set_json(&self, key: &str, value: &impl Serialize, ttl: Option<Duration>) -> Result<()> {
        self.set(key, &to_json(value)?, ttl)
    }

    /// One round trip, not atomic: on an error any subset may have been written.
    pub fn set_many(&self, entries: &[(String, Vec<u8>)], ttl: Option<Duration>) -> Result<()> {
        self.0.set_many(entries, ttl.map(millis))
    }

    /// True if written, false if the key was already there.
    pub fn set_if_absent(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        self.0.set_if_absent(key, value, ttl.map(millis))
    }

    /// Writes an entry that [`invalidate`](Self::invalidate) of any of its tags drops.
    pub fn set_tagged(&self, key: &str, value: &[u8], ttl: Option<Duration>, tags: &[&str]) -> Result<()> {
        tags::set_tagged(&self.0, key, value, ttl.map(millis), &owned(tags))
    }

    /// Drops every entry that carries one of the tags; answers how many.
    pub fn invalidate(&self, tags: &[&str]) -> Result<u32> {
        tags::invalidate(&self.0, &owned(tags))
    }

    /// True if there was something to delete.
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.0.delete(key)
    }

    /// The number of keys that existed.
    pub fn delete_many(&self, keys: &[&str]) -> Result<u32> {
        self.0.delete_many(&owned(keys))
    }

    /// Whether there is a value.
    pub fn exists(&self, key: &str) -> Result<bool> {
        self.0.exists(key)
    }

    /// Restarts the lifetime of an entry; false if there is no such key.
    pub fn touch(&self, key: &str, ttl: Duration) -> Result<bool> {
        self.0.touch(key, millis(ttl))
    }

    /// How long an entry still lives.
    pub fn expiry(&self, key: &str) -> Result<Expiry> {
        self.0.expiry(key)
    }

    /// Atomic; a missing key counts from 0, and only then takes `ttl`.
    pub fn increment(&self, key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64> {
        self.0.increment(key, delta, ttl.map(millis))
    }

    /// The value with a token that names this state of it, for [`swap`](Self::swap).
    pub fn get_versioned(&self, key: &str) -> Result<Option<Versioned>> {
        self.0.get_versioned(key)
    }

    /// Writes only if the entry is still at `expected` (`None`: absent).
    pub fn swap(&self, key: &str, value: &[u8], expected: Option<&str>, ttl: Option<Duration>) -> Result<SwapOutcome> {
        self.0.swap(key, value, expected, ttl.map(millis))
    }

    /// A page of the keys that start with `prefix`; may be empty and still have a `next`.
    pub fn scan(&self, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage> {
        self.0.scan(prefix, cursor, limit)
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::InvalidArgument(error.to_string()))
}
