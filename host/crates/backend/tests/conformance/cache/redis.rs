//! The cache in Redis against the suite: one server, a cluster, and with a near cache.

use plinth_backend::cache::{NearConfig, RedisCache, RedisCacheConfig, RedisMode, RedisUrl};
use plinth_capability::{
    conformance::cache::{Subject, small_limits},
    name::{BucketName, CacheKey},
};
use plinth_services::{Redis, RedisCluster, RedisOptions};
use std::sync::Arc;

mod faults;
mod holding;
mod limits;
mod near;
mod sentinel;

/// A private one: they cost milliseconds.
pub(crate) async fn server() -> Redis {
    Redis::start(RedisOptions::default()).await.unwrap()
}

/// What the server answers to one command of a client of its own.
pub(crate) async fn ask(server: &Redis, words: &str) -> redis::Value {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut cmd = redis::Cmd::new();
    words.split(' ').for_each(|word| {
        cmd.arg(word);
    });
    cmd.query_async(&mut connection).await.unwrap()
}

pub(crate) fn bucket(name: &str) -> BucketName {
    BucketName::new(name).unwrap()
}

pub(crate) fn key(name: &str) -> CacheKey {
    CacheKey::new(name).unwrap()
}

/// A prefix of its own, so that tests may share a server.
pub(crate) fn config(urls: Vec<String>) -> RedisCacheConfig {
    RedisCacheConfig {
        urls: urls.into_iter().map(RedisUrl::new).collect(),
        key_prefix: format!("test:{:016x}", rand::random::<u64>()),
        buckets: [(bucket("test/small"), small_limits())].into(),
        // Neighbours keep the machine busy: a test of the answers is not one of their speed.
        response_timeout_ms: 5_000,
        connect_timeout_ms: 5_000,
        ..RedisCacheConfig::default()
    }
}

pub(crate) async fn subject(config: RedisCacheConfig) -> Subject {
    let cache = Arc::new(RedisCache::open(config).await.unwrap());
    Subject { cache, roomy: bucket("test/roomy"), other: bucket("test/other"), small: bucket("test/small") }
}

mod single {
    use super::*;

    plinth_capability::cache_suite!(async {
        let server = server().await;
        let made = subject(config(vec![server.url()])).await;
        held(server, made)
    });
}

mod nearby {
    use super::*;

    plinth_capability::cache_suite!(async {
        let server = server().await;
        let near = ["test/roomy", "test/other", "test/small"].map(|name| (bucket(name), NearConfig::default()));
        let made = subject(RedisCacheConfig { near: near.into(), ..config(vec![server.url()]) }).await;
        held(server, made)
    });
}

mod cluster {
    use super::*;

    plinth_capability::cache_suite!(async {
        let servers = RedisCluster::start().await.unwrap();
        let made = subject(RedisCacheConfig { mode: RedisMode::Cluster, ..config(servers.urls()) }).await;
        held(servers, made)
    });
}

/// The subject, with its servers living as long as the cache.
fn held<S: Send + Sync + 'static>(servers: S, made: Subject) -> Subject {
    Subject { cache: Arc::new(holding::Holding { inner: made.cache, _servers: servers }), ..made }
}
