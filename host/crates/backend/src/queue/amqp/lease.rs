//! Deliveries that are handed out: who holds what until when, in this process.

use super::{Core, feed::Held, names::Mark, settle::put_back_at_broker, wire::Copy};
use crate::queue::policy::ATTEMPTS_EXHAUSTED;
use plinth_capability::name::QueueName;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const OPERATION: &str = "queue.lease";
const ENDED: &str = "the lease ended before the delivery was settled";
/// Leases ended by one batch.
const REAP_MAX: usize = 256;

pub(super) struct Lease {
    pub(super) held: Held,
    pub(super) mark: Mark,
    pub(super) copy: Copy,
    pub(super) attempt: u32,
    pub(super) queue: QueueName,
    pub(super) until: Instant,
}

pub(super) struct Leases {
    table: Mutex<Table>,
    changed: Notify,
    /// A token of another process is no token here.
    process: String,
}

#[derive(Default)]
struct Table {
    made: u64,
    by_id: HashMap<u64, Lease>,
    by_end: BTreeSet<(Instant, u64)>,
    counts: HashMap<QueueName, u64>,
}

impl Table {
    fn insert(&mut self, id: u64, lease: Lease) {
        self.by_end.insert((lease.until, id));
        *self.counts.entry(lease.queue.clone()).or_default() += 1;
        self.by_id.insert(id, lease);
    }

    fn remove(&mut self, id: u64) -> Option<Lease> {
        let lease = self.by_id.remove(&id)?;
        self.by_end.remove(&(lease.until, id));
        if let Some(count) = self.counts.get_mut(&lease.queue) {
            *count = count.saturating_sub(1);
        }
        Some(lease)
    }
}

impl Leases {
    pub(super) fn new() -> Self {
        Self { table: Mutex::default(), changed: Notify::new(), process: Uuid::now_v7().simple().to_string() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, lease: Lease) -> u64 {
        let mut table = self.table();
        table.made += 1;
        let id = table.made;
        let first = table.by_end.first().is_none_or(|(end, _)| lease.until < *end);
        table.insert(id, lease);
        drop(table);
        if first {
            self.changed.notify_one();
        }
        id
    }

    pub(super) fn take(&self, id: u64) -> Option<Lease> {
        self.table().remove(id)
    }

    /// Settling failed: it is held on, to be settled again or to end.
    pub(super) fn put_back(&self, id: u64, lease: Lease) {
        self.table().insert(id, lease);
        self.changed.notify_one();
    }

    pub(super) fn count(&self, queue: &QueueName) -> u64 {
        self.table().counts.get(queue).copied().unwrap_or(0)
    }

    pub(super) fn token(&self, id: u64) -> String {
        format!("{}-{id}", self.process)
    }

    pub(super) fn id(&self, token: &str) -> Option<u64> {
        token.strip_prefix(&self.process)?.strip_prefix('-')?.parse().ok()
    }

    /// The leases over by now, or until when none is.
    fn ended(&self) -> Result<Vec<Lease>, Option<Instant>> {
        let mut table = self.table();
        let now = Instant::now();
        let ids: Vec<_> = table.by_end.iter().take_while(|(end, _)| *end <= now).take(REAP_MAX).map(|(_, id)| *id).collect();
        if ids.is_empty() {
            return Err(table.by_end.first().map(|(end, _)| *end));
        }
        Ok(ids.into_iter().filter_map(|id| table.remove(id)).collect())
    }

    /// Ends every lease whose delivery went with its connection: the broker delivers it again.
    pub(super) fn forget_lost(&self) {
        let mut table = self.table();
        let lost: Vec<_> = table.by_id.iter().filter(|(_, lease)| !lease.held.usable()).map(|(id, _)| *id).collect();
        for id in lost {
            table.remove(id);
        }
    }
}

/// Ends leases for as long as the queue is open.
pub(super) async fn reap(core: Arc<Core>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match core.leases.ended() {
            Ok(ended) => core.expire(ended).await,
            Err(next) => {
                let next = async {
                    match next {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = next => {}
                    () = core.leases.changed.notified() => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}

impl Core {
    /// Another attempt for each, or the end of those that had their last.
    async fn expire(&self, ended: Vec<Lease>) {
        let mut by_queue: HashMap<QueueName, Vec<Lease>> = HashMap::new();
        for lease in ended {
            by_queue.entry(lease.queue.clone()).or_default().push(lease);
        }
        for (queue, leases) in by_queue {
            let Ok(entry) = self.known(&queue, OPERATION).await else { continue };
            let moves = leases.into_iter().map(|lease| {
                let mut copy = Copy { attempts: lease.attempt, last_error: ENDED.to_owned(), ..lease.copy };
                if lease.attempt >= entry.spec.max_attempts {
                    copy = copy.dead(ATTEMPTS_EXHAUSTED, ENDED.to_owned());
                }
                (lease.held, copy, Duration::ZERO)
            });
            for (held, moved) in self.move_all(&queue, &entry, moves.collect(), OPERATION).await {
                if let Err(error) = moved {
                    tracing::debug!(%queue, %error, "a delivery whose lease ended goes back uncopied");
                    put_back_at_broker(held).await;
                }
            }
        }
    }
}
