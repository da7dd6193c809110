//! A queue that remembers what was published, also by an outbox, and whatever its delay.

use async_trait::async_trait;
use plinth_capability::{
    Result,
    name::{QueueName, TopicPattern},
    queue::{DeadLetterPage, Delivery, Depth, Destination, Message, Queue, QueueSpec, Selection, Settlement},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub(super) struct Recorder {
    queue: Arc<dyn Queue>,
    published: Mutex<Vec<(Destination, Message)>>,
}

impl Recorder {
    pub(super) fn over(queue: Arc<dyn Queue>) -> Self {
        Self { queue, published: Mutex::default() }
    }

    /// In the order of publishing.
    pub(super) fn published(&self) -> Vec<(Destination, Message)> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Queue for Recorder {
    async fn declare(&self, queue: &QueueName, spec: &QueueSpec) -> Result<()> {
        self.queue.declare(queue, spec).await
    }

    async fn bind(&self, queue: &QueueName, patterns: &[TopicPattern]) -> Result<()> {
        self.queue.bind(queue, patterns).await
    }

    async fn publish(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>> {
        let told = self.queue.publish(destination, messages.clone()).await?;
        let accepted = messages.into_iter().zip(&told).filter(|(_, told)| told.is_ok());
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.extend(accepted.map(|(message, _)| (destination.clone(), message)));
        drop(published);
        Ok(told)
    }

    async fn consume(&self, queue: &QueueName, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        self.queue.consume(queue, max, wait).await
    }

    async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Result<()> {
        self.queue.settle(delivery, settlement).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.queue.queues().await
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        self.queue.depth(queue).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, limit: u32) -> Result<DeadLetterPage> {
        self.queue.dead_letters(queue, cursor, limit).await
    }

    async fn replay(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        self.queue.replay(queue, selection).await
    }

    async fn purge(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        self.queue.purge(queue, selection).await
    }

    async fn health(&self) -> Result<()> {
        self.queue.health().await
    }
}
