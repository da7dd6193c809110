//! The embedded queue: one SQLite file, one writing task, no polling.
//!
//! Every change is a unit of work of the writing task, so all that waits shares
//! one commit. Consumers wait for a signal of that task or for the next instant
//! at which something becomes due; no timer runs while nobody consumes.

mod admin;
mod deliver;
mod memory;
mod publish;
mod select;
mod settle;
#[cfg(test)]
mod tests;

use crate::sqlite::{
    Durability, SqliteFile, map_error, migrate,
    writer::{Fault, Writer},
};
use async_trait::async_trait;
use deliver::Leased;
use futures::FutureExt;
use memory::QueueMemory;
use plinth_capability::{
    Error, ErrorKind, Result,
    name::{QueueName, TopicPattern},
    queue::{DeadLetterPage, Delivery, Depth, Destination, Message, PUBLISH_MAX, Queue, QueueSpec, Selection, Settlement},
};
use rand::{SeedableRng, rngs::StdRng};
use select::{Change, Walk};
use sqlx::SqlitePool;
use std::{fs::File, path::Path, time::Duration};
use tokio::time::Instant;

/// Caller-controlled: deliveries of one consume call.
const CONSUME_MAX: u32 = 1_000;
/// Caller-controlled: how long one consume call waits.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Connections for what does not change anything.
const READERS: u32 = 2;

pub struct EmbeddedQueue {
    writer: Writer<QueueMemory>,
    readers: SqlitePool,
}

impl EmbeddedQueue {
    /// Opens or makes the file. Only one process may have it open; what the
    /// one before had delivered and not settled is available at once.
    pub async fn open(path: &Path, durability: Durability) -> Result<Self> {
        Self::open_seeded(path, durability, rand::random()).await
    }

    /// As [`Self::open`] with a seed for the jitter of retries.
    pub async fn open_seeded(path: &Path, durability: Durability, seed: u64) -> Result<Self> {
        let file = SqliteFile::open(path, durability).await?;
        let lock = lock(&path.with_added_extension("lock"))?;
        let mut connection = file.writer_connection().await?;
        migrate(&mut connection, &[include_str!("schema.sql")]).await?;
        // The leases of a process that is gone end now; its attempts count, since
        // one of them may be what ended it.
        sqlx::query("UPDATE messages SET lease_ms = 0 WHERE state = 1")
            .execute(&mut connection)
            .await
            .map_err(|e| map_error("queue.open", e))?;
        let readers = file.readers(READERS).await?;
        let memory = QueueMemory::new(StdRng::seed_from_u64(seed), lock);
        Ok(Self { writer: Writer::start(file, connection, memory), readers })
    }

    /// Stores what was accepted, then closes the file; waiting consumers end.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    async fn refresh(&self, queue: &QueueName, operation: &'static str) -> Result<i64> {
        let queue = queue.clone();
        self.writer.run(operation, move |memory, connection| admin::refresh(memory, connection, queue, operation).boxed()).await
    }

    async fn change(&self, queue: &QueueName, change: Change, selection: Selection) -> Result<u64> {
        self.refresh(queue, change.operation()).await?;
        let (mut walk, mut total) = (Some(Walk::new(selection)), 0);
        while let Some(next) = walk.take() {
            let name = queue.clone();
            let step =
                self.writer.run(change.operation(), move |memory, connection| select::step(memory, connection, name, change, next).boxed());
            let (changed, rest) = step.await?;
            total += changed;
            walk = rest;
        }
        Ok(total)
    }
}

/// Two processes would end each other's leases.
fn lock(path: &Path) -> Result<File> {
    let refuse = |why| Error::new(ErrorKind::Unavailable, "queue.open", why);
    let file = File::create(path).map_err(|e| refuse("the lock file cannot be made").with_source(e))?;
    file.try_lock().map_err(|e| refuse("another process has this queue open").with_source(e))?;
    Ok(file)
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn declare(&self, queue: &QueueName, spec: &QueueSpec) -> Result<()> {
        let (queue, spec) = (queue.clone(), spec.clone());
        self.writer.run("queue.declare", move |memory, connection| admin::declare(memory, connection, queue, spec).boxed()).await
    }

    async fn bind(&self, queue: &QueueName, patterns: &[TopicPattern]) -> Result<()> {
        let (queue, patterns) = (queue.clone(), patterns.to_vec());
        self.writer.run("queue.bind", move |memory, connection| admin::bind(memory, connection, queue, patterns).boxed()).await
    }

    async fn publish(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>> {
        if messages.len() > PUBLISH_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "queue.publish", format!("at most {PUBLISH_MAX} messages in one call")));
        }
        let to = destination.clone();
        self.writer.run("queue.publish", move |memory, connection| publish::publish(memory, connection, to, messages).boxed()).await
    }

    async fn consume(&self, queue: &QueueName, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        let max = max.clamp(1, CONSUME_MAX);
        loop {
            let name = queue.clone();
            let lease = self.writer.run("queue.consume", move |memory, connection| deliver::lease(memory, connection, name, max).boxed());
            let (changed, look_again) = match lease.await? {
                Leased::Some(deliveries) => return Ok(deliveries),
                Leased::None { .. } if Instant::now() >= deadline => return Ok(Vec::new()),
                Leased::None { changed, look_again } => (changed, look_again),
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + look_again)) => {}
                () = self.writer.closing() => {}
            }
        }
    }

    async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Result<()> {
        let delivery = delivery.clone();
        self.writer.run("queue.settle", move |memory, connection| settle::settle(memory, connection, delivery, settlement).boxed()).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        admin::queues(&self.readers).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        let id = self.refresh(queue, "queue.depth").await?;
        admin::depth(&self.readers, id).await
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, limit: u32) -> Result<DeadLetterPage> {
        let cursor = cursor.map(admin::read_cursor).transpose()?;
        let id = self.refresh(queue, "queue.dead-letters").await?;
        admin::dead_letters(&self.readers, (id, queue.clone()), cursor, limit).await
    }

    async fn replay(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        self.change(queue, Change::Replay, selection).await
    }

    async fn purge(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        self.change(queue, Change::Purge, selection).await
    }

    async fn health(&self) -> Result<()> {
        // An empty unit takes the write lock and the whole way through the task.
        self.writer.run("queue.health", |_, _| async { Ok::<(), Fault>(()) }.boxed()).await
    }
}
