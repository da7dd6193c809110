//! Random histories on the embedded cache and on a map that forgets by the clock.

use super::{bucket, key};
use bytes::Bytes;
use plinth_backend::cache::{MemoryCache, MemoryCacheConfig};
use plinth_capability::{
    ErrorKind,
    cache::{Cache, Condition, Expiry, Version, Write, WriteOutcome},
    name::Tag,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

#[derive(Debug, Clone)]
enum Step {
    Set {
        key: u8,
        value: i64,
        ttl: u32,
        tags: Vec<u8>,
    },
    SetIfAbsent {
        key: u8,
        value: i64,
        ttl: u32,
    },
    /// Over the version last seen for `seen`, which may be stale or of another key.
    Swap {
        key: u8,
        seen: u8,
        value: i64,
        ttl: u32,
        tags: Vec<u8>,
    },
    Increment {
        key: u8,
        delta: i64,
        ttl: u32,
    },
    Touch {
        key: u8,
        ttl: u32,
    },
    Delete(Vec<u8>),
    Invalidate(Vec<u8>),
    Scan(u32),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    // Few keys, so that histories meet; whole seconds, since moka frees by a clock that does not stop.
    let (key, ttl) = (0..4_u8, 10..60_u32);
    let value = prop_oneof![Just(i64::MAX), -5..5_i64];
    let tags = prop::collection::vec(0..3_u8, 0..3);
    prop_oneof![
        (key.clone(), value.clone(), ttl.clone(), tags.clone()).prop_map(|(key, value, ttl, tags)| Step::Set { key, value, ttl, tags }),
        (key.clone(), value.clone(), ttl.clone()).prop_map(|(key, value, ttl)| Step::SetIfAbsent { key, value, ttl }),
        (key.clone(), key.clone(), value.clone(), ttl.clone(), tags.clone()).prop_map(|(key, seen, value, ttl, tags)| Step::Swap {
            key,
            seen,
            value,
            ttl,
            tags
        }),
        (key.clone(), value, ttl.clone()).prop_map(|(key, delta, ttl)| Step::Increment { key, delta, ttl }),
        (key.clone(), ttl).prop_map(|(key, ttl)| Step::Touch { key, ttl }),
        prop::collection::vec(key, 0..3).prop_map(Step::Delete),
        tags.prop_map(Step::Invalidate),
        (1..4_u32).prop_map(Step::Scan),
        (1..40_u32).prop_map(Step::Pass),
    ]
}

struct Known {
    value: i64,
    expires: Instant,
    tags: Vec<u8>,
    version: Version,
}

/// What the contract says is there.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u8, Known>,
    /// Also of entries that are gone.
    seen: BTreeMap<u8, Version>,
}

impl Model {
    fn forget_expired(&mut self) {
        self.entries.retain(|_, known| known.expires > Instant::now());
    }

    fn put(&mut self, name: u8, value: i64, expires: Instant, tags: Vec<u8>, version: Version) {
        assert!(self.seen.values().all(|seen| *seen != version), "a version never repeats");
        self.seen.insert(name, version.clone());
        self.entries.insert(name, Known { value, expires, tags, version });
    }
}

fn secs(ttl: u32) -> Duration {
    Duration::from_secs(u64::from(ttl))
}

fn tags(names: &[u8]) -> Vec<Tag> {
    names.iter().map(|name| Tag::new(&name.to_string()).unwrap()).collect()
}

struct Pair {
    cache: MemoryCache,
    model: Model,
}

impl Pair {
    async fn write(&mut self, name: u8, value: i64, ttl: u32, on: Vec<u8>, condition: Condition, holds: bool) {
        let write = Write { ttl: Some(secs(ttl)), condition, tags: tags(&on) };
        let bytes = Bytes::from(value.to_string());
        match self.cache.set(&bucket("m/m"), &key(&name.to_string()), bytes, write).await.unwrap() {
            WriteOutcome::Stored(version) => {
                assert!(holds, "stored against its condition");
                self.model.put(name, value, Instant::now() + secs(ttl), on, version);
            }
            WriteOutcome::Conflict(there) => {
                assert!(!holds, "refused although the condition held");
                let known = self.model.entries.get(&name).map(|known| (known.value.to_string(), known.version.clone()));
                assert_eq!(there.map(|entry| (String::from_utf8(entry.value.to_vec()).unwrap(), entry.version)), known);
            }
        }
    }

    async fn increment(&mut self, name: u8, delta: i64, ttl: u32) {
        let answer = self.cache.increment(&bucket("m/m"), &key(&name.to_string()), delta, Some(secs(ttl))).await;
        let (old, expires, on) = match self.model.entries.get(&name) {
            Some(known) => (known.value, known.expires, known.tags.clone()),
            None => (0, Instant::now() + secs(ttl), Vec::new()),
        };
        match old.checked_add(delta) {
            None => assert_eq!(answer.unwrap_err().kind(), ErrorKind::LimitExceeded),
            Some(sum) => {
                assert_eq!(answer.unwrap(), sum);
                let version = self.cache.get(&bucket("m/m"), &key(&name.to_string())).await.unwrap().unwrap().version;
                self.model.put(name, sum, expires, on, version);
            }
        }
    }

    async fn run(&mut self, step: Step) {
        let b = bucket("m/m");
        self.model.forget_expired();
        match step {
            Step::Set { key, value, ttl, tags } => self.write(key, value, ttl, tags, Condition::Always, true).await,
            Step::SetIfAbsent { key, value, ttl } => {
                let absent = !self.model.entries.contains_key(&key);
                self.write(key, value, ttl, Vec::new(), Condition::IfAbsent, absent).await;
            }
            Step::Swap { key, seen, value, ttl, tags } => {
                let expected = self.model.seen.get(&seen).cloned();
                let holds = expected.as_ref() == self.model.entries.get(&key).map(|known| &known.version);
                self.write(key, value, ttl, tags, Condition::IfVersion(expected), holds).await;
            }
            Step::Increment { key, delta, ttl } => self.increment(key, delta, ttl).await,
            Step::Touch { key: name, ttl } => {
                let touched = self.cache.touch(&b, &key(&name.to_string()), secs(ttl)).await.unwrap();
                assert_eq!(touched, self.model.entries.contains_key(&name));
                if let Some(known) = self.model.entries.get_mut(&name) {
                    known.expires = Instant::now() + secs(ttl);
                }
            }
            Step::Delete(names) => {
                let keys: Vec<_> = names.iter().map(|name| key(&name.to_string())).collect();
                let deleted = names.iter().filter(|name| self.model.entries.remove(name).is_some()).count();
                assert_eq!(self.cache.delete_many(&b, &keys).await.unwrap() as usize, deleted);
            }
            Step::Invalidate(names) => {
                let before = self.model.entries.len();
                self.model.entries.retain(|_, known| !known.tags.iter().any(|tag| names.contains(tag)));
                let dropped = self.cache.invalidate(&b, &tags(&names)).await.unwrap() as usize;
                assert_eq!(dropped, before - self.model.entries.len());
            }
            Step::Scan(limit) => self.scan(limit).await,
            Step::Pass(time) => tokio::time::advance(secs(time)).await,
        }
        self.compare().await;
    }

    async fn scan(&self, limit: u32) {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.cache.scan(&bucket("m/m"), "", cursor.as_deref(), limit).await.unwrap();
            found.extend(page.keys);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, self.model.entries.keys().map(u8::to_string).collect::<Vec<_>>());
    }

    /// Every key reads as the model says, lifetimes included.
    async fn compare(&mut self) {
        self.model.forget_expired();
        for name in 0..4_u8 {
            let name_key = key(&name.to_string());
            let entry = self.cache.get(&bucket("m/m"), &name_key).await.unwrap();
            let known = self.model.entries.get(&name);
            assert_eq!(entry.as_ref().map(|entry| &entry.version), known.map(|known| &known.version), "version of {name}");
            assert_eq!(entry.map(|entry| entry.value), known.map(|known| Bytes::from(known.value.to_string())), "value of {name}");
            let left = known.map_or(Expiry::NoSuchKey, |known| Expiry::In(known.expires - Instant::now()));
            assert_eq!(self.cache.expiry(&bucket("m/m"), &name_key).await.unwrap(), left, "lifetime of {name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_cache_is_what_the_model_says(history in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair { cache: MemoryCache::new(MemoryCacheConfig::default()).unwrap(), model: Model::default() };
            for step in history {
                pair.run(step).await;
            }
        });
    }
}
