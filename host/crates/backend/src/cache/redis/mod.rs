//! The cache in Redis: shared by hosts, as safe as Redis keeps it, bounded like the embedded one.
//!
//! Needs Redis 7. All keys of a bucket share one hash tag, so on a cluster a
//! bucket is on one node and scripts may use several of its keys. The driver
//! repeats nothing but what a cluster redirected, which did nothing.

mod books;
mod bucket;
mod config;
mod connect;
mod entry;
mod error;
mod link;
mod near;
mod read;
mod scan;
mod script;
mod write;

pub use config::{NearConfig, RedisCacheConfig, RedisMode, RedisUrl};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bucket::Bucket;
use bytes::Bytes;
use connect::Connector;
use error::Call;
use link::{Link, Nobody};
use near::{Near, Tracked};
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{BATCH_MAX, Cache, Entry, Expiry, KeyPage, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc::Sender, task::JoinSet};

/// Shared by every host with the same servers and key prefix, and kept as long
/// as Redis keeps it. Versions are numbers that no write repeats, made by the
/// writing host. Evicts the entries that were written longest ago; limits are
/// kept a moment after a write (see the operators' page on Redis).
///
/// # Cancel safety
///
/// A dropped call may still be executed by the server, as a whole.
pub struct RedisCache {
    config: RedisCacheConfig,
    link: Arc<Link>,
    programs: Arc<script::Programs>,
    stamps: entry::Stamps,
    /// Grows at the first use of a bucket; readers take no lock.
    buckets: ArcSwap<HashMap<BucketName, Arc<Bucket>>>,
    near: BTreeMap<BucketName, Arc<Near>>,
    soiled: Sender<Arc<Bucket>>,
    /// Hears of invalidations while the cache lives.
    _tracking: Option<Link>,
    /// Ends with the cache.
    _books: JoinSet<()>,
}

impl RedisCache {
    /// Refuses settings that cannot work as `InvalidInput`. A server that is
    /// away is no error: [`Cache::health`] says so, and it is tried for ever.
    pub async fn open(config: RedisCacheConfig) -> Result<Self> {
        config.check()?;
        let connector = Connector::new(config.target()?).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "cache.configure", "the settings of the connection to redis are wrong").with_source(error)
        })?;
        let connector = Arc::new(connector);
        let near: BTreeMap<_, _> = config.near.iter().map(|(name, near)| (name.clone(), Arc::new(Near::new(near)))).collect();
        let link = Arc::new(Link::start(Arc::clone(&connector), config.in_flight, Arc::new(Nobody)).await);
        let mut tracking = None;
        if !near.is_empty() {
            let prefixes = near.iter().map(|(name, near)| (Bucket::base(&config.key_prefix, name), Arc::clone(near))).collect();
            tracking = Some(Link::start(connector, 1, Arc::new(Tracked(prefixes))).await);
        }
        let programs = Arc::new(script::Programs::new());
        let (soiled, soil) = books::queue(config.max_buckets);
        let mut books = JoinSet::new();
        books.spawn(books::keep(soil, Arc::clone(&link), Arc::clone(&programs)));
        let stamps = entry::Stamps::new();
        Ok(Self { config, link, programs, stamps, buckets: ArcSwap::default(), near, soiled, _tracking: tracking, _books: books })
    }

    fn bucket(&self, operation: &'static str, name: &BucketName) -> Result<Arc<Bucket>> {
        if let Some(bucket) = self.buckets.load().get(name) {
            return Ok(Arc::clone(bucket));
        }
        let limits = self.config.buckets.get(name).unwrap_or(&self.config.limits).clone();
        let new = Arc::new(Bucket::new(&self.config.key_prefix, name, limits, self.near.get(name).cloned()));
        self.buckets.rcu(|buckets| match buckets.contains_key(name) || buckets.len() >= self.config.max_buckets {
            true => Arc::clone(buckets),
            false => {
                let mut buckets = HashMap::clone(buckets);
                buckets.insert(name.clone(), Arc::clone(&new));
                Arc::new(buckets)
            }
        });
        self.buckets.load().get(name).cloned().ok_or_else(|| {
            let message = format!("there are {} buckets already", self.config.max_buckets);
            Error::new(ErrorKind::LimitExceeded, operation, message)
        })
    }

    /// The key may have changed: its size counts anew, and it is not read from nearby.
    fn soil(&self, bucket: &Arc<Bucket>, key: &CacheKey) {
        if let Some(near) = &bucket.near {
            near.forget(key.as_str());
        }
        if bucket.soil(key) {
            // Full is only possible when the bucket is in the queue already.
            _ = self.soiled.try_send(Arc::clone(bucket));
        }
    }
}

fn bounded(operation: &'static str, count: usize) -> Result<()> {
    if count > BATCH_MAX {
        return Err(Error::new(ErrorKind::LimitExceeded, operation, format!("{count} in one call, at most {BATCH_MAX}")));
    }
    Ok(())
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, bucket: &BucketName, key: &CacheKey) -> Result<Option<Entry>> {
        self.read_one(bucket, key).await
    }

    async fn get_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        self.read_many(bucket, keys).await
    }

    async fn set(&self, bucket: &BucketName, key: &CacheKey, value: Bytes, write: Write) -> Result<WriteOutcome> {
        self.write_one(bucket, key, value, write).await
    }

    async fn set_many(&self, bucket: &BucketName, entries: Vec<(CacheKey, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        self.write_many(bucket, entries, ttl).await
    }

    async fn delete_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<u32> {
        self.remove(bucket, keys).await
    }

    async fn touch(&self, bucket: &BucketName, key: &CacheKey, ttl: Duration) -> Result<bool> {
        self.prolong(bucket, key, ttl).await
    }

    async fn expiry(&self, bucket: &BucketName, key: &CacheKey) -> Result<Expiry> {
        self.left(bucket, key).await
    }

    async fn increment(&self, bucket: &BucketName, key: &CacheKey, delta: i64, ttl: Option<Duration>) -> Result<i64> {
        self.add(bucket, key, delta, ttl).await
    }

    async fn scan(&self, bucket: &BucketName, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage> {
        let bucket = self.bucket("cache.scan", bucket)?;
        scan::page(&self.link, &bucket, prefix, cursor, limit).await
    }

    async fn invalidate(&self, bucket: &BucketName, tags: &[Tag]) -> Result<u32> {
        self.drop_tagged(bucket, tags).await
    }

    /// Asks the server, or every master of the cluster.
    async fn health(&self) -> Result<()> {
        const CALL: Call = Call::again("cache.health");
        self.link.state(CALL)?;
        self.link.query(CALL, &redis::cmd("PING")).await.map(drop)
    }
}
