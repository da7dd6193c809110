//! The embedded cache against the suite, a model, and many readers at once.

use async_trait::async_trait;
use bytes::Bytes;
use plinth_backend::cache::{MemoryCache, MemoryCacheConfig, SingleFlight};
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{BucketLimits, Cache, Entry, Expiry, KeyPage, TAGS_MAX, Write, WriteOutcome},
    conformance::cache::{Subject, small_limits},
    name::{BucketName, CacheKey, Tag},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Barrier, task::JoinSet};

mod model;
mod redis;

fn bucket(name: &str) -> BucketName {
    BucketName::new(name).unwrap()
}

fn key(name: &str) -> CacheKey {
    CacheKey::new(name).unwrap()
}

fn memory() -> Subject {
    let config = MemoryCacheConfig { buckets: [(bucket("test/small"), small_limits())].into(), ..MemoryCacheConfig::default() };
    let cache = Arc::new(MemoryCache::new(config).unwrap());
    Subject { cache, roomy: bucket("test/roomy"), other: bucket("test/other"), small: bucket("test/small") }
}

plinth_capability::cache_suite!(async { memory() });

#[tokio::test]
async fn health_is_ok() {
    memory().cache.health().await.unwrap();
}

#[test]
fn limits_that_keep_nothing_are_refused() {
    for limits in [
        BucketLimits { default_ttl_ms: 0, ..BucketLimits::default() },
        BucketLimits { max_entries: 0, ..BucketLimits::default() },
        BucketLimits { max_bytes: 0, ..BucketLimits::default() },
    ] {
        let config = MemoryCacheConfig { buckets: [(bucket("test/a"), limits)].into(), ..MemoryCacheConfig::default() };
        assert_eq!(MemoryCache::new(config).err().map(|error| error.kind()), Some(ErrorKind::InvalidInput));
    }
    assert!(serde_json::from_str::<MemoryCacheConfig>(r#"{"max-bucket": 3}"#).is_err(), "unknown keys are refused");
}

#[tokio::test]
async fn buckets_tags_and_bytes_are_bounded() {
    let limits = BucketLimits { max_bytes: 10_000, ..BucketLimits::default() };
    let cache = MemoryCache::new(MemoryCacheConfig { limits, max_buckets: 2, ..MemoryCacheConfig::default() }).unwrap();
    let set = async |name: &str, i: usize, bytes: usize, tags: usize| {
        let tags = (0..tags).map(|i| Tag::new(&format!("t{i}")).unwrap()).collect();
        let write = Write { tags, ..Write::always(None) };
        cache.set(&bucket(name), &key(&format!("{i:03}")), Bytes::from(vec![0; bytes]), write).await.map_err(|error| error.kind())
    };
    for i in 0..100 {
        set("a/a", i, 997, 0).await.unwrap();
    }
    assert_eq!(cache.scan(&bucket("a/a"), "", None, 1_000).await.unwrap().keys.len(), 10, "ten entries of 1,000 bytes fit");
    assert_eq!(set("a/a", 0, 9_998, 0).await, Err(ErrorKind::LimitExceeded), "an entry larger than its bucket");
    set("a/b", 0, 1, TAGS_MAX).await.unwrap();
    assert_eq!(set("a/b", 0, 1, TAGS_MAX + 1).await, Err(ErrorKind::LimitExceeded));
    assert_eq!(set("a/c", 0, 1, 0).await, Err(ErrorKind::LimitExceeded), "a third bucket");
    assert_eq!(cache.get(&bucket("a/c"), &key("000")).await.unwrap(), None, "reading makes no bucket");
}

#[tokio::test]
async fn a_fresh_entry_is_not_the_one_evicted() {
    let Subject { cache, small, .. } = memory();
    for i in 0..200 {
        let name = key(&format!("k{i}"));
        let outcome = cache.set(&small, &name, Bytes::from("lock"), Write::always(Some(Duration::from_secs(60)))).await.unwrap();
        assert!(matches!(outcome, WriteOutcome::Stored(_)));
        cache.scan(&small, "", None, 1).await.unwrap();
        assert!(cache.get(&small, &name).await.unwrap().is_some(), "{i} was there a moment ago");
    }
}

/// Loads that count themselves and wait until they are let through.
struct Loads {
    begun: AtomicU32,
    gate: Barrier,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_cost_one_load() {
    let (flights, subject, loads) = (Arc::new(SingleFlight::new()), memory(), Arc::new(AtomicU32::new(0)));
    let start = Arc::new(Barrier::new(100));
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        let (flights, s, loads, start) = (Arc::clone(&flights), subject.clone(), Arc::clone(&loads), Arc::clone(&start));
        readers.spawn(async move {
            start.wait().await;
            let load = || async {
                tokio::task::yield_now().await;
                Ok(Bytes::from(format!("load {}", loads.fetch_add(1, Ordering::SeqCst))))
            };
            flights.get_or_refresh(&*s.cache, &s.roomy, &key("a"), None, load).await.unwrap()
        });
    }
    assert!(readers.join_all().await.iter().all(|value| value == "load 0"));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_error_is_shared_and_not_cached() {
    let (flights, s) = (SingleFlight::new(), memory());
    let loads = Loads { begun: AtomicU32::new(0), gate: Barrier::new(2) };
    let name = s_key();
    let failing = || {
        flights.get_or_refresh(&*s.cache, &s.roomy, &name, None, || async {
            loads.begun.fetch_add(1, Ordering::SeqCst);
            loads.gate.wait().await;
            Err(Error::new(ErrorKind::Unavailable, "database.query", "away"))
        })
    };
    let (first, second, _) = tokio::join!(failing(), failing(), loads.gate.wait());
    assert_eq!([first, second].map(|answer| answer.unwrap_err().kind()), [ErrorKind::Unavailable; 2]);
    assert_eq!(loads.begun.load(Ordering::SeqCst), 1);
    let fine = flights.get_or_refresh(&*s.cache, &s.roomy, &s_key(), None, || async { Ok(Bytes::from("back")) }).await;
    assert_eq!(fine.unwrap(), "back");
}

fn s_key() -> CacheKey {
    key("a")
}

#[tokio::test]
async fn a_dropped_loader_leaves_the_load_to_the_next() {
    let (flights, s) = (SingleFlight::new(), memory());
    let name = s_key();
    let stuck = flights.get_or_refresh(&*s.cache, &s.roomy, &name, None, std::future::pending);
    let waiting = flights.get_or_refresh(&*s.cache, &s.roomy, &name, None, || async { Ok(Bytes::from("loaded")) });
    let mut stuck = Box::pin(stuck);
    let mut waiting = Box::pin(waiting);
    assert!(futures::poll!(&mut stuck).is_pending());
    assert!(futures::poll!(&mut waiting).is_pending(), "one loads, the other waits");
    drop(stuck);
    assert_eq!(waiting.await.unwrap(), "loaded");
}

/// A cache that is never there.
struct Away;

#[async_trait]
impl Cache for Away {
    async fn get(&self, _: &BucketName, _: &CacheKey) -> Result<Option<Entry>> {
        Err(away())
    }
    async fn get_many(&self, _: &BucketName, _: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        Err(away())
    }
    async fn set(&self, _: &BucketName, _: &CacheKey, _: Bytes, _: Write) -> Result<WriteOutcome> {
        Err(away())
    }
    async fn set_many(&self, _: &BucketName, _: Vec<(CacheKey, Bytes)>, _: Option<Duration>) -> Result<()> {
        Err(away())
    }
    async fn delete_many(&self, _: &BucketName, _: &[CacheKey]) -> Result<u32> {
        Err(away())
    }
    async fn touch(&self, _: &BucketName, _: &CacheKey, _: Duration) -> Result<bool> {
        Err(away())
    }
    async fn expiry(&self, _: &BucketName, _: &CacheKey) -> Result<Expiry> {
        Err(away())
    }
    async fn increment(&self, _: &BucketName, _: &CacheKey, _: i64, _: Option<Duration>) -> Result<i64> {
        Err(away())
    }
    async fn scan(&self, _: &BucketName, _: &str, _: Option<&str>, _: u32) -> Result<KeyPage> {
        Err(away())
    }
    async fn invalidate(&self, _: &BucketName, _: &[Tag]) -> Result<u32> {
        Err(away())
    }
    async fn health(&self) -> Result<()> {
        Err(away())
    }
}

fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "cache", "away")
}

#[tokio::test]
async fn an_unreachable_cache_costs_loads_not_answers() {
    let flights = SingleFlight::new();
    let answer = flights.get_or_refresh(&Away, &bucket("a/b"), &s_key(), None, || async { Ok(Bytes::from("loaded")) }).await;
    assert_eq!(answer.unwrap(), "loaded");
}
