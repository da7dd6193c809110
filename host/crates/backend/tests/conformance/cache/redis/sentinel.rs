//! A master that dies: the cache follows the sentinels to the next.

use super::{bucket, config, key, subject};
use bytes::Bytes;
use plinth_backend::cache::{RedisCacheConfig, RedisMode};
use plinth_capability::{cache::Write, conformance::eventually};
use plinth_services::RedisSentinel;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_follows_the_master() {
    let servers = RedisSentinel::start().await.unwrap();
    let s = subject(RedisCacheConfig {
        mode: RedisMode::Sentinel,
        master_name: Some(servers.master_name().to_owned()),
        response_timeout_ms: 1_000,
        ..config(servers.sentinel_urls())
    })
    .await;
    let put = async |name: &str| s.cache.set(&bucket("test/roomy"), &key(name), Bytes::from("x"), Write::always(None)).await;
    put("before").await.unwrap();
    let first = servers.kill_master().await.unwrap().url();
    put("during").await.unwrap_err();
    eventually("the next master takes writes", async || put("after").await.is_ok()).await;
    // One sentinel may have told the cache before another tells the test.
    eventually("all sentinels name another", async || servers.master().await.is_ok_and(|master| master.url() != first)).await;
}
