//! One bucket of the embedded cache: moka for the entries, an index for their tags.

use super::{
    tag_index::{Stamp, Suspect, TagIndex},
    weight::Scale,
};
use bytes::Bytes;
use moka::{future::Cache, ops::compute::Op, policy::EvictionPolicy};
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{BATCH_MAX, BucketLimits, Condition, Entry, KeyPage, TAGS_MAX, Version, Write, WriteOutcome},
    name::{CacheKey, Tag},
};
use std::{
    collections::BinaryHeap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Guest-controlled: the WIT counts lifetimes in milliseconds of a `u32`.
const TTL_MAX: Duration = Duration::from_millis(u32::MAX as u64);
/// Entries looked at by a scan before it lets other tasks run.
const SCAN_SLICE: usize = 1_024;

pub(super) struct Bucket {
    limits: BucketLimits,
    entries: Cache<CacheKey, Arc<Stored>>,
    tags: Arc<TagIndex>,
    stamps: Arc<Stamps>,
}

/// What is under a key. The instant decides whether it may be read; moka's own
/// clock only frees the memory.
pub(super) struct Stored {
    value: Bytes,
    /// Stays when an entry is touched, where the stamp does not.
    version: Stamp,
    stamp: Stamp,
    pub(super) expires: Instant,
    tags: Box<[Tag]>,
}

impl Stored {
    fn live(&self) -> bool {
        self.expires > Instant::now()
    }

    pub(super) fn entry(&self) -> Entry {
        Entry { value: self.value.clone(), version: Version(self.version.to_string()) }
    }
}

/// Numbers every write of the process. Starts anywhere, so that a version kept
/// by a guest across a restart of the host matches nothing.
pub(super) struct Stamps(AtomicU64);

impl Stamps {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(rand::random()))
    }

    fn next(&self) -> Stamp {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Tells moka when an entry may be dropped.
struct Lifetime;

impl moka::Expiry<CacheKey, Arc<Stored>> for Lifetime {
    fn expire_after_create(&self, _: &CacheKey, stored: &Arc<Stored>, _: std::time::Instant) -> Option<Duration> {
        Some(stored.expires.saturating_duration_since(Instant::now()))
    }

    fn expire_after_update(&self, _: &CacheKey, stored: &Arc<Stored>, _: std::time::Instant, _: Option<Duration>) -> Option<Duration> {
        Some(stored.expires.saturating_duration_since(Instant::now()))
    }
}

/// What a change decided about one entry.
enum Step {
    Keep,
    Remove,
    Put { value: Bytes, version: Option<Stamp>, expires: Instant, tags: Box<[Tag]> },
}

impl Bucket {
    pub(super) fn new(limits: BucketLimits, stamps: Arc<Stamps>) -> Self {
        let tags = Arc::new(TagIndex::default());
        let (scale, index) = (Scale::new(&limits), Arc::clone(&tags));
        let entries = Cache::builder()
            .max_capacity(scale.capacity())
            .weigher(move |key: &CacheKey, stored: &Arc<Stored>| scale.of(weigh(key, &stored.value, &stored.tags)))
            // Not TinyLFU: that may refuse a new entry for being unpopular, and
            // a lock taken with `IfAbsent` must not vanish the moment it is taken.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetime)
            .eviction_listener(move |key: Arc<CacheKey>, stored: Arc<Stored>, _| index.remove(&stored.tags, &key, stored.stamp))
            .build();
        Self { limits, entries, tags, stamps }
    }

    pub(super) async fn live(&self, key: &CacheKey) -> Option<Arc<Stored>> {
        self.entries.get(key).await.filter(|stored| stored.live())
    }

    /// Refuses what `set` would refuse, without writing.
    pub(super) fn check(&self, operation: &'static str, key: &CacheKey, value: &Bytes, tags: &[Tag]) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::LimitExceeded, operation, message));
        if value.len() as u64 > u64::from(self.limits.max_value_bytes) {
            return refuse(format!("the value has {} bytes, the bucket takes {}", value.len(), self.limits.max_value_bytes));
        }
        if tags.len() > TAGS_MAX {
            return refuse(format!("{} tags, at most {TAGS_MAX}", tags.len()));
        }
        if weigh(key, value, tags) as u64 > self.limits.max_bytes {
            return refuse(format!("the entry is larger than its bucket of {} bytes", self.limits.max_bytes));
        }
        Ok(())
    }

    pub(super) async fn set(&self, key: &CacheKey, value: Bytes, write: Write) -> Result<WriteOutcome> {
        const OPERATION: &str = "cache.set";
        self.check(OPERATION, key, &value, &write.tags)?;
        let lifetime = self.lifetime(OPERATION, write.ttl)?;
        self.settle_suspects().await?;
        let Write { condition, tags, .. } = write;
        let conflict = self
            .change(key, |current| {
                let holds = match (&condition, current) {
                    (Condition::Always, _) | (Condition::IfAbsent | Condition::IfVersion(None), None) => true,
                    (Condition::IfVersion(Some(wanted)), Some(there)) => wanted.0 == there.version.to_string(),
                    (Condition::IfAbsent | Condition::IfVersion(_), _) => false,
                };
                match holds {
                    true => (Step::Put { value, version: None, expires: Instant::now() + lifetime, tags: tags.into() }, None),
                    false => (Step::Keep, Some(current.map(Stored::entry))),
                }
            })
            .await?;
        Ok(match conflict {
            (Some(stamp), _) => WriteOutcome::Stored(Version(stamp.to_string())),
            (None, there) => WriteOutcome::Conflict(there.flatten()),
        })
    }

    /// True if a live entry was removed.
    pub(super) async fn delete(&self, key: &CacheKey) -> Result<bool> {
        let (_, was_live) = self.change(key, |current| (Step::Remove, current.is_some())).await?;
        Ok(was_live)
    }

    pub(super) async fn touch(&self, key: &CacheKey, ttl: Duration) -> Result<bool> {
        let lifetime = self.lifetime("cache.touch", Some(ttl))?;
        let (_, was_live) = self
            .change(key, |current| match current {
                Some(there) => (there.put_again(there.value.clone(), Some(there.version), Instant::now() + lifetime), true),
                None => (Step::Keep, false),
            })
            .await?;
        Ok(was_live)
    }

    pub(super) async fn increment(&self, key: &CacheKey, delta: i64, ttl: Option<Duration>) -> Result<i64> {
        const OPERATION: &str = "cache.increment";
        let lifetime = self.lifetime(OPERATION, ttl)?;
        let (_, sum) = self
            .change(key, |current| match add(current, delta) {
                Err(error) => (Step::Keep, Err(error)),
                Ok(sum) => {
                    let value = Bytes::from(sum.to_string());
                    if let Err(error) = self.check(OPERATION, key, &value, &[]) {
                        return (Step::Keep, Err(error));
                    }
                    let step = match current {
                        Some(there) => there.put_again(value, None, there.expires),
                        None => Step::Put { value, version: None, expires: Instant::now() + lifetime, tags: [].into() },
                    };
                    (step, Ok(sum))
                }
            })
            .await?;
        sum
    }

    /// Drops every entry that carries one of the tags; answers how many were live.
    pub(super) async fn invalidate(&self, tags: &[Tag]) -> Result<u32> {
        self.settle_suspects().await?;
        let mut dropped = 0;
        for key in self.tags.keys(tags) {
            let (_, was_live) = self
                .change(&key, |current| match current.is_some_and(|there| there.tags.iter().any(|tag| tags.contains(tag))) {
                    true => (Step::Remove, true),
                    false => (Step::Keep, false),
                })
                .await?;
            dropped += u32::from(was_live);
        }
        Ok(dropped)
    }

    /// Pages are sorted, so the cursor is the last key and a page costs one pass
    /// over the bucket: writes are many and scans are few, so writes keep no order.
    pub(super) async fn scan(&self, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage> {
        self.entries.run_pending_tasks().await;
        let limit = usize::try_from(limit).unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX);
        // The smallest keys after the cursor, one more than a page to know whether there is a next.
        let mut page = BinaryHeap::with_capacity(limit + 2);
        for (seen, (key, stored)) in self.entries.iter().enumerate() {
            let wanted = key.as_str().starts_with(prefix) && cursor.is_none_or(|cursor| key.as_str() > cursor);
            if wanted && stored.live() {
                page.push(key);
                if page.len() > limit + 1 {
                    page.pop();
                }
            }
            if seen % SCAN_SLICE == SCAN_SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        let more = page.len() > limit;
        let mut keys: Vec<String> = page.into_sorted_vec().iter().map(|key| key.as_str().to_owned()).collect();
        keys.truncate(limit);
        let next = if more { keys.last().cloned() } else { None };
        Ok(KeyPage { keys, next })
    }

    fn lifetime(&self, operation: &'static str, ttl: Option<Duration>) -> Result<Duration> {
        match ttl {
            None => Ok(Duration::from_millis(u64::from(self.limits.default_ttl_ms))),
            Some(ttl) if ttl.is_zero() || ttl > TTL_MAX => {
                let message = format!("a lifetime is more than 0 and at most {} ms", TTL_MAX.as_millis());
                Err(Error::new(ErrorKind::InvalidInput, operation, message))
            }
            Some(ttl) => Ok(ttl),
        }
    }

    /// The one way to change an entry: moka runs the changes of one key one
    /// after another. `decide` sees the live entry and answers what to do and
    /// what to return; the stamp of what was put comes with it.
    async fn change<T>(&self, key: &CacheKey, decide: impl FnOnce(Option<&Stored>) -> (Step, T)) -> Result<(Option<Stamp>, T)> {
        let (mut answer, mut written) = (None, Unfinished { index: &self.tags, write: None });
        self.entries
            .entry_by_ref(key)
            .and_compute_with(|current| {
                let current = current.map(moka::Entry::into_value);
                let (step, value) = decide(current.as_deref().filter(|stored| stored.live()));
                let (op, stamp) = match step {
                    Step::Keep => (Op::Nop, None),
                    Step::Remove => (Op::Remove, None),
                    Step::Put { value, version, expires, tags } => {
                        let stamp = self.stamps.next();
                        // Indexed before it is there: an invalidation that begins
                        // later finds the pair, and waits for this change.
                        self.tags.add(&tags, key, stamp);
                        if !tags.is_empty() {
                            written.write = Some(Suspect { key: key.clone(), stamp, tags: tags.clone() });
                        }
                        (Op::Put(Arc::new(Stored { value, version: version.unwrap_or(stamp), stamp, expires, tags })), Some(stamp))
                    }
                };
                answer = Some((stamp, value));
                std::future::ready(op)
            })
            .await;
        written.write = None;
        answer.ok_or_else(|| Error::new(ErrorKind::Internal, "cache.change", "the change was not made"))
    }

    /// A dropped write may have indexed tags for an entry that never came.
    async fn settle_suspects(&self) -> Result<()> {
        while let Some(suspect) = self.tags.next_suspect() {
            let key = suspect.key.clone();
            let mut unsettled = Unfinished { index: &self.tags, write: Some(suspect) };
            self.entries
                .entry_by_ref(&key)
                .and_compute_with(|current| {
                    let current = current.map(moka::Entry::into_value);
                    if let Some(suspect) = unsettled.write.take() {
                        self.tags.settle(&suspect, current.as_deref().map(|there| (there.stamp, &*there.tags)));
                    }
                    std::future::ready(Op::Nop)
                })
                .await;
        }
        Ok(())
    }
}

impl Stored {
    fn put_again(&self, value: Bytes, version: Option<Stamp>, expires: Instant) -> Step {
        Step::Put { value, version, expires, tags: self.tags.clone() }
    }
}

/// Hands its write to the index as a suspect when it is dropped too early.
struct Unfinished<'a> {
    index: &'a TagIndex,
    write: Option<Suspect>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(suspect) = self.write.take() {
            self.index.suspect(suspect);
        }
    }
}

/// The bytes that count against the bucket.
fn weigh(key: &CacheKey, value: &Bytes, tags: &[Tag]) -> usize {
    key.as_str().len() + value.len() + tags.iter().map(|tag| tag.as_str().len()).sum::<usize>()
}

/// Only the one way to write a number counts as one: ` 1`, `+1` and `01` are text.
fn add(current: Option<&Stored>, delta: i64) -> Result<i64> {
    let error = |kind, message: &str| Error::new(kind, "cache.increment", message);
    let Some(there) = current else { return Ok(delta) };
    let number =
        std::str::from_utf8(&there.value).ok().and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text));
    let number = number.ok_or_else(|| error(ErrorKind::WrongType, "the value is not a decimal integer"))?;
    number.checked_add(delta).ok_or_else(|| error(ErrorKind::LimitExceeded, "the sum does not fit 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinSet;

    fn key(name: &str) -> CacheKey {
        CacheKey::new(name).unwrap()
    }

    fn tagged(tags: &[&str]) -> Write {
        Write { tags: tags.iter().map(|tag| Tag::new(tag).unwrap()).collect(), ..Write::always(None) }
    }

    fn bucket(max_entries: u64) -> Arc<Bucket> {
        Arc::new(Bucket::new(BucketLimits { max_entries, ..BucketLimits::default() }, Arc::new(Stamps::new())))
    }

    /// Overwritten, evicted, invalidated and deleted by many at once, the index
    /// ends with exactly the tags of what is left.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_index_is_what_the_entries_say() {
        let bucket = bucket(50);
        let mut writers = JoinSet::new();
        for writer in 0..8_usize {
            let bucket = Arc::clone(&bucket);
            writers.spawn(async move {
                for i in 0..500_usize {
                    let name = key(&format!("k{}", (i * 7 + writer) % 100));
                    let tags = [["a", "b"], ["b", "c"], ["c", "d"]][(i + writer) % 3];
                    match i % 25 {
                        3 => drop(bucket.invalidate(&tagged(&tags[..1]).tags).await.unwrap()),
                        5 => drop(bucket.delete(&name).await.unwrap()),
                        7 => drop(bucket.touch(&name, Duration::from_secs(60)).await.unwrap()),
                        9 => drop(bucket.set(&name, Bytes::new(), Write::always(None)).await.unwrap()),
                        _ => drop(bucket.set(&name, Bytes::new(), tagged(&tags)).await.unwrap()),
                    }
                }
            });
        }
        writers.join_all().await;
        bucket.entries.run_pending_tasks().await;
        let (mut count, mut pairs) = (0, 0);
        for (key, stored) in bucket.entries.iter() {
            count += 1;
            pairs += stored.tags.len();
            assert!(stored.tags.iter().all(|tag| bucket.tags.keys(std::slice::from_ref(tag)).contains(&key)));
        }
        assert!((1..=50).contains(&count), "{count} entries");
        assert_eq!(bucket.tags.pairs(), pairs);
        bucket.invalidate(&tagged(&["a", "b", "c", "d"]).tags).await.unwrap();
        assert_eq!(bucket.tags.pairs(), 0);
    }

    #[tokio::test]
    async fn a_dropped_write_leaves_no_tags_behind() {
        let bucket = bucket(50);
        let write = tagged(&["a"]);
        bucket.set(&key("there"), Bytes::new(), write.clone()).await.unwrap();
        for (name, stamp) in [("there", 1), ("never-came", 2)] {
            let suspect = Suspect { key: key(name), stamp, tags: write.tags.clone().into() };
            bucket.tags.add(&write.tags, &suspect.key, stamp);
            drop(Unfinished { index: &bucket.tags, write: Some(suspect) });
        }
        assert_eq!(bucket.invalidate(&tagged(&["other"]).tags).await.unwrap(), 0);
        assert_eq!(bucket.tags.keys(&write.tags), [key("there")]);
        assert_eq!(bucket.invalidate(&write.tags).await.unwrap(), 1);
        assert_eq!(bucket.tags.pairs(), 0);
    }
}
