//! A cache double: a map with versions, enough to try conditions on.

use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{Cache, Condition, Entry, Expiry, KeyPage, Version, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use std::{collections::BTreeMap, sync::Mutex, time::Duration};

#[derive(Default)]
pub(super) struct CacheDouble {
    entries: Mutex<BTreeMap<(String, String), (Entry, Write)>>,
    writes: Mutex<u64>,
}

impl CacheDouble {
    pub(super) fn write_of(&self, bucket: &str, key: &str) -> Option<Write> {
        self.entries.lock().unwrap().get(&place(bucket, key)).map(|(_, write)| write.clone())
    }
}

fn place(bucket: &str, key: &str) -> (String, String) {
    (bucket.to_owned(), key.to_owned())
}

fn holds(condition: &Condition, found: Option<&Entry>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::IfAbsent | Condition::IfVersion(None) => found.is_none(),
        Condition::IfVersion(Some(version)) => found.is_some_and(|entry| entry.version == *version),
    }
}

#[async_trait]
impl Cache for CacheDouble {
    async fn get(&self, bucket: &BucketName, key: &CacheKey) -> Result<Option<Entry>> {
        match key.as_str() {
            "panics" => panic!("a double that panics"),
            "hangs" => std::future::pending().await,
            "breaks" => {
                Err(Error::new(ErrorKind::Unavailable, "cache.get", "the cache is away").with_source("redis://user:canary@10.0.0.1"))
            }
            key => Ok(self.entries.lock().unwrap().get(&place(bucket.as_str(), key)).map(|(entry, _)| entry.clone())),
        }
    }

    async fn get_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let entries = self.entries.lock().unwrap();
        Ok(keys.iter().map(|key| entries.get(&place(bucket.as_str(), key.as_str())).map(|(entry, _)| entry.clone())).collect())
    }

    async fn set(&self, bucket: &BucketName, key: &CacheKey, value: Bytes, write: Write) -> Result<WriteOutcome> {
        let place = place(bucket.as_str(), key.as_str());
        let (mut entries, mut writes) = (self.entries.lock().unwrap(), self.writes.lock().unwrap());
        let found = entries.get(&place).map(|(entry, _)| entry.clone());
        if !holds(&write.condition, found.as_ref()) {
            return Ok(WriteOutcome::Conflict(found));
        }
        *writes += 1;
        let version = Version(format!("v {writes}"));
        entries.insert(place, (Entry { value, version: version.clone() }, write));
        Ok(WriteOutcome::Stored(version))
    }

    async fn set_many(&self, bucket: &BucketName, entries: Vec<(CacheKey, Bytes)>, ttl: Option<Duration>) -> Result<()> {
        for (key, value) in entries {
            self.set(bucket, &key, value, Write::always(ttl)).await?;
        }
        Ok(())
    }

    async fn delete_many(&self, bucket: &BucketName, keys: &[CacheKey]) -> Result<u32> {
        let mut entries = self.entries.lock().unwrap();
        let removed = keys.iter().filter(|key| entries.remove(&place(bucket.as_str(), key.as_str())).is_some()).count();
        Ok(u32::try_from(removed).unwrap())
    }

    async fn touch(&self, bucket: &BucketName, key: &CacheKey, ttl: Duration) -> Result<bool> {
        let mut entries = self.entries.lock().unwrap();
        Ok(entries.get_mut(&place(bucket.as_str(), key.as_str())).map(|(_, write)| write.ttl = Some(ttl)).is_some())
    }

    async fn expiry(&self, _: &BucketName, _: &CacheKey) -> Result<Expiry> {
        Ok(Expiry::Never)
    }

    async fn increment(&self, _: &BucketName, _: &CacheKey, delta: i64, _: Option<Duration>) -> Result<i64> {
        Ok(delta)
    }

    async fn scan(&self, _: &BucketName, _: &str, _: Option<&str>, _: u32) -> Result<KeyPage> {
        Ok(KeyPage { keys: Vec::new(), next: None })
    }

    async fn invalidate(&self, bucket: &BucketName, tags: &[Tag]) -> Result<u32> {
        let mut entries = self.entries.lock().unwrap();
        let before = entries.len();
        entries.retain(|(b, _), (_, write)| b != bucket.as_str() || !write.tags.iter().any(|tag| tags.contains(tag)));
        Ok(u32::try_from(before - entries.len()).unwrap())
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }
}
