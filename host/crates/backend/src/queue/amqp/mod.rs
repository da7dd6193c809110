//! The queue in RabbitMQ: quorum queues, confirmed publishes, and an inbox that drops repeats.
//!
//! What the broker cannot do is done here: leases and attempt numbers (a copy is
//! sent on and confirmed, then the old one acked), priorities (a lane each),
//! delays (levels of waiting queues) and the list of queues (one stored message).
//! docs/rabbitmq.md says it for operators.

mod catalog;
mod close;
mod config;
mod consume;
mod dead;
mod depth;
mod error;
mod feed;
mod fetch;
mod lease;
mod link;
mod names;
mod publish;
mod send;
mod settle;
mod topology;
mod watch;
mod wire;

pub use config::AmqpConfig;

use super::check_spec;
use async_trait::async_trait;
use catalog::Entry;
use link::Link;
use names::{Names, marks};
use plinth_capability::{
    Error, ErrorKind, Result,
    inbox::Inbox,
    name::{QueueName, TopicPattern},
    queue::{DeadLetterPage, Delivery, Depth, Destination, Message, Queue, QueueSpec, Selection, Settlement},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// How long closing waits for what is fetched to be given back.
const FAREWELL: Duration = Duration::from_secs(5);

pub struct AmqpQueue {
    core: Arc<Core>,
    _stop: DropGuard,
}

/// What the tasks of one queue share.
struct Core {
    config: Arc<AmqpConfig>,
    names: Names,
    /// Publishes only: a broker short of memory stops reading from it.
    outgoing: Link,
    /// Everything else, so that acks go on while publishes are blocked.
    incoming: Link,
    pool: send::Pool,
    catalog: catalog::Seen,
    feeds: feed::Feeds,
    leases: lease::Leases,
    innocent: consume::Innocent,
    waiting: depth::Waiting,
    rooms: depth::Rooms,
    turns: dead::Turns,
    /// The connection on which the levels of delay were declared.
    delays: tokio::sync::Mutex<Option<u64>>,
    inbox: Arc<dyn Inbox>,
    tasks: TaskTracker,
    fetchers: TaskTracker,
    /// No more is fetched; then `stop` ends everything.
    closing: CancellationToken,
    stop: CancellationToken,
}

impl Core {
    /// How long anything waits for a connection or for one answer.
    fn patience(&self) -> Duration {
        self.config.connect_timeout()
    }
}

impl AmqpQueue {
    /// Checks the settings and starts connecting; it does not wait for a broker,
    /// so that a host comes up without one. `inbox` says which copies of a
    /// message are repeats. Dropping it ends everything as a kill would.
    pub fn open(config: AmqpConfig, inbox: Arc<dyn Inbox>) -> Result<Self> {
        let hosts = config.check()?;
        let config = Arc::new(config);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let link = |name| Link::start(name, config.clone(), hosts.clone(), &tasks, stop.clone());
        let core = Arc::new(Core {
            names: Names::new(&config.prefix),
            outgoing: link("publish"),
            incoming: link("consume"),
            pool: send::Pool::new(config.publish_channels),
            catalog: catalog::Seen::default(),
            feeds: feed::Feeds::default(),
            leases: lease::Leases::new(),
            innocent: consume::Innocent::default(),
            waiting: depth::Waiting::default(),
            rooms: depth::Rooms::default(),
            turns: dead::Turns::default(),
            delays: tokio::sync::Mutex::new(None),
            inbox,
            tasks,
            fetchers: TaskTracker::new(),
            closing: stop.child_token(),
            stop,
            config,
        });
        core.tasks.spawn(watch::run(core.clone(), core.stop.clone()));
        core.tasks.spawn(lease::reap(core.clone(), core.stop.clone()));
        Ok(Self { _stop: core.stop.clone().drop_guard(), core })
    }

    /// Gives back what was fetched, then closes the connections. What is leased
    /// and not settled is delivered again.
    pub async fn close(&self) {
        self.core.closing.cancel();
        self.core.fetchers.close();
        let given_back = timeout(FAREWELL, self.core.fetchers.wait()).await;
        self.core.stop.cancel();
        self.core.tasks.close();
        let ended = timeout(FAREWELL, self.core.tasks.wait()).await;
        if given_back.is_err() || ended.is_err() {
            tracing::warn!("the queue was closed before it had given back all it had fetched");
        }
    }

    /// Runs it to its end though its caller may go: it holds locks and letters.
    async fn detached<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let done = self.core.tasks.spawn(work).await;
        done.map_err(|e| Error::new(ErrorKind::Internal, operation, "cut off").with_source(e))?
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn declare(&self, queue: &QueueName, spec: &QueueSpec) -> Result<()> {
        check_spec(spec)?;
        let (core, queue, spec) = (self.core.clone(), queue.clone(), spec.clone());
        self.detached("queue.declare", async move { core.declare(&queue, spec).await }).await
    }

    async fn bind(&self, queue: &QueueName, patterns: &[TopicPattern]) -> Result<()> {
        let (core, queue, patterns) = (self.core.clone(), queue.clone(), patterns.to_vec());
        self.detached("queue.bind", async move { core.bind(&queue, patterns).await }).await
    }

    async fn publish(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>> {
        self.core.publish_all(destination, messages).await
    }

    async fn consume(&self, queue: &QueueName, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        self.core.consume_some(queue, max, wait).await
    }

    async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Result<()> {
        self.core.settle_one(delivery, settlement).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.core.read_catalog("queue.queues").await?;
        Ok(self.core.catalog.current().map(|catalog| catalog.queues.keys().cloned().collect()).unwrap_or_default())
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        let entry = self.core.known(queue, "queue.depth").await?;
        self.core.depth_of(queue, &entry).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, limit: u32) -> Result<DeadLetterPage> {
        let (core, queue, cursor) = (self.core.clone(), queue.clone(), cursor.map(str::to_owned));
        self.detached("queue.dead-letters", async move { core.dead_page(&queue, cursor.as_deref(), limit).await }).await
    }

    async fn replay(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        let (core, queue) = (self.core.clone(), queue.clone());
        self.detached("queue.replay", async move { core.replay_dead(&queue, selection).await }).await
    }

    async fn purge(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        let (core, queue) = (self.core.clone(), queue.clone());
        self.detached("queue.purge", async move { core.purge_dead(&queue, selection).await }).await
    }

    async fn health(&self) -> Result<()> {
        for link in [&self.core.incoming, &self.core.outgoing] {
            let live = link.live("queue.health", self.core.patience()).await?;
            if live.blocked() {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "queue.health",
                    "the broker takes no messages now: it is short of memory or disk",
                ));
            }
            live.channel("queue.health", self.core.patience()).await?;
        }
        self.core.inbox.health().await
    }
}

impl Core {
    async fn declare(&self, queue: &QueueName, spec: QueueSpec) -> Result<()> {
        let wanted = marks(self.config.lanes);
        let known = self.catalog.current().and_then(|catalog| catalog.queues.get(queue).cloned());
        if known.is_some_and(|entry| entry.spec == spec && entry.marks == wanted) {
            return Ok(());
        }
        self.change_catalog("queue.declare", async |channel, catalog| {
            let old = catalog.queues.get(queue).cloned();
            let (patterns, mut all_marks) = old.as_ref().map(|old| (old.patterns.clone(), old.all_marks.clone())).unwrap_or_default();
            all_marks.extend(&wanted);
            all_marks.sort_unstable();
            all_marks.dedup();
            topology::lanes(channel, &self.names, queue, &wanted).await?;
            if let Some(old) = old.filter(|old| old.marks != wanted) {
                topology::patterns(channel, &self.names, queue, &old.marks, &old.patterns, &[]).await?;
                topology::patterns(channel, &self.names, queue, &wanted, &[], &patterns).await?;
            }
            catalog.queues.insert(queue.clone(), Entry { spec, patterns, marks: wanted, all_marks });
            Ok(())
        })
        .await
    }

    async fn bind(&self, queue: &QueueName, patterns: Vec<TopicPattern>) -> Result<()> {
        let operation = "queue.bind";
        if self.known(queue, operation).await?.patterns == patterns {
            return Ok(());
        }
        self.change_catalog(operation, async |channel, catalog| {
            let unknown = || Error::new(ErrorKind::NotFound, operation, format!("no queue `{queue}`"));
            let entry = catalog.queues.get_mut(queue).ok_or_else(unknown)?;
            topology::patterns(channel, &self.names, queue, &entry.marks, &entry.patterns, &patterns).await?;
            entry.patterns = patterns;
            Ok(())
        })
        .await
    }
}
