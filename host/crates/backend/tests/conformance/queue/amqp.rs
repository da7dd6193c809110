//! The queue's suite over RabbitMQ, each case in a virtual host of its own.

use super::broker::Vhost;
use async_trait::async_trait;
use plinth_backend::queue::{AmqpConfig, AmqpQueue};
use plinth_capability::{
    Result,
    conformance::queue::QueueFixture,
    inbox::{Arrival, Inbox},
    name::QueueName,
    queue::Queue,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// What the inbox promises, for as long as the test lives.
#[derive(Default)]
pub(super) struct MemoryInbox(Mutex<HashMap<(QueueName, String), String>>);

#[async_trait]
impl Inbox for MemoryInbox {
    async fn claim(&self, queue: &QueueName, arrivals: &[Arrival]) -> Result<Vec<bool>> {
        let mut owners = self.0.lock().unwrap();
        let mut claim = |a: &Arrival| *owners.entry((queue.clone(), a.id.clone())).or_insert_with(|| a.copy.clone()) == a.copy;
        Ok(arrivals.iter().map(&mut claim).collect())
    }

    async fn forget(&self, _before_ms: u64) -> Result<u64> {
        Ok(0)
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }
}

pub(super) struct Fixture {
    queue: Arc<AmqpQueue>,
    inbox: Arc<MemoryInbox>,
    vhost: Vhost,
}

fn open(vhost: &Vhost, inbox: &Arc<MemoryInbox>) -> Arc<AmqpQueue> {
    let config = AmqpConfig { urls: vec![vhost.url().to_owned()], ..AmqpConfig::default() };
    Arc::new(AmqpQueue::open(config, inbox.clone()).unwrap())
}

async fn fixture() -> Fixture {
    let (vhost, inbox) = (super::broker::vhost().await, Arc::default());
    Fixture { queue: open(&vhost, &inbox), inbox, vhost }
}

#[async_trait]
impl QueueFixture for Fixture {
    fn queue(&self) -> Arc<dyn Queue> {
        self.queue.clone()
    }

    async fn reopen(&mut self) {
        self.queue = open(&self.vhost, &self.inbox);
    }
}

plinth_capability::queue_conformance!(fixture());
