//! Which queues there are, with their settings and patterns: one message kept
//! in the broker, since the broker itself cannot be asked.
//!
//! It is read and replaced under a lock of the fleet. The new one is confirmed
//! before the old one goes; of two that a crash left, the higher revision counts.

use super::{
    Core,
    error::{broken, late},
    link::Live,
    names::Mark,
    topology,
};
use arc_swap::ArcSwapOption;
use lapin::{
    Channel,
    message::BasicGetMessage,
    options::{BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, ExchangeDeclareOptions, QueueDeclareOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};
use plinth_capability::{
    Error, ErrorKind, Result,
    name::{QueueName, TopicPattern},
    queue::QueueSpec,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Between tries to get a lock that another host holds.
const LOCK_AGAIN: Duration = Duration::from_millis(20);
/// Between looks for a catalog that its last reader is just putting back.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Catalog {
    revision: u64,
    pub(super) queues: BTreeMap<QueueName, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) spec: QueueSpec,
    pub(super) patterns: Vec<TopicPattern>,
    /// Lanes that are published to.
    pub(super) marks: Vec<Mark>,
    /// These and the lanes of earlier settings, which are still emptied.
    pub(super) all_marks: Vec<Mark>,
}

/// The catalog as this process last saw it.
#[derive(Default)]
pub(super) struct Seen {
    current: ArcSwapOption<Catalog>,
    /// One reader or writer per process; the lock at the broker is for the others.
    turn: tokio::sync::Mutex<()>,
}

impl Seen {
    pub(super) fn current(&self) -> Option<Arc<Catalog>> {
        self.current.load_full()
    }

    pub(super) fn saw(&self, catalog: Catalog) {
        self.current.rcu(|known| match known {
            Some(known) if known.revision > catalog.revision => Some(known.clone()),
            _ => Some(Arc::new(catalog.clone())),
        });
    }
}

impl Core {
    /// The queue's entry. What is not known here is looked up at the broker,
    /// since another host may have just declared it.
    pub(super) async fn entry(&self, queue: &QueueName, operation: &'static str) -> Result<Option<Entry>> {
        if let Some(entry) = self.catalog.current().and_then(|catalog| catalog.queues.get(queue).cloned()) {
            return Ok(Some(entry));
        }
        self.read_catalog(operation).await?;
        Ok(self.catalog.current().and_then(|catalog| catalog.queues.get(queue).cloned()))
    }

    pub(super) async fn known(&self, queue: &QueueName, operation: &'static str) -> Result<Entry> {
        let unknown = || Error::new(ErrorKind::NotFound, operation, format!("no queue `{queue}`"));
        self.entry(queue, operation).await?.ok_or_else(unknown)
    }

    pub(super) async fn read_catalog(&self, operation: &'static str) -> Result<()> {
        let live = self.incoming.live(operation, self.patience()).await?;
        let read = async {
            let _turn = self.catalog.turn.lock().await;
            if !self.catalog_exists(&live, operation).await? {
                return Ok(Catalog::default());
            }
            let lock = self.lock(&live, "catalog", operation).await?;
            let channel = live.channel(operation, self.patience()).await?;
            let (catalog, stored) = self.stored(&channel, operation).await?;
            for message in stored {
                message.nack(BasicNackOptions { requeue: true, multiple: false }).await.map_err(broken(operation))?;
            }
            lock.release().await;
            Ok(catalog)
        };
        self.catalog.saw(live.bound(operation, Box::pin(read)).await?);
        Ok(())
    }

    /// Declares and stores under the lock, so that what is stored is what is there.
    pub(super) async fn change_catalog(
        &self,
        operation: &'static str,
        change: impl AsyncFnOnce(&Channel, &mut Catalog) -> Result<()>,
    ) -> Result<()> {
        let live = self.incoming.live(operation, self.patience()).await?;
        let catalog = live.bound(operation, Box::pin(self.changed_catalog(&live, operation, change))).await?;
        self.catalog.saw(catalog);
        Ok(())
    }

    async fn changed_catalog(
        &self,
        live: &Arc<Live>,
        operation: &'static str,
        change: impl AsyncFnOnce(&Channel, &mut Catalog) -> Result<()>,
    ) -> Result<Catalog> {
        let _turn = self.catalog.turn.lock().await;
        let exists = self.catalog_exists(live, operation).await?;
        let lock = self.lock(live, "catalog", operation).await?;
        let channel = live.channel(operation, self.patience()).await?;
        let (old, stored) = if exists { self.stored(&channel, operation).await? } else { Default::default() };
        topology::base(&channel, &self.names).await?;
        let mut catalog = old.clone();
        change(&channel, &mut catalog).await?;
        if catalog != old || !exists {
            catalog.revision += 1;
            let text = serde_json::to_vec(&catalog)
                .map_err(|e| Error::new(ErrorKind::Internal, operation, "the catalog cannot be written").with_source(e))?;
            self.send_raw("", &self.names.catalog(), &text, operation).await?;
            for message in stored {
                message.ack(BasicAckOptions::default()).await.map_err(broken(operation))?;
            }
            topology::changes(&channel, &self.names).await?;
            // Whoever misses it reads the catalog when it next connects or meets an unknown name.
            self.send_raw(&self.names.changes(), "", &text, operation).await?;
        }
        lock.release().await;
        Ok(catalog)
    }

    pub(super) async fn catalog_exists(&self, live: &Arc<Live>, operation: &'static str) -> Result<bool> {
        let channel = live.channel(operation, self.patience()).await?;
        let passive = ExchangeDeclareOptions { passive: true, durable: true, ..ExchangeDeclareOptions::default() };
        match channel.exchange_declare(self.names.changes().into(), lapin::ExchangeKind::Fanout, passive, FieldTable::default()).await {
            Ok(()) => Ok(true),
            Err(error) if super::error::soft(&error) == Some(AMQPSoftError::NOTFOUND) => Ok(false),
            Err(error) => Err(broken(operation)(error)),
        }
    }

    /// The stored catalog and the messages that hold it. It was stored once, so
    /// an empty queue only means that its last reader's return is under way.
    async fn stored(&self, channel: &Channel, operation: &'static str) -> Result<(Catalog, Vec<BasicGetMessage>)> {
        let began = Instant::now();
        let mut found: Vec<BasicGetMessage> = Vec::new();
        loop {
            match channel.basic_get(self.names.catalog().into(), BasicGetOptions::default()).await.map_err(broken(operation))? {
                Some(message) => found.push(message),
                None if !found.is_empty() => break,
                None if began.elapsed() > self.patience() => {
                    return Err(Error::new(ErrorKind::Failed, operation, "the broker has lost the catalog of queues"));
                }
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
        let read = found.iter().map(|message| serde_json::from_slice::<Catalog>(&message.data)).collect::<Result<Vec<_>, _>>();
        let read = read.map_err(|e| Error::new(ErrorKind::Failed, operation, "the stored catalog is damaged").with_source(e))?;
        Ok((read.into_iter().max_by_key(|catalog| catalog.revision).unwrap_or_default(), found))
    }

    /// A lock that ends with this process: an exclusive queue of its connection.
    pub(super) async fn lock(&self, live: &Arc<Live>, what: &str, operation: &'static str) -> Result<Lock> {
        let name = self.names.lock(what);
        let began = Instant::now();
        loop {
            let channel = live.channel(operation, self.patience()).await?;
            let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
            match channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await {
                Ok(_) => {
                    // The queue goes with its only consumer, so with the channel, also if this future is dropped.
                    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
                    channel
                        .basic_consume(name.as_str().into(), "".into(), options, FieldTable::default())
                        .await
                        .map_err(broken(operation))?;
                    return Ok(Lock(channel));
                }
                Err(error) if super::error::soft(&error) != Some(AMQPSoftError::RESOURCELOCKED) => return Err(broken(operation)(error)),
                Err(_) if began.elapsed() > self.patience() => return Err(late(operation)),
                // Another host has it; nothing tells when it is free.
                Err(_) => tokio::time::sleep(LOCK_AGAIN.mul_f64(0.5 + rand::random::<f64>())).await,
            }
        }
    }
}

/// Held until released or dropped.
pub(super) struct Lock(Channel);

impl Lock {
    pub(super) async fn release(self) {
        // If the farewell fails the connection is gone, and the lock with it.
        let _gone = self.0.close(200, "done".into()).await;
    }
}
