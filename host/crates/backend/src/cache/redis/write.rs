//! Writing: one plain command where no tags and no version are in play, a script otherwise.

use super::{
    RedisCache, bounded,
    bucket::Bucket,
    entry::{self, Key, Stamp, Stored},
    error::Call,
    read::command,
};
use bytes::Bytes;
use plinth_capability::{
    ErrorKind, Result,
    cache::{Condition, TAGS_MAX, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use redis::{Cmd, Pipeline, Value};
use std::{sync::Arc, time::Duration};

const SET: Call = Call::again("cache.set");
const SET_ONCE: Call = Call::once("cache.set");
const SET_MANY: Call = Call::again("cache.set-many");
const DELETE_MANY: Call = Call::again("cache.delete-many");
const TOUCH: Call = Call::again("cache.touch");
const INCREMENT: Call = Call::once("cache.increment");
const INVALIDATE: Call = Call::again("cache.invalidate");
/// Entries of one tag looked at in one script, which nothing else runs beside.
const SLICE: i64 = 200;
/// Scripts of one `invalidate`.
const ROUNDS: usize = 100_000;

/// Soils keys when it is dropped: also a call that was given up may have written.
struct Soils<'a> {
    cache: &'a RedisCache,
    bucket: &'a Arc<Bucket>,
    keys: &'a [CacheKey],
}

impl Drop for Soils<'_> {
    fn drop(&mut self) {
        for key in self.keys {
            self.cache.soil(self.bucket, key);
        }
    }
}

fn odd(call: Call) -> plinth_capability::Error {
    call.fail(ErrorKind::Failed, "the cache answered with what was not asked")
}

fn set(bucket: &Bucket, key: &CacheKey, stamp: &Stamp, value: &[u8], ttl: u64) -> Cmd {
    let mut cmd = command("SET", bucket, key, value.len() + entry::HEAD + 24);
    cmd.arg(Stored { stamp, tags: &[], value }).arg("PX").arg(ttl);
    cmd
}

impl RedisCache {
    pub(super) async fn write_one(&self, bucket: &BucketName, key: &CacheKey, value: Bytes, write: Write) -> Result<WriteOutcome> {
        let bucket = self.bucket(SET.operation, bucket)?;
        bucket.check(SET.operation, key, &value, &write.tags)?;
        let ttl = bucket.lifetime(SET.operation, write.ttl)?;
        let stamp = self.stamps.next();
        let _soils = Soils { cache: self, bucket: &bucket, keys: std::slice::from_ref(key) };
        let call = if write.condition == Condition::Always { SET } else { SET_ONCE };
        let answer = match (&write.condition, write.tags.is_empty()) {
            (Condition::Always, true) => self.link.query(call, &set(&bucket, key, &stamp, &value, ttl)).await?,
            (Condition::IfAbsent | Condition::IfVersion(None), true) => {
                let mut cmd = set(&bucket, key, &stamp, &value, ttl);
                cmd.arg("NX").arg("GET");
                match self.link.query(call, &cmd).await? {
                    Value::Nil => Value::Okay,
                    there => there,
                }
            }
            _ => self.set_by_script(call, &bucket, key, &stamp, &value, &write, ttl).await?,
        };
        match answer {
            Value::Okay => Ok(WriteOutcome::Stored(entry::version(&stamp))),
            Value::Nil => Ok(WriteOutcome::Conflict(None)),
            Value::BulkString(there) => entry::decode(call.operation, there).map(|entry| WriteOutcome::Conflict(Some(entry))),
            _ => Err(odd(call)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the halves of one function: what `write_one` has worked out")]
    async fn set_by_script(
        &self,
        call: Call,
        bucket: &Bucket,
        key: &CacheKey,
        stamp: &Stamp,
        value: &[u8],
        write: &Write,
        ttl: u64,
    ) -> Result<Value> {
        let mut cmd = self.programs.set.call(1 + write.tags.len());
        cmd.arg(Key(&bucket.entries, key.as_str()));
        for tag in &write.tags {
            cmd.arg(Key(&bucket.tags, tag.as_str()));
        }
        cmd.arg(Stored { stamp, tags: &write.tags, value }).arg(ttl);
        match &write.condition {
            Condition::Always => cmd.arg("always"),
            Condition::IfAbsent | Condition::IfVersion(None) => cmd.arg("absent"),
            Condition::IfVersion(Some(version)) => match entry::stamp(version) {
                Some(expected) => cmd.arg(&expected[..]),
                // Not a version of this cache, so it is that of no entry.
                None => cmd.arg("none"),
            },
        };
        self.link.run(call, &self.programs.set, &cmd).await
    }

    pub(super) async fn write_many(&self, bucket: &BucketName, entries: Vec<(CacheKey, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        bounded(SET_MANY.operation, entries.len())?;
        let bucket = self.bucket(SET_MANY.operation, bucket)?;
        let ttl = bucket.lifetime(SET_MANY.operation, ttl)?;
        for (key, value) in &entries {
            bucket.check(SET_MANY.operation, key, value, &[])?;
        }
        if entries.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(entries.len());
        for (key, value) in &entries {
            pipeline.add_command(set(&bucket, key, &self.stamps.next(), value, ttl));
        }
        let keys: Vec<_> = entries.into_iter().map(|(key, _)| key).collect();
        let _soils = Soils { cache: self, bucket: &bucket, keys: &keys };
        self.link.pipeline(SET_MANY, &pipeline).await.map(drop)
    }

    pub(super) async fn remove(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<u32> {
        bounded(DELETE_MANY.operation, keys.len())?;
        if keys.is_empty() {
            return Ok(0);
        }
        let bucket = self.bucket(DELETE_MANY.operation, bucket)?;
        let mut cmd = redis::cmd("UNLINK");
        for key in keys {
            cmd.arg(Key(&bucket.entries, key.as_str()));
        }
        let _soils = Soils { cache: self, bucket: &bucket, keys };
        match self.link.query(DELETE_MANY, &cmd).await? {
            Value::Int(count) => u32::try_from(count).map_err(|_| odd(DELETE_MANY)),
            _ => Err(odd(DELETE_MANY)),
        }
    }

    pub(super) async fn prolong(&self, bucket: &BucketName, key: &CacheKey, ttl: Duration) -> Result<bool> {
        let bucket = self.bucket(TOUCH.operation, bucket)?;
        let ttl = bucket.lifetime(TOUCH.operation, Some(ttl))?;
        let mut cmd = self.programs.touch.call(1);
        cmd.arg(Key(&bucket.entries, key.as_str())).arg(ttl).arg(&bucket.tags);
        let _soils = Soils { cache: self, bucket: &bucket, keys: std::slice::from_ref(key) };
        match self.link.run(TOUCH, &self.programs.touch, &cmd).await? {
            Value::Int(touched) => Ok(touched == 1),
            _ => Err(odd(TOUCH)),
        }
    }

    pub(super) async fn add(&self, bucket: &BucketName, key: &CacheKey, delta: i64, ttl: Option<Duration>) -> Result<i64> {
        let bucket = self.bucket(INCREMENT.operation, bucket)?;
        let ttl = bucket.lifetime(INCREMENT.operation, ttl)?;
        let mut cmd = self.programs.increment.call(2);
        cmd.arg(Key(&bucket.entries, key.as_str())).arg(&bucket.scratch);
        cmd.arg(delta).arg(ttl).arg(&self.stamps.next()[..]).arg(bucket.limits.max_value_bytes);
        let _soils = Soils { cache: self, bucket: &bucket, keys: std::slice::from_ref(key) };
        let Value::BulkString(answer) = self.link.run(INCREMENT, &self.programs.increment, &cmd).await? else { return Err(odd(INCREMENT)) };
        match &answer[..] {
            b"text" => Err(INCREMENT.fail(ErrorKind::WrongType, "the value is not a decimal integer")),
            b"overflow" => Err(INCREMENT.fail(ErrorKind::LimitExceeded, "the sum does not fit 64 bits")),
            b"large" => Err(INCREMENT.fail(ErrorKind::LimitExceeded, "the sum is larger than a value of the bucket")),
            sum => std::str::from_utf8(sum).ok().and_then(|sum| sum.parse().ok()).ok_or_else(|| odd(INCREMENT)),
        }
    }

    /// In slices, so that a tag on many entries does not stop the server; what
    /// was dropped stays dropped if a later slice fails.
    pub(super) async fn drop_tagged(&self, bucket: &BucketName, tags: &[Tag]) -> Result<u32> {
        bounded(INVALIDATE.operation, tags.len())?;
        let bucket = self.bucket(INVALIDATE.operation, bucket)?;
        let mut dropped: u32 = 0;
        for tags in tags.chunks(TAGS_MAX) {
            let mut cmd = self.programs.invalidate.call(tags.len());
            for tag in tags {
                cmd.arg(Key(&bucket.tags, tag.as_str()));
            }
            for tag in tags {
                cmd.arg(tag.as_str());
            }
            cmd.arg(SLICE);
            let _forgets = Forgets(&bucket);
            for _ in 0..ROUNDS {
                let answer = self.link.run(INVALIDATE, &self.programs.invalidate, &cmd).await?;
                let (keys, left): (Vec<String>, u64) = redis::from_redis_value(answer).map_err(|error| INVALIDATE.error(error.into()))?;
                for key in &keys {
                    dropped += 1;
                    if let Some(key) = key.strip_prefix(&bucket.entries).and_then(|key| CacheKey::new(key).ok()) {
                        self.soil(&bucket, &key);
                    }
                }
                if left == 0 {
                    break;
                }
            }
        }
        Ok(dropped)
    }
}

/// Which entries had the tags is known to Redis only, so nothing is kept nearby.
struct Forgets<'a>(&'a Bucket);

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        if let Some(near) = &self.0.near {
            near.forget_all();
        }
    }
}
