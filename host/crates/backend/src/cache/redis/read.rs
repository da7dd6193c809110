//! Reading: one plain command each, and the near cache before it where there is one.

use super::{
    RedisCache, bounded,
    bucket::Bucket,
    entry::{self, Key},
    error::Call,
    near::Near,
};
use plinth_capability::{
    ErrorKind, Result,
    cache::{Entry, Expiry},
    name::{BucketName, CacheKey},
};
use redis::{Cmd, Pipeline, Value};
use std::time::Duration;
use tokio::time::Instant;

const GET: Call = Call::again("cache.get");
const GET_MANY: Call = Call::again("cache.get-many");
const EXPIRY: Call = Call::again("cache.expiry");

/// A command with one key. The capacity spares the vectors inside from growing.
pub(super) fn command(name: &'static str, bucket: &Bucket, key: &CacheKey, more: usize) -> Cmd {
    let mut cmd = Cmd::with_capacity(8, name.len() + bucket.entries.len() + key.as_str().len() + more);
    cmd.arg(name).arg(Key(&bucket.entries, key.as_str()));
    cmd
}

fn found(call: Call, value: Value) -> Result<Option<Entry>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(stored) => entry::decode(call.operation, stored).map(Some),
        _ => Err(call.fail(ErrorKind::Failed, "the cache answered with what was not asked")),
    }
}

impl RedisCache {
    pub(super) async fn read_one(&self, bucket: &BucketName, key: &CacheKey) -> Result<Option<Entry>> {
        let bucket = self.bucket(GET.operation, bucket)?;
        match &bucket.near {
            None => found(GET, self.link.query(GET, &command("GET", &bucket, key, 0)).await?),
            Some(near) => match near.get(key).await {
                Some(entry) => Ok(Some(entry)),
                None => Ok(self.fetch(GET, &bucket, near, std::slice::from_ref(key)).await?.pop().flatten()),
            },
        }
    }

    pub(super) async fn read_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        bounded(GET_MANY.operation, keys.len())?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let bucket = self.bucket(GET_MANY.operation, bucket)?;
        if let Some(near) = &bucket.near {
            return self.read_nearby(&bucket, near, keys).await;
        }
        let bytes = keys.iter().map(|key| key.as_str().len() + bucket.entries.len()).sum::<usize>();
        let mut cmd = Cmd::with_capacity(keys.len() + 1, bytes + 4);
        cmd.arg("MGET");
        for key in keys {
            cmd.arg(Key(&bucket.entries, key.as_str()));
        }
        match self.link.query(GET_MANY, &cmd).await? {
            Value::Array(values) if values.len() == keys.len() => {
                // Not collected: that would grow the vector as it goes, since any of them may be an error.
                let mut entries = Vec::with_capacity(keys.len());
                for value in values {
                    entries.push(found(GET_MANY, value)?);
                }
                Ok(entries)
            }
            _ => Err(GET_MANY.fail(ErrorKind::Failed, "the cache answered with what was not asked")),
        }
    }

    async fn read_nearby(&self, bucket: &Bucket, near: &Near, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let mut entries = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for key in keys {
            let entry = near.get(key).await;
            if entry.is_none() {
                missing.push(key.clone());
            }
            entries.push(entry);
        }
        if !missing.is_empty() {
            let mut fetched = self.fetch(GET_MANY, bucket, near, &missing).await?.into_iter();
            for slot in entries.iter_mut().filter(|slot| slot.is_none()) {
                *slot = fetched.next().flatten();
            }
        }
        Ok(entries)
    }

    /// From Redis, with the lifetimes, so that nothing is kept nearby beyond its own.
    async fn fetch(&self, call: Call, bucket: &Bucket, near: &Near, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let epochs: Vec<_> = keys.iter().map(|key| near.epoch(key)).collect();
        let asked = Instant::now();
        let mut pipeline = Pipeline::with_capacity(keys.len() * 2);
        for key in keys {
            pipeline.add_command(command("GET", bucket, key, 0));
            pipeline.add_command(command("PTTL", bucket, key, 0));
        }
        let mut values = self.link.pipeline(call, &pipeline).await?.into_iter();
        let mut entries = Vec::with_capacity(keys.len());
        for (key, epoch) in keys.iter().zip(epochs) {
            let entry = found(call, values.next().unwrap_or(Value::Nil))?;
            let left = match values.next() {
                Some(Value::Int(-1)) => Duration::MAX,
                Some(Value::Int(left)) => Duration::from_millis(u64::try_from(left).unwrap_or(0)),
                _ => Duration::ZERO,
            };
            if let Some(entry) = &entry {
                near.keep(key, entry, epoch, asked, left).await;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    pub(super) async fn left(&self, bucket: &BucketName, key: &CacheKey) -> Result<Expiry> {
        let bucket = self.bucket(EXPIRY.operation, bucket)?;
        match self.link.query(EXPIRY, &command("PTTL", &bucket, key, 0)).await? {
            Value::Int(-2) => Ok(Expiry::NoSuchKey),
            Value::Int(-1) => Ok(Expiry::Never),
            Value::Int(left) => Ok(Expiry::In(Duration::from_millis(u64::try_from(left).unwrap_or(0)))),
            _ => Err(EXPIRY.fail(ErrorKind::Failed, "the cache answered with what was not asked")),
        }
    }
}
