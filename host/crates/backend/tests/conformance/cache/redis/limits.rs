//! What the books of a bucket keep, beyond the suite.

use super::{ask, bucket, config, key, server, subject};
use bytes::Bytes;
use plinth_backend::cache::RedisCacheConfig;
use plinth_capability::{
    ErrorKind,
    cache::{BucketLimits, Cache, TAGS_MAX, Write},
    conformance::{cache::Subject, eventually},
    name::Tag,
};
use std::time::Duration;

async fn set(cache: &dyn Cache, name: &str, i: usize, bytes: usize, tags: usize) -> Result<(), ErrorKind> {
    let tags = (0..tags).map(|i| Tag::new(&format!("t{i}")).unwrap()).collect();
    let write = Write { tags, ..Write::always(Some(Duration::from_secs(60))) };
    let set = cache.set(&bucket(name), &key(&format!("{i:03}")), Bytes::from(vec![0; bytes]), write).await;
    set.map(drop).map_err(|error| error.kind())
}

async fn count(cache: &dyn Cache, name: &str) -> usize {
    cache.scan(&bucket(name), "", None, 1_000).await.unwrap().keys.len()
}

#[tokio::test]
async fn buckets_tags_and_bytes_are_bounded() {
    let server = server().await;
    let limits = BucketLimits { max_bytes: 10_000, ..BucketLimits::default() };
    let Subject { cache, .. } = subject(RedisCacheConfig { limits, max_buckets: 2, ..config(vec![server.url()]) }).await;
    for i in 0..100 {
        set(&*cache, "a/a", i, 997, 0).await.unwrap();
    }
    eventually("ten entries of 1,000 bytes are kept", async || count(&*cache, "a/a").await == 10).await;
    assert!(cache.get(&bucket("a/a"), &key("099")).await.unwrap().is_some(), "the newest is not the one evicted");
    assert_eq!(set(&*cache, "a/a", 0, 9_998, 0).await, Err(ErrorKind::LimitExceeded), "an entry larger than its bucket");
    set(&*cache, "a/b", 0, 1, TAGS_MAX).await.unwrap();
    assert_eq!(set(&*cache, "a/b", 0, 1, TAGS_MAX + 1).await, Err(ErrorKind::LimitExceeded));
    assert_eq!(set(&*cache, "a/c", 0, 1, 0).await, Err(ErrorKind::LimitExceeded), "a third bucket");
}

/// Entries that are gone, in whichever way, make room: the books forget them.
#[tokio::test]
async fn what_is_gone_does_not_count() {
    let server = server().await;
    let limits = BucketLimits { max_entries: 10, ..BucketLimits::default() };
    let made = RedisCacheConfig { limits, ..config(vec![server.url()]) };
    let sizes = format!("{{{}:a/a}}s", made.key_prefix);
    let Subject { cache, .. } = subject(made).await;
    for i in 0..5 {
        set(&*cache, "a/a", i, 3, 1).await.unwrap();
    }
    let counted = async |bytes: &str| {
        let sum = ask(&server, &format!("HGET {sizes} ")).await;
        matches!(sum, redis::Value::BulkString(sum) if sum == bytes.as_bytes())
    };
    // Three bytes of value, three of key, two of tag.
    eventually("what was written is counted", async || counted("50").await).await;
    cache.delete_many(&bucket("a/a"), &[key("000")]).await.unwrap();
    eventually("what was deleted is not", async || counted("40").await).await;
    cache.invalidate(&bucket("a/a"), &[Tag::new("t0").unwrap()]).await.unwrap();
    eventually("the books of an empty bucket are gone", async || ask(&server, &format!("EXISTS {sizes}")).await == redis::Value::Int(0))
        .await;
    for i in 0..10 {
        set(&*cache, "a/a", i, 1, 0).await.unwrap();
    }
    assert_eq!(count(&*cache, "a/a").await, 10, "there is room for all again");
}
