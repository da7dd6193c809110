//! The cache capability: bytes under keys that may vanish at any time.

use crate::{
    Result,
    name::{BucketName, CacheKey, Tag},
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What holds for every bucket that has no settings of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct BucketLimits {
    /// The lifetime of entries that are written without one, in milliseconds.
    pub default_ttl_ms: u32,
    /// Entries beyond this many are evicted, least useful first.
    pub max_entries: u64,
    /// Bytes of keys and values beyond this many are evicted.
    pub max_bytes: u64,
    /// Guest-controlled: a larger value is `LimitExceeded`.
    pub max_value_bytes: u32,
}

impl Default for BucketLimits {
    fn default() -> Self {
        Self { default_ttl_ms: 300_000, max_entries: 100_000, max_bytes: 64 << 20, max_value_bytes: 1 << 20 }
    }
}

/// Guest-controlled: keys in one batch call.
pub const BATCH_MAX: usize = 1_000;
/// Guest-controlled: tags on one entry.
pub const TAGS_MAX: usize = 16;

/// Names one state of an entry. Never repeats within a bucket of one process;
/// a backend that derives it from the value says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: Bytes,
    pub version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Always,
    IfAbsent,
    /// Only over this state; `None` is the same as `IfAbsent`.
    IfVersion(Option<Version>),
}

/// How to write: `ttl` of `None` is the bucket's default lifetime.
#[derive(Debug, Clone)]
pub struct Write {
    pub ttl: Option<Duration>,
    pub condition: Condition,
    pub tags: Vec<Tag>,
}

impl Write {
    pub fn always(ttl: Option<Duration>) -> Self {
        Self { ttl, condition: Condition::Always, tags: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    Stored(Version),
    /// The condition did not hold; this is what is there.
    Conflict(Option<Entry>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    NoSuchKey,
    Never,
    In(Duration),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    pub keys: Vec<String>,
    /// Pass to the next scan; `None` when complete.
    pub next: Option<String>,
}

/// # Contract
///
/// - `get_returns_what_was_set`: a value is read back byte for byte until it expires, is deleted or is evicted.
/// - `expiry_is_checked_on_read`: a value is never read after its ttl has passed.
/// - `ttl_of_zero_is_refused`: a ttl of zero is `InvalidInput` and writes nothing.
/// - `default_ttl_applies`: without a ttl the bucket's default applies, and `expiry` says so.
/// - `batch_keeps_order`: `get_many` answers one slot per key in the order asked, also for repeats and misses.
/// - `batch_is_bounded`: more than `BATCH_MAX` keys or entries is `LimitExceeded` and changes nothing.
/// - `set_many_writes_all`: `set_many` writes every entry under one ttl.
/// - `delete_counts_what_was_there`: `delete_many` answers how many live keys it removed.
/// - `set_if_absent_has_one_winner`: of many concurrent `IfAbsent` writes exactly one is `Stored`; an expired entry is absent.
/// - `swap_has_one_winner`: of many concurrent writes over one version exactly one is `Stored`, the rest are `Conflict` with what is there.
/// - `touch_restarts_the_lifetime`: `touch` extends a live entry and answers false for a missing one.
/// - `increment_is_atomic`: concurrent increments all count; a missing key counts from 0 and only then takes the ttl.
/// - `increment_refuses_text`: a value that is not a decimal integer is `WrongType`, an overflow `LimitExceeded`; the value stays.
/// - `scan_finds_all_live_keys`: following `next` lists every key with the prefix that lived through the scan, and no expired one.
/// - `scan_prefix_is_literal`: `*`, `?`, `[` and `\` in a prefix mean themselves.
/// - `tags_invalidate_their_entries`: `invalidate` drops every entry that carries one of the tags and no other, and counts them.
/// - `overwriting_drops_old_tags`: a later write replaces the tags of the entry.
/// - `large_value_is_refused`: a value over the bucket's limit is `LimitExceeded`; the old value stays.
/// - `entry_count_is_bounded`: a bucket never keeps more than its `max_entries` for long.
/// - `buckets_are_apart`: the same key in two buckets is two entries.
///
/// # Cancel safety
///
/// Dropping a future leaves each key either written or not, never torn.
#[async_trait]
pub trait Cache: Send + Sync {
    async fn get(&self, bucket: &BucketName, key: &CacheKey) -> Result<Option<Entry>>;
    async fn get_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>>;
    async fn set(&self, bucket: &BucketName, key: &CacheKey, value: Bytes, write: Write) -> Result<WriteOutcome>;
    async fn set_many(&self, bucket: &BucketName, entries: Vec<(CacheKey, Bytes)>, ttl: Option<Duration>) -> Result<()>;
    async fn delete_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<u32>;
    async fn touch(&self, bucket: &BucketName, key: &CacheKey, ttl: Duration) -> Result<bool>;
    async fn expiry(&self, bucket: &BucketName, key: &CacheKey) -> Result<Expiry>;
    async fn increment(&self, bucket: &BucketName, key: &CacheKey, delta: i64, ttl: Option<Duration>) -> Result<i64>;
    async fn scan(&self, bucket: &BucketName, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage>;
    async fn invalidate(&self, bucket: &BucketName, tags: &[Tag]) -> Result<u32>;
    /// Whether the backend answers; the reason if not.
    async fn health(&self) -> Result<()>;
}
