//! The queue's suite over RabbitMQ, each case in a virtual host of its own, and what faults may not do.

mod faults;

use async_trait::async_trait;
use plinth_backend::{
    Durability,
    inbox::SqliteInbox,
    queue::{AmqpConfig, AmqpQueue},
};
use plinth_capability::{conformance::queue::QueueFixture, queue::Queue};
use plinth_services::shared::{Vhost, rabbitmq_vhost};
use std::sync::Arc;
use tempfile::TempDir;

/// A queue over the broker at `url`, with an inbox of its own.
struct Opened {
    queue: Arc<AmqpQueue>,
    inbox: Arc<SqliteInbox>,
    _dir: TempDir,
}

impl Opened {
    async fn new(config: AmqpConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Arc::new(SqliteInbox::open(&dir.path().join("inbox.db"), Durability::Process).await.unwrap());
        Self { queue: Arc::new(AmqpQueue::open(config, inbox.clone()).unwrap()), inbox, _dir: dir }
    }

    /// As another process that shares the inbox.
    fn again(&mut self, config: AmqpConfig) {
        self.queue = Arc::new(AmqpQueue::open(config, self.inbox.clone()).unwrap());
    }
}

fn config(url: String) -> AmqpConfig {
    AmqpConfig { urls: vec![url], ..AmqpConfig::default() }
}

struct Fixture {
    opened: Opened,
    vhost: Vhost,
}

async fn fixture() -> Fixture {
    let vhost = rabbitmq_vhost().await.unwrap();
    Fixture { opened: Opened::new(config(vhost.url())).await, vhost }
}

#[async_trait]
impl QueueFixture for Fixture {
    fn queue(&self) -> Arc<dyn Queue> {
        self.opened.queue.clone()
    }

    async fn reopen(&mut self) {
        self.opened.again(config(self.vhost.url()));
    }
}

plinth_capability::queue_conformance!(fixture());
