//! What the cases of the queue are written with.

use crate::{
    Error,
    conformance::eventually,
    name::{QueueName, TopicName, TopicPattern},
    queue::{Delivery, Depth, Destination, Message, Queue, QueueSpec, Settlement},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// A queue, alone in its storage, that can lose its process.
#[async_trait]
pub trait QueueFixture: Send + Sync {
    fn queue(&self) -> Arc<dyn Queue>;
    /// As if the process was killed now and started again over what it had
    /// stored; [`QueueFixture::queue`] answers the new one afterwards.
    async fn reopen(&mut self);
}

pub(super) use crate::conformance::PATIENCE;
/// How long nothing must come for "nothing comes".
pub(super) const QUIET: Duration = Duration::from_millis(200);
/// Deliveries asked for at a time.
const TAKE_MAX: u32 = 1_000;

pub(super) fn name(text: &str) -> QueueName {
    QueueName::new(text).unwrap()
}

pub(super) fn to(queue: &QueueName) -> Destination {
    Destination::Queue(queue.clone())
}

pub(super) fn topic(text: &str) -> Destination {
    Destination::Topic(TopicName::new(text).unwrap())
}

pub(super) fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).unwrap()
}

pub(super) fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: Bytes::from(format!("body of {id}")),
        content_type: "text/plain".to_owned(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority: 4,
        delay: Duration::ZERO,
        expires: None,
    }
}

/// A lease far longer than a case, so that only the cases about leases see one end.
pub(super) fn spec() -> QueueSpec {
    QueueSpec { lease_ms: 120_000, ..QueueSpec::default() }
}

pub(super) async fn declared(fixture: &impl QueueFixture, spec: QueueSpec) -> (Arc<dyn Queue>, QueueName) {
    let (queue, work) = (fixture.queue(), name("work"));
    queue.declare(&work, &spec).await.unwrap();
    (queue, work)
}

/// Publishes one message; a backend may refuse it alone or with its whole call.
pub(super) async fn publish(queue: &Arc<dyn Queue>, to: &Destination, message: Message) -> Result<(), Error> {
    queue.publish(to, vec![message]).await.and_then(|mut outcomes| outcomes.remove(0))
}

pub(super) async fn publish_ids(queue: &Arc<dyn Queue>, to: &Destination, ids: &[&str]) {
    for outcome in queue.publish(to, ids.iter().map(|id| message(id)).collect()).await.unwrap() {
        outcome.unwrap();
    }
}

pub(super) async fn one(queue: &Arc<dyn Queue>, from: &QueueName) -> Delivery {
    let mut deliveries = queue.consume(from, 1, PATIENCE).await.unwrap();
    assert_eq!(deliveries.len(), 1, "no delivery came");
    deliveries.remove(0)
}

pub(super) async fn nothing_comes(queue: &Arc<dyn Queue>, from: &QueueName) {
    assert_eq!(queue.consume(from, 1, QUIET).await.unwrap(), []);
}

/// A broker may count with a delay, and hand out fewer than it has.
pub(super) async fn eventually_depth(queue: &Arc<dyn Queue>, of: &QueueName, expected: Depth) {
    eventually(&format!("{expected:?}"), async || queue.depth(of).await.unwrap() == expected).await;
}

pub(super) async fn drain(queue: &Arc<dyn Queue>, from: &QueueName, count: usize) -> Vec<Delivery> {
    let all = take(queue.as_ref(), from, count, PATIENCE).await;
    assert_eq!(all.len(), count, "deliveries that came");
    all
}

/// Deliveries until there are so many, or until none comes within `wait`.
pub async fn take(queue: &dyn Queue, from: &QueueName, count: usize, wait: Duration) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let most = u32::try_from(count - all.len()).unwrap_or(u32::MAX).min(TAKE_MAX);
        let deliveries = queue.consume(from, most, wait).await.unwrap();
        if deliveries.is_empty() {
            break;
        }
        all.extend(deliveries);
    }
    all
}

pub(super) fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.message.id.as_str()).collect()
}

pub(super) fn retry(after: Duration) -> Settlement {
    Settlement::Retry { after: Some(after), error: "not yet".to_owned() }
}

/// Makes dead letters of the next `count` messages, in their order.
pub(super) async fn bury(queue: &Arc<dyn Queue>, from: &QueueName, count: u32) {
    for delivery in drain(queue, from, usize::try_from(count).unwrap()).await {
        queue.settle(&delivery, Settlement::Dead { reason: "x".to_owned() }).await.unwrap();
    }
    eventually_depth(queue, from, Depth { dead: u64::from(count), ..Depth::default() }).await;
}
