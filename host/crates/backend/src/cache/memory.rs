//! The embedded cache: buckets of bounded size in the memory of this process.

use super::bucket::{Bucket, Stamps};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{BATCH_MAX, BucketLimits, Cache, Entry, Expiry, KeyPage, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct MemoryCacheConfig {
    /// Of every bucket that has none of its own.
    pub limits: BucketLimits,
    /// By the full name of the bucket.
    pub buckets: BTreeMap<BucketName, BucketLimits>,
    /// Writing to one bucket more is `LimitExceeded`.
    pub max_buckets: usize,
}

impl Default for MemoryCacheConfig {
    fn default() -> Self {
        Self { limits: BucketLimits::default(), buckets: BTreeMap::new(), max_buckets: 1_000 }
    }
}

/// Lives and dies with the process and is not shared between hosts. Evicts the
/// least recently used entries. Versions are numbers that no write repeats.
pub struct MemoryCache {
    config: MemoryCacheConfig,
    stamps: Arc<Stamps>,
    /// Grows at the first write to a bucket; readers take no lock.
    buckets: ArcSwap<HashMap<BucketName, Arc<Bucket>>>,
}

impl MemoryCache {
    /// Refuses limits under which nothing could be kept.
    pub fn new(config: MemoryCacheConfig) -> Result<Self> {
        for limits in config.buckets.values().chain([&config.limits]) {
            if limits.default_ttl_ms == 0 || limits.max_entries == 0 || limits.max_bytes == 0 {
                let message = "default_ttl_ms, max_entries and max_bytes of a bucket are more than 0";
                return Err(Error::new(ErrorKind::InvalidInput, "cache.configure", message));
            }
        }
        Ok(Self { config, stamps: Arc::new(Stamps::new()), buckets: ArcSwap::default() })
    }

    /// The bucket if anything was ever written to it.
    fn bucket(&self, name: &BucketName) -> Option<Arc<Bucket>> {
        self.buckets.load().get(name).cloned()
    }

    fn bucket_to_write(&self, operation: &'static str, name: &BucketName) -> Result<Arc<Bucket>> {
        if let Some(bucket) = self.bucket(name) {
            return Ok(bucket);
        }
        let limits = self.config.buckets.get(name).unwrap_or(&self.config.limits).clone();
        let new = Arc::new(Bucket::new(limits, Arc::clone(&self.stamps)));
        self.buckets.rcu(|buckets| match buckets.contains_key(name) || buckets.len() >= self.config.max_buckets {
            true => Arc::clone(buckets),
            false => {
                let mut buckets = HashMap::clone(buckets);
                buckets.insert(name.clone(), Arc::clone(&new));
                Arc::new(buckets)
            }
        });
        self.bucket(name).ok_or_else(|| {
            let message = format!("there are {} buckets already", self.config.max_buckets);
            Error::new(ErrorKind::LimitExceeded, operation, message)
        })
    }
}

fn bounded(operation: &'static str, count: usize) -> Result<()> {
    if count > BATCH_MAX {
        return Err(Error::new(ErrorKind::LimitExceeded, operation, format!("{count} in one call, at most {BATCH_MAX}")));
    }
    Ok(())
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, bucket: &BucketName, key: &CacheKey) -> Result<Option<Entry>> {
        let Some(bucket) = self.bucket(bucket) else { return Ok(None) };
        Ok(bucket.live(key).await.map(|stored| stored.entry()))
    }

    async fn get_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        bounded("cache.get-many", keys.len())?;
        let Some(bucket) = self.bucket(bucket) else { return Ok(vec![None; keys.len()]) };
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            entries.push(bucket.live(key).await.map(|stored| stored.entry()));
        }
        Ok(entries)
    }

    async fn set(&self, bucket: &BucketName, key: &CacheKey, value: Bytes, write: Write) -> Result<WriteOutcome> {
        self.bucket_to_write("cache.set", bucket)?.set(key, value, write).await
    }

    async fn set_many(&self, bucket: &BucketName, entries: Vec<(CacheKey, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        bounded("cache.set-many", entries.len())?;
        let bucket = self.bucket_to_write("cache.set-many", bucket)?;
        for (key, value) in &entries {
            bucket.check("cache.set-many", key, value, &[])?;
        }
        for (key, value) in entries {
            bucket.set(&key, value, Write::always(ttl)).await?;
        }
        Ok(())
    }

    async fn delete_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<u32> {
        bounded("cache.delete-many", keys.len())?;
        let Some(bucket) = self.bucket(bucket) else { return Ok(0) };
        let mut deleted = 0;
        for key in keys {
            deleted += u32::from(bucket.delete(key).await?);
        }
        Ok(deleted)
    }

    async fn touch(&self, bucket: &BucketName, key: &CacheKey, ttl: Duration) -> Result<bool> {
        self.bucket_to_write("cache.touch", bucket)?.touch(key, ttl).await
    }

    async fn expiry(&self, bucket: &BucketName, key: &CacheKey) -> Result<Expiry> {
        let Some(bucket) = self.bucket(bucket) else { return Ok(Expiry::NoSuchKey) };
        let stored = bucket.live(key).await;
        Ok(stored.map_or(Expiry::NoSuchKey, |stored| Expiry::In(stored.expires.saturating_duration_since(Instant::now()))))
    }

    async fn increment(&self, bucket: &BucketName, key: &CacheKey, delta: i64, ttl: Option<Duration>) -> Result<i64> {
        self.bucket_to_write("cache.increment", bucket)?.increment(key, delta, ttl).await
    }

    async fn scan(&self, bucket: &BucketName, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage> {
        match self.bucket(bucket) {
            Some(bucket) => bucket.scan(prefix, cursor, limit).await,
            None => Ok(KeyPage { keys: Vec::new(), next: None }),
        }
    }

    async fn invalidate(&self, bucket: &BucketName, tags: &[Tag]) -> Result<u32> {
        bounded("cache.invalidate", tags.len())?;
        match self.bucket(bucket) {
            Some(bucket) => bucket.invalidate(tags).await,
            None => Ok(0),
        }
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }
}
