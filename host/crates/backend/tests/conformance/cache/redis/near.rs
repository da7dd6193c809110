//! How old a read from the near cache can be, and what it costs Redis.

use super::{ask, bucket, config, key, server, subject};
use bytes::Bytes;
use plinth_backend::cache::{NearConfig, RedisCacheConfig, RedisUrl};
use plinth_capability::{
    ErrorKind,
    cache::Write,
    conformance::{cache::Subject, eventually},
};
use plinth_services::{Fault, FaultProxy, Redis};
use std::time::{Duration, Instant};

/// One with a near cache, one without, over the same keys.
async fn pair(server: &Redis, max_staleness_ms: u32) -> (Subject, Subject) {
    let plain = RedisCacheConfig { response_timeout_ms: 1_000, ..config(vec![server.url()]) };
    let near = [(bucket("test/roomy"), NearConfig { max_staleness_ms, ..NearConfig::default() })].into();
    (subject(RedisCacheConfig { near, ..plain.clone() }).await, subject(plain).await)
}

async fn put(s: &Subject, value: &str) {
    s.cache.set(&s.roomy, &key("a"), Bytes::from(value.to_owned()), Write::always(Some(Duration::from_secs(60)))).await.unwrap();
}

async fn read(s: &Subject) -> Result<Option<String>, ErrorKind> {
    let entry = s.cache.get(&s.roomy, &key("a")).await.map_err(|error| error.kind())?;
    Ok(entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap()))
}

async fn gets(server: &Redis) -> u64 {
    let stats: String = redis::from_redis_value(ask(server, "INFO commandstats").await).unwrap();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_near_costs_redis_nothing_and_others_writes_are_seen() {
    let server = server().await;
    let (near, other) = pair(&server, 60_000).await;
    put(&near, "0").await;
    eventually("it is kept nearby", async || {
        let before = gets(&server).await;
        assert_eq!(read(&near).await, Ok(Some("0".to_owned())));
        gets(&server).await == before
    })
    .await;
    for round in 1..50 {
        let value = round.to_string();
        put(&other, &value).await;
        // The bound is a minute here: only the invalidation makes it seen before.
        eventually("what another wrote is read", async || read(&near).await == Ok(Some(value.clone()))).await;
        let own = format!("own {round}");
        put(&near, &own).await;
        assert_eq!(read(&near).await, Ok(Some(own)), "an own write is read at once");
    }
    ask(&server, "FLUSHALL").await;
    eventually("a flush is seen", async || read(&near).await == Ok(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_nearby_when_invalidations_are_cut_off() {
    let server = server().await;
    let (near, other) = pair(&server, 60_000).await;
    put(&near, "old").await;
    read(&near).await.unwrap();
    for round in 0..10 {
        ask(&server, "CLIENT KILL TYPE normal SKIPME yes").await;
        let value = format!("new {round}");
        eventually("the other is back", async || other.cache.health().await.is_ok()).await;
        put(&other, &value).await;
        eventually("what was written meanwhile is read", async || read(&near).await == Ok(Some(value.clone()))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_invalidations_do_not_make_reads_older_than_the_bound() {
    let server = server().await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into(), 7).await.unwrap();
    let bound = Duration::from_millis(700);
    let plain = RedisCacheConfig { response_timeout_ms: 500, ..config(vec![server.url()]) };
    let other = subject(plain.clone()).await;
    let through = vec![RedisUrl::new(format!("redis://{}", proxy.address()))];
    let kept = [(bucket("test/roomy"), NearConfig { max_staleness_ms: 700, ..NearConfig::default() })].into();
    let near = subject(RedisCacheConfig { urls: through, near: kept, ..plain }).await;
    put(&other, "old").await;
    eventually("it is kept nearby", async || {
        let before = gets(&server).await;
        read(&near).await.unwrap();
        gets(&server).await == before
    })
    .await;
    proxy.set(Fault::BlackHole);
    put(&other, "new").await;
    let overwritten = Instant::now();
    while let Ok(value) = read(&near).await {
        assert_eq!(value.as_deref(), Some("old"), "nothing else can arrive");
        let age = overwritten.elapsed();
        assert!(age < bound + Duration::from_millis(100), "read from nearby after {age:?}");
        tokio::task::yield_now().await;
    }
    proxy.set(Fault::Pass);
    eventually("it reads what is there", async || read(&near).await == Ok(Some("new".to_owned()))).await;
}
