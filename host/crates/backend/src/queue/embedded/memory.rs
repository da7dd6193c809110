//! What the writing task knows without asking the file: queues, bindings, who waits.

use crate::{
    queue::policy,
    sqlite::{
        from_sql, map_error,
        writer::{Fault, Memory},
    },
};
use plinth_capability::{
    Error, ErrorKind,
    name::{QueueName, TopicPattern},
    queue::{Destination, QueueSpec, Settlement},
};
use rand::{Rng, rngs::StdRng};
use sqlx::{Row, SqliteConnection};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    sync::Arc,
};
use tokio::sync::{Notify, futures::OwnedNotified};

/// The rowid of a queue.
pub(super) type QueueId = i64;

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) id: QueueId,
    pub(super) spec: QueueSpec,
}

struct Catalog {
    queues: HashMap<String, Entry>,
    bindings: Vec<(TopicPattern, QueueId)>,
}

pub(super) struct QueueMemory {
    /// `None` until it is needed and after each change: reading it is cheap and rare.
    catalog: Option<Catalog>,
    wakeups: HashMap<QueueId, Arc<Notify>>,
    /// Queues with messages that consumers do not know of yet.
    touched: HashSet<QueueId>,
    rng: StdRng,
    pub(super) pruned_ms: u64,
    /// Held as long as this process may write.
    _lock: File,
}

impl QueueMemory {
    pub(super) fn new(rng: StdRng, lock: File) -> Self {
        Self { catalog: None, wakeups: HashMap::new(), touched: HashSet::new(), rng, pruned_ms: 0, _lock: lock }
    }

    pub(super) fn forget_catalog(&mut self) {
        self.catalog = None;
    }

    pub(super) fn touch(&mut self, queue: QueueId) {
        self.touched.insert(queue);
    }

    /// Ends when something that is committed after this call concerns `queue`.
    pub(super) fn changed(&mut self, queue: QueueId) -> OwnedNotified {
        Arc::clone(self.wakeups.entry(queue).or_default()).notified_owned()
    }

    /// The pure decision with this queue's randomness.
    pub(super) fn step(&mut self, spec: &QueueSpec, attempt: u32, settlement: Settlement) -> policy::Step {
        policy::step(spec, attempt, settlement, self.rng.random())
    }

    pub(super) async fn entry(
        &mut self,
        connection: &mut SqliteConnection,
        name: &QueueName,
        operation: &'static str,
    ) -> Result<Entry, Fault> {
        let catalog = self.catalog(connection).await?;
        let unknown = || Fault::Refused(Error::new(ErrorKind::NotFound, operation, format!("no queue `{name}`")));
        catalog.queues.get(name.as_str()).cloned().ok_or_else(unknown)
    }

    /// The queues a message goes to; `None` if it names one that does not exist.
    pub(super) async fn targets(&mut self, connection: &mut SqliteConnection, to: &Destination) -> Result<Option<Vec<QueueId>>, Fault> {
        let catalog = self.catalog(connection).await?;
        Ok(match to {
            Destination::Queue(name) => catalog.queues.get(name.as_str()).map(|entry| vec![entry.id]),
            Destination::Topic(topic) => {
                let mut targets: Vec<_> = catalog.bindings.iter().filter(|(p, _)| p.matches(topic.as_str())).map(|(_, id)| *id).collect();
                targets.sort_unstable();
                targets.dedup();
                Some(targets)
            }
        })
    }

    async fn catalog(&mut self, connection: &mut SqliteConnection) -> Result<&Catalog, Fault> {
        if self.catalog.is_none() {
            self.catalog = Some(Catalog::read(connection).await?);
        }
        self.catalog.as_ref().ok_or_else(|| Fault::Broken(Error::new(ErrorKind::Internal, "queue.catalog", "was not read")))
    }
}

impl Memory for QueueMemory {
    fn ended(&mut self, committed: bool) {
        if !committed {
            self.catalog = None;
        }
        // Waking after a rollback as well costs a look at the queue and loses nothing.
        for queue in self.touched.drain() {
            if let Some(waiting) = self.wakeups.get(&queue) {
                waiting.notify_waiters();
            }
        }
    }
}

impl Catalog {
    async fn read(connection: &mut SqliteConnection) -> Result<Self, Fault> {
        let broken = |e| Fault::Broken(map_error("queue.catalog", e));
        let rows = sqlx::query("SELECT id, name, max_attempts, backoff_ms, backoff_max_ms, lease_ms, max_depth FROM queues");
        let mut queues = HashMap::new();
        for row in rows.fetch_all(&mut *connection).await.map_err(broken)? {
            let spec = QueueSpec {
                max_attempts: row.try_get("max_attempts").map_err(broken)?,
                backoff_ms: row.try_get("backoff_ms").map_err(broken)?,
                backoff_max_ms: row.try_get("backoff_max_ms").map_err(broken)?,
                lease_ms: row.try_get("lease_ms").map_err(broken)?,
                max_depth: from_sql(row.try_get("max_depth").map_err(broken)?),
            };
            queues.insert(row.try_get("name").map_err(broken)?, Entry { id: row.try_get("id").map_err(broken)?, spec });
        }
        let mut bindings = Vec::new();
        for row in sqlx::query("SELECT queue, pattern FROM bindings").fetch_all(&mut *connection).await.map_err(broken)? {
            let pattern = TopicPattern::new(row.try_get("pattern").map_err(broken)?).map_err(Fault::Broken)?;
            bindings.push((pattern, row.try_get("queue").map_err(broken)?));
        }
        Ok(Self { queues, bindings })
    }
}
