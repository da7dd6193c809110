//! Get, set and batches of 100: the bare crate, the cache capability, a plugin.

use super::{Contest, KEYS, VALUE, plugin::Plugin, turn};
use anyhow::{Context, Result};
use bytes::Bytes;
use plinth_backend::cache::{RedisCache, RedisCacheConfig, RedisUrl};
use plinth_capability::{
    cache::{Cache, Write},
    name::{BucketName, CacheKey},
};
use redis::AsyncCommands;
use std::sync::Arc;

/// As the default of a bucket.
const TTL_SECONDS: u64 = 300;

pub(super) async fn contests(url: &str, plugin: &Plugin) -> Result<Vec<Contest>> {
    let bare = redis::Client::open(format!("{url}?protocol=resp3"))?.get_multiplexed_async_connection().await?;
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(|key| format!("bare:key-{key}")).collect());
    for key in keys.iter() {
        let _: () = bare.clone().set_ex(key, VALUE.as_slice(), TTL_SECONDS).await?;
    }
    let config = RedisCacheConfig { urls: vec![RedisUrl::new(url)], key_prefix: "native".to_owned(), ..RedisCacheConfig::default() };
    let native: Arc<dyn Cache> = Arc::new(RedisCache::open(config).await?);
    let bucket = BucketName::new("bench").context("a bucket's name")?;
    let names: Vec<CacheKey> = (0..KEYS).map(|key| CacheKey::new(&format!("key-{key}"))).collect::<Result<_, _>>().context("keys")?;
    let names = Arc::new(names);
    for name in names.iter() {
        native.set(&bucket, name, Bytes::from_static(&VALUE), Write::always(None)).await?;
    }
    Ok(vec![
        get(&bare, &native, &keys, &names, &bucket, plugin),
        set(&bare, &native, &keys, &names, &bucket, plugin),
        batch(&bare, &native, &keys, &names, &bucket, plugin),
    ])
}

type Bare = redis::aio::MultiplexedConnection;
type Native = Arc<dyn Cache>;

fn get(bare: &Bare, native: &Native, keys: &Arc<Vec<String>>, names: &Arc<Vec<CacheKey>>, bucket: &BucketName, plugin: &Plugin) -> Contest {
    let (bare, native, keys, names, bucket) = (bare.clone(), native.clone(), keys.clone(), names.clone(), bucket.clone());
    Contest {
        keys: ["redis_get_bare_rps", "redis_get_native_over_bare", "redis_get_plugin_over_bare"],
        bare: turn(1.0, move |number| {
            let (mut bare, keys) = (bare.clone(), keys.clone());
            async move {
                let found: Option<Vec<u8>> = bare.get(&keys[number % KEYS]).await?;
                found.context("the key is there").map(drop)
            }
        }),
        native: turn(1.0, move |number| {
            let (native, names, bucket) = (native.clone(), names.clone(), bucket.clone());
            async move { native.get(&bucket, &names[number % KEYS]).await?.context("the key is there").map(drop) }
        }),
        plugin: plugin.turn("get", 200, 1.0),
        tidy: None,
    }
}

fn set(bare: &Bare, native: &Native, keys: &Arc<Vec<String>>, names: &Arc<Vec<CacheKey>>, bucket: &BucketName, plugin: &Plugin) -> Contest {
    let (bare, native, keys, names, bucket) = (bare.clone(), native.clone(), keys.clone(), names.clone(), bucket.clone());
    Contest {
        keys: ["redis_set_bare_rps", "redis_set_native_over_bare", "redis_set_plugin_over_bare"],
        bare: turn(1.0, move |number| {
            let (mut bare, keys) = (bare.clone(), keys.clone());
            async move { Ok(bare.set_ex(&keys[number % KEYS], VALUE.as_slice(), TTL_SECONDS).await?) }
        }),
        native: turn(1.0, move |number| {
            let (native, names, bucket) = (native.clone(), names.clone(), bucket.clone());
            async move { Ok(native.set(&bucket, &names[number % KEYS], Bytes::from_static(&VALUE), Write::always(None)).await.map(drop)?) }
        }),
        plugin: plugin.turn("set", 200, 1.0),
        tidy: None,
    }
}

fn batch(
    bare: &Bare,
    native: &Native,
    keys: &Arc<Vec<String>>,
    names: &Arc<Vec<CacheKey>>,
    bucket: &BucketName,
    plugin: &Plugin,
) -> Contest {
    let (bare, native, keys, names, bucket) = (bare.clone(), native.clone(), keys.clone(), names.clone(), bucket.clone());
    Contest {
        keys: ["redis_batch_bare_keys_per_s", "redis_batch_native_over_bare", "redis_batch_plugin_over_bare"],
        bare: turn(KEYS as f64, move |_| {
            let (mut bare, keys) = (bare.clone(), keys.clone());
            async move {
                let found: Vec<Option<Vec<u8>>> = bare.mget(keys.as_slice()).await?;
                found.into_iter().collect::<Option<Vec<_>>>().context("every key is there").map(drop)
            }
        }),
        native: turn(KEYS as f64, move |_| {
            let (native, names, bucket) = (native.clone(), names.clone(), bucket.clone());
            async move {
                let found = native.get_many(&bucket, &names).await?;
                found.into_iter().collect::<Option<Vec<_>>>().context("every key is there").map(drop)
            }
        }),
        plugin: plugin.turn("batch", 10, KEYS as f64),
        tidy: None,
    }
}
