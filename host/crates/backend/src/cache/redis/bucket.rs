//! What this process knows of one bucket: its names in Redis, its limits, what it has written.

use super::near::Near;
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{BucketLimits, TAGS_MAX},
    name::{BucketName, CacheKey, Tag},
};
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Guest-controlled: the WIT counts lifetimes in milliseconds of a `u32`.
const TTL_MAX: Duration = Duration::from_millis(u32::MAX as u64);
/// Keys that wait to be accounted for; beyond it they are not, and only their lifetime bounds them.
const DIRTY_MAX: usize = 20_000;

pub(super) struct Bucket {
    pub(super) limits: BucketLimits,
    /// What the keys of entries begin with. The braces make one slot of the bucket on a cluster.
    pub(super) entries: String,
    /// What the keys of tag indexes begin with.
    pub(super) tags: String,
    /// Where `increment` lets Redis add.
    pub(super) scratch: String,
    /// By time of writing, by time of expiry, sizes.
    pub(super) books: [String; 3],
    pub(super) near: Option<Arc<Near>>,
    /// Keys written or removed since the books were brought up to date. A std
    /// mutex: held for one insertion, or to take the set.
    dirty: Mutex<Dirty>,
}

/// With the order of the last writes: what was written longest ago is evicted first.
#[derive(Default)]
struct Dirty {
    keys: HashMap<CacheKey, u64>,
    writes: u64,
}

impl Bucket {
    pub(super) fn new(prefix: &str, name: &BucketName, limits: BucketLimits, near: Option<Arc<Near>>) -> Self {
        let key = |what: &str| format!("{{{prefix}:{name}}}{what}");
        Self {
            limits,
            entries: Self::base(prefix, name),
            tags: key("t:"),
            scratch: key("n"),
            books: [key("w"), key("x"), key("s")],
            near,
            dirty: Mutex::default(),
        }
    }

    pub(super) fn base(prefix: &str, name: &BucketName) -> String {
        format!("{{{prefix}:{name}}}e:")
    }

    /// True if this key is the first that waits.
    pub(super) fn soil(&self, key: &CacheKey) -> bool {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let first = dirty.keys.is_empty();
        dirty.writes += 1;
        let now = dirty.writes;
        if let Some(written) = dirty.keys.get_mut(key) {
            *written = now;
        } else if dirty.keys.len() < DIRTY_MAX {
            dirty.keys.insert(key.clone(), now);
        }
        first
    }

    /// Oldest first.
    pub(super) fn take_dirty(&self) -> Vec<CacheKey> {
        let keys = mem::take(&mut self.dirty.lock().unwrap_or_else(PoisonError::into_inner).keys);
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable_by_key(|(_, written)| *written);
        keys.into_iter().map(|(key, _)| key).collect()
    }

    /// Refuses what is too large, without writing.
    pub(super) fn check(&self, operation: &'static str, key: &CacheKey, value: &[u8], tags: &[Tag]) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::LimitExceeded, operation, message));
        if value.len() as u64 > u64::from(self.limits.max_value_bytes) {
            return refuse(format!("the value has {} bytes, the bucket takes {}", value.len(), self.limits.max_value_bytes));
        }
        if tags.len() > TAGS_MAX {
            return refuse(format!("{} tags, at most {TAGS_MAX}", tags.len()));
        }
        let weight = key.as_str().len() + value.len() + tags.iter().map(|tag| tag.as_str().len()).sum::<usize>();
        if weight as u64 > self.limits.max_bytes {
            return refuse(format!("the entry is larger than its bucket of {} bytes", self.limits.max_bytes));
        }
        Ok(())
    }

    /// In milliseconds, at least one.
    pub(super) fn lifetime(&self, operation: &'static str, ttl: Option<Duration>) -> Result<u64> {
        match ttl {
            None => Ok(u64::from(self.limits.default_ttl_ms)),
            Some(ttl) if ttl.is_zero() || ttl > TTL_MAX => {
                let message = format!("a lifetime is more than 0 and at most {} ms", TTL_MAX.as_millis());
                Err(Error::new(ErrorKind::InvalidInput, operation, message))
            }
            Some(ttl) => Ok(u64::try_from(ttl.as_millis()).unwrap_or(u64::from(u32::MAX)).max(1)),
        }
    }
}
