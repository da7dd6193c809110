//! Entries kept in this process as well, for as long as Redis has not said that they changed.
//!
//! A read from Redis takes the epoch of its key before it asks and files the
//! answer under it; an invalidation, and every write of this process, begins a
//! new epoch. An entry of an old epoch is never returned, so whichever of
//! answer and invalidation comes first, what was overwritten is not read.

use super::{config::NearConfig, link::Listener};
use moka::future::Cache;
use plinth_capability::{cache::Entry, name::CacheKey};
use redis::{Cmd, PushInfo, PushKind, Value};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Keys that share an epoch forget together, so there are many.
const STRIPES: usize = 4_096;

pub(super) struct Near {
    entries: Cache<CacheKey, Arc<Kept>>,
    max_staleness: Duration,
    epochs: Box<[AtomicU64]>,
    /// Of all keys at once.
    era: AtomicU64,
    hasher: RandomState,
    /// Whether invalidations are coming in.
    tracked: AtomicBool,
}

struct Kept {
    entry: Entry,
    epoch: Epoch,
    until: Instant,
}

/// Taken before Redis is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch {
    era: u64,
    stripe: u64,
}

impl Near {
    pub(super) fn new(config: &NearConfig) -> Self {
        let max_staleness = Duration::from_millis(u64::from(config.max_staleness_ms));
        Self {
            // Only frees memory: `until` decides what may be read.
            entries: Cache::builder().max_capacity(config.max_entries).time_to_live(max_staleness).build(),
            max_staleness,
            epochs: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            era: AtomicU64::new(0),
            hasher: RandomState::new(),
            tracked: AtomicBool::new(false),
        }
    }

    fn stripe(&self, key: &str) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(key) % STRIPES as u64).ok()?;
        self.epochs.get(hash)
    }

    pub(super) fn epoch(&self, key: &CacheKey) -> Epoch {
        let stripe = self.stripe(key.as_str()).map_or(0, |epoch| epoch.load(Ordering::SeqCst));
        Epoch { era: self.era.load(Ordering::SeqCst), stripe }
    }

    pub(super) async fn get(&self, key: &CacheKey) -> Option<Entry> {
        let kept = self.entries.get(key).await?;
        (kept.until > Instant::now() && kept.epoch == self.epoch(key)).then(|| kept.entry.clone())
    }

    /// `asked` is when Redis was asked: the entry is at least as new. `left` is its lifetime in Redis.
    pub(super) async fn keep(&self, key: &CacheKey, entry: &Entry, epoch: Epoch, asked: Instant, left: Duration) {
        if self.tracked.load(Ordering::SeqCst) && epoch == self.epoch(key) {
            let until = asked + left.min(self.max_staleness);
            self.entries.insert(key.clone(), Arc::new(Kept { entry: entry.clone(), epoch, until })).await;
        }
    }

    pub(super) fn forget(&self, key: &str) {
        if let Some(epoch) = self.stripe(key) {
            epoch.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(super) fn forget_all(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
    }
}

/// The near caches and what the keys of their buckets begin with.
pub(super) struct Tracked(pub(super) Vec<(String, Arc<Near>)>);

impl Tracked {
    fn set(&self, tracked: bool) {
        for (_, near) in &self.0 {
            near.tracked.store(tracked, Ordering::SeqCst);
            near.forget_all();
        }
    }

    fn forget(&self, key: &[u8]) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        for (base, near) in &self.0 {
            if let Some(name) = key.strip_prefix(base) {
                near.forget(name);
            }
        }
    }
}

impl Listener for Tracked {
    /// Broadcasting: the server remembers prefixes, not which key was read by whom.
    fn greeting(&self) -> Option<Cmd> {
        let mut cmd = redis::cmd("CLIENT");
        cmd.arg("TRACKING").arg("ON").arg("BCAST");
        for (base, _) in &self.0 {
            cmd.arg("PREFIX").arg(base);
        }
        Some(cmd)
    }

    fn up(&self) {
        self.set(true);
    }

    fn down(&self) {
        self.set(false);
    }

    fn push(&self, push: PushInfo) {
        match push.kind {
            PushKind::Invalidate => match push.data.first() {
                Some(Value::Array(keys)) => {
                    for key in keys {
                        if let Value::BulkString(key) = key {
                            self.forget(key);
                        }
                    }
                }
                // The database was flushed.
                _ => self.0.iter().for_each(|(_, near)| near.forget_all()),
            },
            PushKind::Disconnection => self.set(false),
            _ => {}
        }
    }
}
