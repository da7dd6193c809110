//! A queue with an inbox of its own, and how a publisher and a consumer behave in a fault.

use bytes::Bytes;
use plinth_backend::{
    Durability,
    inbox::SqliteInbox,
    queue::{AmqpConfig, AmqpQueue},
};
use plinth_capability::{
    ErrorKind,
    conformance::queue::take,
    name::QueueName,
    queue::{Destination, Message, Queue, QueueSpec, Settlement},
};
use plinth_services::FaultProxy;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer than any broker is away.
const PATIENCE: Duration = Duration::from_secs(100);

pub(super) struct Opened {
    pub(super) queue: Arc<AmqpQueue>,
    inbox: Arc<SqliteInbox>,
    _dir: TempDir,
}

impl Opened {
    pub(super) async fn new(config: AmqpConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Arc::new(SqliteInbox::open(&dir.path().join("inbox.db"), Durability::Process).await.unwrap());
        Self { queue: Arc::new(AmqpQueue::open(config, inbox.clone()).unwrap()), inbox, _dir: dir }
    }

    /// Another process that shares the inbox; answers the one before.
    pub(super) fn again(&mut self, config: AmqpConfig) -> Arc<AmqpQueue> {
        let queue = Arc::new(AmqpQueue::open(config, self.inbox.clone()).unwrap());
        std::mem::replace(&mut self.queue, queue)
    }
}

pub(super) fn config(url: String) -> AmqpConfig {
    AmqpConfig { urls: vec![url], ..AmqpConfig::default() }
}

/// As [`config`], for a test that waits for time-outs.
pub(super) fn quick(url: String) -> AmqpConfig {
    AmqpConfig { confirm_timeout_ms: 2_000, connect_timeout_ms: 2_000, heartbeat_s: 1, ..config(url) }
}

/// A line to the broker of that URL on which things go wrong to order.
pub(super) async fn proxy(url: &str) -> FaultProxy {
    let (_, rest) = url.split_once('@').unwrap();
    let broker = rest.split('/').next().unwrap().parse().unwrap();
    FaultProxy::start(broker, 7).await.unwrap()
}

/// The same URL by way of the proxy.
pub(super) fn through(proxy: &FaultProxy, url: &str) -> String {
    let (user, rest) = url.split_once('@').unwrap();
    let vhost = rest.split_once('/').unwrap().1;
    format!("{user}@{}/{vhost}", proxy.address())
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: Bytes::from_static(b"body"),
        content_type: "text/plain".to_owned(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority: 4,
        delay: Duration::ZERO,
        expires: None,
    }
}

pub(super) async fn publish(queue: &dyn Queue, to: &QueueName, id: &str) -> Result<(), ErrorKind> {
    let sent = queue.publish(&Destination::Queue(to.clone()), vec![message(id)]).await;
    sent.and_then(|mut outcomes| outcomes.remove(0)).map_err(|e| e.kind())
}

/// Publishes under one id until it is confirmed, as a relay does; how often that took.
pub(super) async fn insist(queue: &dyn Queue, to: &QueueName, id: &str) -> usize {
    let began = Instant::now();
    let mut tries = 1;
    while let Err(kind) = publish(queue, to, id).await {
        assert!(matches!(kind, ErrorKind::OutcomeUnknown | ErrorKind::Unavailable), "{kind:?}");
        assert!(began.elapsed() < PATIENCE, "never confirmed again");
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tries
}

pub(super) async fn declared(config: AmqpConfig) -> (Opened, QueueName) {
    let opened = Opened::new(config).await;
    let work = QueueName::new("work").unwrap();
    let began = Instant::now();
    while let Err(error) = opened.queue.declare(&work, &QueueSpec::default()).await {
        assert!(began.elapsed() < PATIENCE, "{error:?}");
    }
    (opened, work)
}

/// Takes and acks until so many ids were seen and nothing more comes; how often each was delivered.
pub(super) async fn deliver_all(queue: &dyn Queue, from: &QueueName, count: usize) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    loop {
        let quiet = if seen.len() < count { Duration::from_secs(30) } else { Duration::from_secs(1) };
        let deliveries = take(queue, from, 1, quiet).await;
        if deliveries.is_empty() {
            return seen;
        }
        for delivery in deliveries {
            queue.settle(&delivery, Settlement::Ack).await.unwrap();
            *seen.entry(delivery.message.id).or_default() += 1;
        }
    }
}

/// Publishes `count` messages while `fault` happens, begun after a sixth of
/// them; then every confirmed one is delivered, and once.
pub(super) async fn nothing_is_lost(opened: &Opened, work: &QueueName, count: usize, fault: impl Future<Output = ()>) {
    let queue = &*opened.queue;
    let (sixth, begun) = tokio::sync::oneshot::channel();
    let publishing = async {
        let (mut sixth, mut troubled) = (Some(sixth), 0);
        for n in 0..count {
            troubled += usize::from(insist(queue, work, &format!("m{n}")).await > 1);
            if n > count / 6
                && let Some(sixth) = sixth.take()
            {
                sixth.send(()).unwrap();
            }
        }
        troubled
    };
    let fault = async {
        begun.await.unwrap();
        fault.await;
    };
    let (troubled, ()) = tokio::join!(publishing, fault);
    assert!(troubled > 0, "no publish met the fault");
    let seen = deliver_all(queue, work, count).await;
    let lost: BTreeSet<_> = (0..count).map(|n| format!("m{n}")).filter(|id| !seen.contains_key(id)).collect();
    assert_eq!(lost, BTreeSet::new());
    assert_eq!(seen.values().filter(|times| **times > 1).count(), 0, "repeats are dropped by the inbox");
}
