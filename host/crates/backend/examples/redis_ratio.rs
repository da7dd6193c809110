//! What `RedisCache` costs over the bare crate: `redis_ratio redis://…`, ratios of rates, rounds interleaved.
#![expect(clippy::print_stdout, reason = "an example prints")]

use bytes::Bytes;
use plinth_backend::cache::{RedisCache, RedisCacheConfig, RedisUrl};
use plinth_capability::{
    cache::{Cache, Write},
    name::{BucketName, CacheKey},
};
use redis::aio::MultiplexedConnection;
use std::{
    error::Error,
    time::{Duration, Instant},
};

const ROUNDS: usize = 20;
const BATCH: usize = 100;

struct Sides {
    cache: RedisCache,
    bare: MultiplexedConnection,
    bucket: BucketName,
    keys: Vec<CacheKey>,
    names: Vec<String>,
    value: Bytes,
}

#[derive(Clone, Copy)]
enum Operation {
    Get,
    Set,
    GetMany,
    SetMany,
}

impl Sides {
    async fn ours(&self, operation: Operation, i: usize) -> Result<(), Box<dyn Error>> {
        let one = self.keys.get(i % BATCH).ok_or("no key")?;
        match operation {
            Operation::Get => drop(self.cache.get(&self.bucket, one).await?),
            Operation::Set => drop(self.cache.set(&self.bucket, one, self.value.clone(), Write::always(None)).await?),
            Operation::GetMany => drop(self.cache.get_many(&self.bucket, &self.keys).await?),
            Operation::SetMany => {
                let entries = self.keys.iter().map(|key| (key.clone(), self.value.clone())).collect();
                self.cache.set_many(&self.bucket, entries, None).await?;
            }
        }
        Ok(())
    }

    async fn bare(&self, operation: Operation, i: usize) -> Result<(), Box<dyn Error>> {
        let mut connection = self.bare.clone();
        let one = self.names.get(i % BATCH).ok_or("no key")?;
        let set = |name: &String| {
            let mut cmd = redis::cmd("SET");
            cmd.arg(name).arg(&self.value[..]).arg("PX").arg(300_000);
            cmd
        };
        match operation {
            Operation::Get => drop(redis::cmd("GET").arg(one).query_async::<Option<Vec<u8>>>(&mut connection).await?),
            Operation::Set => set(one).query_async::<()>(&mut connection).await?,
            Operation::GetMany => drop(redis::cmd("MGET").arg(&self.names).query_async::<Vec<Option<Vec<u8>>>>(&mut connection).await?),
            Operation::SetMany => {
                let mut pipeline = redis::Pipeline::with_capacity(BATCH);
                for name in &self.names {
                    pipeline.add_command(set(name)).ignore();
                }
                pipeline.query_async::<()>(&mut connection).await?;
            }
        }
        Ok(())
    }

    /// The median of both sides' times for `count` calls, one after another.
    async fn ratio(&self, operation: Operation, count: usize) -> Result<f64, Box<dyn Error>> {
        let mut times = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            for side in [round % 2, (round + 1) % 2] {
                let began = Instant::now();
                for i in 0..count {
                    match side {
                        0 => self.ours(operation, i).await?,
                        _ => self.bare(operation, i).await?,
                    }
                }
                let list = if side == 0 { &mut times.0 } else { &mut times.1 };
                list.push(began.elapsed());
            }
        }
        let median = |mut times: Vec<Duration>| {
            times.sort();
            times.get(ROUNDS / 2).map_or(0.0, Duration::as_secs_f64)
        };
        Ok(median(times.1) / median(times.0))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: redis_ratio redis://127.0.0.1:6379")?;
    let prefix = format!("ratio:{:016x}", rand::random::<u64>());
    let names: Vec<_> = (0..BATCH).map(|i| format!("{{{prefix}:bare/bare}}e:application:{i}")).collect();
    let config = RedisCacheConfig { urls: vec![RedisUrl::new(&*url)], key_prefix: prefix, ..RedisCacheConfig::default() };
    let sides = Sides {
        cache: RedisCache::open(config).await?,
        bare: redis::Client::open(url)?.get_multiplexed_async_connection().await?,
        bucket: BucketName::new("ours/ours")?,
        keys: (0..BATCH).map(|i| CacheKey::new(&format!("application:{i}"))).collect::<Result<_, _>>()?,
        names,
        value: Bytes::from(vec![b'x'; 512]),
    };
    for (name, operation, count) in [
        ("set", Operation::Set, 2_000),
        ("get", Operation::Get, 2_000),
        ("set_many", Operation::SetMany, 100),
        ("get_many", Operation::GetMany, 100),
    ] {
        println!("redis_{name}_native_over_bare {:.3}", sides.ratio(operation, count).await?);
    }
    Ok(())
}
