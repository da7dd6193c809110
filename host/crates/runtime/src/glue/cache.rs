//! Glue for `plinth:cache`: buckets and tags.

use super::{invalid, wit_error};
use crate::{
    bindings::plinth::cache::{
        buckets,
        cache_types::{self, Expiry as WitExpiry, KeyPage, SwapOutcome, Versioned},
        tags,
    },
    choke::Operation,
    manifest::GrantedAccess,
    state::CallState,
};
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{BATCH_MAX, Condition, Entry, Expiry, TAGS_MAX, Version, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use std::time::Duration;
use wasmtime::component::Resource;

/// A bucket this plugin was granted: the grant is checked when it is opened.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Bucket {
    name: BucketName,
    access: GrantedAccess,
}

type Answer<T> = wasmtime::Result<std::result::Result<T, cache_types::Error>>;

const OPEN: Operation = Operation::new("cache", "open");
const GET: Operation = Operation::new("cache", "get");
const SET: Operation = Operation::new("cache", "set");
const DELETE: Operation = Operation::new("cache", "delete");
const TOUCH: Operation = Operation::new("cache", "touch");
const INCREMENT: Operation = Operation::new("cache", "increment");
pub(super) const SWAP: Operation = Operation::new("cache", "swap");
const SCAN: Operation = Operation::new("cache", "scan");
const INVALIDATE: Operation = Operation::new("cache", "invalidate");

pub(super) fn wit(error: Error) -> cache_types::Error {
    wit_error!(crate::bindings::plinth::cache::cache_types, error;
        Kind::NotFound => |e: &Error| types::Error::NoSuchCache(e.message().to_owned()),
        Kind::WrongType => |e: &Error| types::Error::WrongType(e.message().to_owned()),
    )
}

impl Bucket {
    fn writable(&self) -> Result<&BucketName> {
        match self.access {
            GrantedAccess::ReadWrite => Ok(&self.name),
            GrantedAccess::ReadOnly => Err(Error::new(ErrorKind::Denied, "cache.set", "this grant is read-only")),
        }
    }
}

fn ttl(ms: Option<u32>) -> Result<Option<Duration>> {
    match ms {
        Some(0) => Err(invalid("cache.set", "a ttl of 0 is not a lifetime")),
        ms => Ok(ms.map(|ms| Duration::from_millis(ms.into()))),
    }
}

fn keys(texts: &[String]) -> Result<Vec<CacheKey>> {
    if texts.len() > BATCH_MAX {
        return Err(Error::new(ErrorKind::LimitExceeded, "cache.batch", format!("at most {BATCH_MAX} keys in one call")));
    }
    texts.iter().map(|text| CacheKey::new(text)).collect()
}

fn versioned(entry: Entry) -> Versioned {
    Versioned { value: entry.value.into(), version: entry.version.0 }
}

impl CallState {
    pub(super) fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<Bucket> {
        Ok(self.table.get(bucket)?.clone())
    }

    /// One write under a condition; every writing function is this one.
    pub(super) async fn write(
        &mut self,
        op: Operation,
        bucket: Bucket,
        key: String,
        value: Vec<u8>,
        write: Result<Write>,
    ) -> Answer<WriteOutcome> {
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.set(bucket.writable()?, &CacheKey::new(&key)?, Bytes::from(value), write?).await };
        Ok(self.choke(op, work).await?.map_err(wit))
    }
}

impl cache_types::Host for CallState {}
impl buckets::Host for CallState {}

impl buckets::HostBucket for CallState {
    async fn open(&mut self, name: String) -> Answer<Resource<Bucket>> {
        self.choke_local(OPEN)?;
        let opened = self.version.grants.bucket(&name).map(|(name, access)| Bucket { name: name.clone(), access: *access });
        Ok(opened.and_then(|bucket| self.keep("cache.open", bucket)).map_err(wit))
    }

    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.get(&bucket.name, &CacheKey::new(&key)?).await };
        Ok(self.choke(GET, work).await?.map(|entry| entry.map(|e| e.value.into())).map_err(wit))
    }

    async fn get_many(&mut self, bucket: Resource<Bucket>, texts: Vec<String>) -> Answer<Vec<Option<Vec<u8>>>> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.get_many(&bucket.name, &keys(&texts)?).await };
        let entries = self.choke(GET, work).await?;
        Ok(entries.map(|list| list.into_iter().map(|entry| entry.map(|e| e.value.into())).collect()).map_err(wit))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>, ttl_ms: Option<u32>) -> Answer<()> {
        let write = ttl(ttl_ms).map(Write::always);
        Ok(self.write(SET, self.bucket(&bucket)?, key, value, write).await?.map(|_| ()))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>, ttl_ms: Option<u32>) -> Answer<()> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move {
            let (texts, values): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
            let entries = keys(&texts)?.into_iter().zip(values.into_iter().map(Bytes::from)).collect();
            cache.set_many(bucket.writable()?, entries, ttl(ttl_ms)?).await
        };
        Ok(self.choke(SET, work).await?.map_err(wit))
    }

    async fn set_if_absent(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>, ttl_ms: Option<u32>) -> Answer<bool> {
        let write = ttl(ttl_ms).map(|ttl| Write { ttl, condition: Condition::IfAbsent, tags: Vec::new() });
        Ok(self.write(SET, self.bucket(&bucket)?, key, value, write).await?.map(|outcome| matches!(outcome, WriteOutcome::Stored(_))))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        Ok(buckets::HostBucket::delete_many(self, bucket, vec![key]).await?.map(|count| count > 0))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, texts: Vec<String>) -> Answer<u32> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.delete_many(bucket.writable()?, &keys(&texts)?).await };
        Ok(self.choke(DELETE, work).await?.map_err(wit))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        Ok(buckets::HostBucket::expiry(self, bucket, key).await?.map(|expiry| !matches!(expiry, WitExpiry::NoSuchKey)))
    }

    async fn touch(&mut self, bucket: Resource<Bucket>, key: String, ttl_ms: u32) -> Answer<bool> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move {
            let ttl = ttl(Some(ttl_ms))?.unwrap_or_default();
            cache.touch(bucket.writable()?, &CacheKey::new(&key)?, ttl).await
        };
        Ok(self.choke(TOUCH, work).await?.map_err(wit))
    }

    async fn expiry(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<WitExpiry> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.expiry(&bucket.name, &CacheKey::new(&key)?).await };
        let expiry = self.choke(GET, work).await?.map(|expiry| match expiry {
            Expiry::NoSuchKey => WitExpiry::NoSuchKey,
            Expiry::Never => WitExpiry::Never,
            Expiry::In(left) => WitExpiry::InMs(u32::try_from(left.as_millis()).unwrap_or(u32::MAX)),
        });
        Ok(expiry.map_err(wit))
    }

    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64, ttl_ms: Option<u32>) -> Answer<i64> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.increment(bucket.writable()?, &CacheKey::new(&key)?, delta, ttl(ttl_ms)?).await };
        Ok(self.choke(INCREMENT, work).await?.map_err(wit))
    }

    async fn get_versioned(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Versioned>> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.get(&bucket.name, &CacheKey::new(&key)?).await };
        Ok(self.choke(GET, work).await?.map(|entry| entry.map(versioned)).map_err(wit))
    }

    async fn swap(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
        expected: Option<String>,
        ttl_ms: Option<u32>,
    ) -> Answer<SwapOutcome> {
        let condition = Condition::IfVersion(expected.map(Version));
        let write = ttl(ttl_ms).map(|ttl| Write { ttl, condition, tags: Vec::new() });
        Ok(self.write(SWAP, self.bucket(&bucket)?, key, value, write).await?.map(|outcome| match outcome {
            WriteOutcome::Stored(version) => SwapOutcome::Stored(version.0),
            WriteOutcome::Conflict(current) => SwapOutcome::Conflict(current.map(versioned)),
        }))
    }

    async fn scan(&mut self, bucket: Resource<Bucket>, prefix: String, cursor: Option<String>, limit: u32) -> Answer<KeyPage> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.scan(&bucket.name, &prefix, cursor.as_deref(), limit).await };
        Ok(self.choke(SCAN, work).await?.map(|page| KeyPage { keys: page.keys, next: page.next }).map_err(wit))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

fn checked_tags(texts: &[String]) -> Result<Vec<Tag>> {
    if texts.len() > TAGS_MAX {
        return Err(Error::new(ErrorKind::LimitExceeded, "cache.tags", format!("at most {TAGS_MAX} tags")));
    }
    texts.iter().map(|text| Tag::new(text)).collect()
}

impl tags::Host for CallState {
    async fn set_tagged(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u32>,
        tags: Vec<String>,
    ) -> Answer<()> {
        let write = ttl(ttl_ms).and_then(|ttl| Ok(Write { ttl, condition: Condition::Always, tags: checked_tags(&tags)? }));
        Ok(self.write(SET, self.bucket(&bucket)?, key, value, write).await?.map(|_| ()))
    }

    async fn invalidate(&mut self, bucket: Resource<Bucket>, tags: Vec<String>) -> Answer<u32> {
        let bucket = self.bucket(&bucket)?;
        let cache = self.capabilities.cache.clone();
        let work = async move { cache.invalidate(bucket.writable()?, &checked_tags(&tags)?).await };
        Ok(self.choke(INVALIDATE, work).await?.map_err(wit))
    }
}
