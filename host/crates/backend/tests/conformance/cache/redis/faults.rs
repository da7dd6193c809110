//! What is promised when Redis is away, slow, forbids, or is set up wrongly.

use super::{ask, bucket, config, key, server, subject};
use bytes::Bytes;
use plinth_backend::cache::{RedisCache, RedisCacheConfig, RedisMode, RedisUrl};
use plinth_capability::{
    ErrorKind,
    cache::{BucketLimits, Cache, Condition, Write, WriteOutcome},
    conformance::eventually,
    name::Tag,
};
use plinth_services::{Redis, RedisOptions};
use std::time::{Duration, Instant};

async fn put(cache: &dyn Cache, name: &str, write: Write) -> Result<WriteOutcome, ErrorKind> {
    cache.set(&bucket("test/roomy"), &key(name), Bytes::from("value"), write).await.map_err(|error| error.kind())
}

async fn read(cache: &dyn Cache, name: &str) -> Result<bool, ErrorKind> {
    cache.get(&bucket("test/roomy"), &key(name)).await.map(|entry| entry.is_some()).map_err(|error| error.kind())
}

fn tagged() -> Write {
    Write { tags: vec![Tag::new("tag").unwrap()], ..Write::always(None) }
}

#[tokio::test]
async fn a_killed_server_is_found_again() {
    let server = server().await;
    let s = subject(config(vec![server.url()])).await;
    put(&*s.cache, "a", tagged()).await.unwrap();
    server.kill().await.unwrap();
    assert_eq!(read(&*s.cache, "a").await, Err(ErrorKind::Unavailable));
    let began = Instant::now();
    assert_eq!(put(&*s.cache, "a", tagged()).await, Err(ErrorKind::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(1), "refused at once, not after the time-out");
    assert_eq!(s.cache.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
    server.restart().await.unwrap();
    eventually("the cache is back", async || s.cache.health().await.is_ok()).await;
    assert_eq!(read(&*s.cache, "a").await, Ok(false), "it lived in the memory of the server");
    put(&*s.cache, "a", tagged()).await.expect("a script that the new server does not know");
    assert_eq!(s.cache.invalidate(&s.roomy, &tagged().tags).await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_was_away_from_the_start_is_found() {
    let server = server().await;
    server.kill().await.unwrap();
    let s = subject(config(vec![server.url()])).await;
    assert_eq!(read(&*s.cache, "a").await, Err(ErrorKind::Unavailable));
    server.restart().await.unwrap();
    eventually("the cache is there", async || read(&*s.cache, "a").await == Ok(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_costs_the_response_timeout() {
    let server = server().await;
    let s = subject(RedisCacheConfig { response_timeout_ms: 300, ..config(vec![server.url()]) }).await;
    put(&*s.cache, "a", Write::always(None)).await.unwrap();
    server.pause().unwrap();
    let began = Instant::now();
    let counter = key("n");
    let absent = Write { condition: Condition::IfAbsent, ..Write::always(None) };
    let (first, second, third, fourth) = tokio::join!(
        read(&*s.cache, "a"),
        put(&*s.cache, "b", Write::always(None)),
        put(&*s.cache, "c", absent),
        s.cache.increment(&s.roomy, &counter, 1, None),
    );
    let waited = began.elapsed();
    assert_eq!(first, Err(ErrorKind::Timeout));
    assert_eq!(second, Err(ErrorKind::Timeout), "writing the same again is the same");
    assert_eq!(third, Err(ErrorKind::OutcomeUnknown));
    assert_eq!(fourth.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    server.resume().unwrap();
    eventually("the cache is back", async || read(&*s.cache, "a").await == Ok(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_are_bounded() {
    let server = server().await;
    let s = subject(RedisCacheConfig { in_flight: 1, response_timeout_ms: 400, ..config(vec![server.url()]) }).await;
    server.pause().unwrap();
    let (first, second, third) = tokio::join!(read(&*s.cache, "a"), read(&*s.cache, "a"), read(&*s.cache, "a"));
    let kinds = [first, second, third];
    assert!(kinds.contains(&Err(ErrorKind::Timeout)), "{kinds:?}");
    assert!(kinds.contains(&Err(ErrorKind::Unavailable)), "{kinds:?}");
    server.resume().unwrap();
    eventually("all are served, one after another", async || {
        let (first, second) = tokio::join!(read(&*s.cache, "a"), read(&*s.cache, "a"));
        first.is_ok() && second.is_ok()
    })
    .await;
}

#[tokio::test]
async fn what_the_user_may_not_is_denied() {
    let server = server().await;
    let made = config(vec![server.url().replace("://", "://reader:canary@")]);
    let rule = format!("ACL SETUSER reader on >canary resetchannels ~*{}* +@read +@connection", &made.key_prefix[5..]);
    assert_eq!(ask(&server, &rule).await, redis::Value::Okay);
    assert!(!format!("{made:?}").contains("canary"));
    assert!(!serde_json::to_string(&made).unwrap().contains("canary"));
    let s = subject(made).await;
    s.cache.health().await.unwrap();
    assert_eq!(read(&*s.cache, "a").await, Ok(false));
    assert_eq!(put(&*s.cache, "a", Write::always(None)).await, Err(ErrorKind::Denied));
    assert_eq!(put(&*s.cache, "a", tagged()).await, Err(ErrorKind::Denied));
    let wrong = subject(config(vec![server.url().replace("://", "://reader:other@")])).await;
    let error = wrong.cache.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!format!("{error:?} {error}").contains("other"));
}

#[tokio::test]
async fn the_servers_certificate_is_checked() {
    let server = Redis::start(RedisOptions { tls: true, ..RedisOptions::default() }).await.unwrap();
    let (url, authority) = server.tls_url().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority).unwrap();
    let s = subject(RedisCacheConfig { ca_file: Some(ca), ..config(vec![url.clone()]) }).await;
    s.cache.health().await.unwrap();
    put(&*s.cache, "a", tagged()).await.unwrap();
    let stranger = subject(config(vec![url])).await;
    assert_eq!(stranger.cache.health().await.unwrap_err().kind(), ErrorKind::Unavailable, "nobody vouches for it");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let good = || config(vec!["redis://127.0.0.1:1".to_owned()]);
    let near = || [(bucket("a/b"), plinth_backend::cache::NearConfig::default())].into();
    let limits = |limits| RedisCacheConfig { limits, ..good() };
    for bad in [
        limits(BucketLimits { max_entries: 0, ..BucketLimits::default() }),
        limits(BucketLimits { default_ttl_ms: 0, ..BucketLimits::default() }),
        RedisCacheConfig { urls: vec![], ..good() },
        RedisCacheConfig { urls: vec![RedisUrl::new("http://user:canary@host")], ..good() },
        RedisCacheConfig { key_prefix: "a{b}".to_owned(), ..good() },
        RedisCacheConfig { in_flight: 0, ..good() },
        RedisCacheConfig { response_timeout_ms: 0, ..good() },
        RedisCacheConfig { mode: RedisMode::Sentinel, ..good() },
        RedisCacheConfig { mode: RedisMode::Cluster, near: near(), ..good() },
        RedisCacheConfig { master_name: Some("m".to_owned()), ..good() },
        RedisCacheConfig { ca_file: Some("/does/not/exist".into()), ..good() },
        RedisCacheConfig { password_file: Some("/does/not/exist".into()), ..good() },
    ] {
        let shown = format!("{bad:?}");
        let error = RedisCache::open(bad).await.err().unwrap_or_else(|| unreachable!("accepted: {shown}"));
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{shown}");
        assert!(!format!("{error} {error:?} {shown}").contains("canary"), "{error}");
    }
    assert!(serde_json::from_str::<RedisCacheConfig>(r#"{"max-bucket": 3}"#).is_err(), "unknown keys are refused");
    let read: RedisCacheConfig = serde_json::from_str(r#"{"mode": "cluster", "urls": ["redis://a"], "in-flight": 7}"#).unwrap();
    assert_eq!((read.mode, read.in_flight), (RedisMode::Cluster, 7));
}
