//! A cache together with what it needs to live.

use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Result,
    cache::{Cache, Entry, Expiry, KeyPage, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use std::{sync::Arc, time::Duration};

pub(crate) struct Holding<S> {
    pub(crate) inner: Arc<dyn Cache>,
    pub(crate) _servers: S,
}

#[async_trait]
impl<S: Send + Sync> Cache for Holding<S> {
    async fn get(&self, bucket: &BucketName, key: &CacheKey) -> Result<Option<Entry>> {
        self.inner.get(bucket, key).await
    }
    async fn get_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.inner.get_many(bucket, keys).await
    }
    async fn set(&self, bucket: &BucketName, key: &CacheKey, value: Bytes, write: Write) -> Result<WriteOutcome> {
        self.inner.set(bucket, key, value, write).await
    }
    async fn set_many(&self, bucket: &BucketName, entries: Vec<(CacheKey, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        self.inner.set_many(bucket, entries, ttl).await
    }
    async fn delete_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<u32> {
        self.inner.delete_many(bucket, keys).await
    }
    async fn touch(&self, bucket: &BucketName, key: &CacheKey, ttl: Duration) -> Result<bool> {
        self.inner.touch(bucket, key, ttl).await
    }
    async fn expiry(&self, bucket: &BucketName, key: &CacheKey) -> Result<Expiry> {
        self.inner.expiry(bucket, key).await
    }
    async fn increment(&self, bucket: &BucketName, key: &CacheKey, delta: i64, ttl: Option<Duration>) -> Result<i64> {
        self.inner.increment(bucket, key, delta, ttl).await
    }
    async fn scan(&self, bucket: &BucketName, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage> {
        self.inner.scan(bucket, prefix, cursor, limit).await
    }
    async fn invalidate(&self, bucket: &BucketName, tags: &[Tag]) -> Result<u32> {
        self.inner.invalidate(bucket, tags).await
    }
    async fn health(&self) -> Result<()> {
        self.inner.health().await
    }
}
