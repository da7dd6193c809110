//! The queue behind its policy.

use crate::{Guarded, gate::Repeat};
use async_trait::async_trait;
use plinth_capability::{
    Result,
    name::{QueueName, TopicPattern},
    queue::{DeadLetterPage, Delivery, Depth, Destination, Message, Queue, QueueSpec, Selection, Settlement},
};
use std::time::Duration;

#[async_trait]
impl Queue for Guarded<dyn Queue> {
    async fn declare(&self, queue: &QueueName, spec: &QueueSpec) -> Result<()> {
        self.gate.run("queue.declare", Repeat::Safe, self.inner.declare(queue, spec)).await
    }

    async fn bind(&self, queue: &QueueName, patterns: &[TopicPattern]) -> Result<()> {
        self.gate.run("queue.bind", Repeat::Safe, self.inner.bind(queue, patterns)).await
    }

    async fn publish(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>> {
        self.gate.run("queue.publish", Repeat::Unsafe, self.inner.publish(destination, messages)).await
    }

    /// A long poll asks to wait; that is not the backend being slow. Nor does it
    /// take a turn: pollers that wait would leave none for those who publish.
    async fn consume(&self, queue: &QueueName, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        self.gate.bound("queue.consume", Repeat::Safe, wait, self.inner.consume(queue, max, wait)).await
    }

    async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Result<()> {
        // A second settlement of the same delivery is a conflict.
        self.gate.run("queue.settle", Repeat::Unsafe, self.inner.settle(delivery, settlement)).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.gate.run("queue.queues", Repeat::Safe, self.inner.queues()).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        self.gate.run("queue.depth", Repeat::Safe, self.inner.depth(queue)).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, limit: u32) -> Result<DeadLetterPage> {
        self.gate.run("queue.dead_letters", Repeat::Safe, self.inner.dead_letters(queue, cursor, limit)).await
    }

    async fn replay(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        self.gate.run("queue.replay", Repeat::Safe, self.inner.replay(queue, selection)).await
    }

    async fn purge(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        self.gate.run("queue.purge", Repeat::Safe, self.inner.purge(queue, selection)).await
    }

    async fn health(&self) -> Result<()> {
        self.gate.probe("queue.health", self.inner.health()).await
    }
}
