//! The queue's suite over RabbitMQ, each case in a virtual host of its own, and what faults may not do.

mod cluster;
mod faults;
mod support;

use async_trait::async_trait;
use plinth_backend::queue::AmqpQueue;
use plinth_capability::{conformance::queue::QueueFixture, queue::Queue};
use plinth_services::{
    Fault, FaultProxy,
    shared::{Vhost, rabbitmq_vhost},
};
use std::sync::Arc;
use support::{Opened, config, proxy, through};

struct Fixture {
    opened: Opened,
    /// Between the broker and the present process; what a killed one had is cut off for good.
    proxy: FaultProxy,
    killed: Vec<(Arc<AmqpQueue>, FaultProxy)>,
    vhost: Vhost,
}

async fn fixture() -> Fixture {
    let vhost = rabbitmq_vhost().await.unwrap();
    let proxy = proxy(&vhost.url()).await;
    Fixture { opened: Opened::new(config(through(&proxy, &vhost.url()))).await, proxy, killed: Vec::new(), vhost }
}

#[async_trait]
impl QueueFixture for Fixture {
    fn queue(&self) -> Arc<dyn Queue> {
        self.opened.queue.clone()
    }

    async fn reopen(&mut self) {
        let next = proxy(&self.vhost.url()).await;
        self.proxy.set(Fault::Reset);
        let old = self.opened.again(config(through(&next, &self.vhost.url())));
        self.killed.push((old, std::mem::replace(&mut self.proxy, next)));
    }
}

plinth_capability::queue_conformance!(fixture());
