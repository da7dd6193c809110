//! The cache behind its policy.

use crate::{Guarded, gate::Repeat};
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Result,
    cache::{Cache, Condition, Entry, Expiry, KeyPage, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use std::time::Duration;

#[async_trait]
impl Cache for Guarded<dyn Cache> {
    async fn get(&self, bucket: &BucketName, key: &CacheKey) -> Result<Option<Entry>> {
        self.gate.run("cache.get", Repeat::Safe, self.inner.get(bucket, key)).await
    }

    async fn get_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.gate.run("cache.get_many", Repeat::Safe, self.inner.get_many(bucket, keys)).await
    }

    async fn set(&self, bucket: &BucketName, key: &CacheKey, value: Bytes, write: Write) -> Result<WriteOutcome> {
        // A conditional write that happened would lose against itself.
        let repeat = if write.condition == Condition::Always { Repeat::Safe } else { Repeat::Unsafe };
        self.gate.run("cache.set", repeat, self.inner.set(bucket, key, value, write)).await
    }

    async fn set_many(&self, bucket: &BucketName, entries: Vec<(CacheKey, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        self.gate.run("cache.set_many", Repeat::Safe, self.inner.set_many(bucket, entries, ttl)).await
    }

    async fn delete_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<u32> {
        self.gate.run("cache.delete_many", Repeat::Safe, self.inner.delete_many(bucket, keys)).await
    }

    async fn touch(&self, bucket: &BucketName, key: &CacheKey, ttl: Duration) -> Result<bool> {
        self.gate.run("cache.touch", Repeat::Safe, self.inner.touch(bucket, key, ttl)).await
    }

    async fn expiry(&self, bucket: &BucketName, key: &CacheKey) -> Result<Expiry> {
        self.gate.run("cache.expiry", Repeat::Safe, self.inner.expiry(bucket, key)).await
    }

    async fn increment(&self, bucket: &BucketName, key: &CacheKey, delta: i64, ttl: Option<Duration>) -> Result<i64> {
        self.gate.run("cache.increment", Repeat::Unsafe, self.inner.increment(bucket, key, delta, ttl)).await
    }

    async fn scan(&self, bucket: &BucketName, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage> {
        self.gate.run("cache.scan", Repeat::Safe, self.inner.scan(bucket, prefix, cursor, limit)).await
    }

    async fn invalidate(&self, bucket: &BucketName, tags: &[Tag]) -> Result<u32> {
        self.gate.run("cache.invalidate", Repeat::Safe, self.inner.invalidate(bucket, tags)).await
    }

    async fn health(&self) -> Result<()> {
        self.gate.probe("cache.health", self.inner.health()).await
    }
}
