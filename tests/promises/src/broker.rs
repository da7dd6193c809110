//! The brokers of a cell, and the ways in which they are broken.

use anyhow::{Context, Result};
use plinth_backend::{
    Durability,
    inbox::SqliteInbox,
    queue::{AmqpConfig, AmqpQueue},
};
use plinth_capability::queue::Queue;
use plinth_services::{Fault as Toxic, FaultProxy, RabbitMq, RabbitMqCluster};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;

/// Publisher and consumer reach the broker through one proxy each cell, or a cluster directly.
pub(crate) struct Setup {
    brokers: Brokers,
    inbox: Arc<SqliteInbox>,
    _data: TempDir,
}

enum Brokers {
    One { broker: Box<RabbitMq>, proxy: FaultProxy },
    Three(RabbitMqCluster),
}

/// One way to break something, for a while.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// Part of the short campaign.
    pub(crate) quick: bool,
    cluster: bool,
    how: How,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Nothing,
    Kill,
    Pause,
    Alarm,
    Toxic(Toxic),
    KillLeader,
    PauseNode,
    PartNode,
}

const fn one(name: &'static str, how: How) -> Fault {
    Fault { name, quick: true, cluster: false, how }
}

const fn three(name: &'static str, how: How) -> Fault {
    Fault { name, quick: false, cluster: true, how }
}

pub(crate) const FAULTS: &[Fault] = &[
    one("calm", How::Nothing),
    one("kill -9", How::Kill),
    one("SIGSTOP", How::Pause),
    one("reset", How::Toxic(Toxic::Reset)),
    one("black hole", How::Toxic(Toxic::BlackHole)),
    one("lost replies", How::Toxic(Toxic::LoseReplies)),
    one("memory alarm", How::Alarm),
    three("cluster: a node killed", How::KillLeader),
    three("cluster: a node stopped", How::PauseNode),
    three("cluster: a node cut off", How::PartNode),
];

impl Fault {
    /// Breaks it, waits, and mends it.
    pub(crate) async fn run(&self, setup: &Setup, time: Duration) -> Result<()> {
        match (&setup.brokers, self.how) {
            (_, How::Nothing) => tokio::time::sleep(time).await,
            (Brokers::One { broker, .. }, How::Kill) => {
                broker.kill().await?;
                tokio::time::sleep(time).await;
                broker.restart().await?;
            }
            (Brokers::One { broker, .. }, How::Pause) => {
                broker.pause()?;
                tokio::time::sleep(time).await;
                broker.resume()?;
            }
            (Brokers::One { broker, .. }, How::Alarm) => {
                broker.memory_alarm(true).await?;
                tokio::time::sleep(time).await;
                broker.memory_alarm(false).await?;
            }
            (Brokers::One { proxy, .. }, How::Toxic(toxic)) => {
                proxy.set(toxic);
                tokio::time::sleep(time).await;
                proxy.set(Toxic::Pass);
            }
            (Brokers::Three(cluster), How::KillLeader) => {
                cluster.node(0)?.kill().await?;
                tokio::time::sleep(time).await;
                cluster.node(0)?.restart().await?;
            }
            (Brokers::Three(cluster), How::PauseNode) => {
                cluster.node(0)?.pause()?;
                tokio::time::sleep(time).await;
                cluster.node(0)?.resume()?;
            }
            (Brokers::Three(cluster), How::PartNode) => {
                cluster.part(0).await?;
                tokio::time::sleep(time).await;
                cluster.rejoin(0).await?;
            }
            (_, how) => anyhow::bail!("{how:?} does not fit these brokers"),
        }
        Ok(())
    }
}

impl Setup {
    pub(crate) async fn start(fault: &Fault) -> Result<Self> {
        let brokers = if fault.cluster {
            Brokers::Three(RabbitMqCluster::start().await?)
        } else {
            let broker = Box::new(RabbitMq::start().await?);
            let proxy = FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], broker.port())), 7).await?;
            Brokers::One { broker, proxy }
        };
        let data = tempfile::tempdir()?;
        let inbox = Arc::new(SqliteInbox::open(&data.path().join("inbox.db"), Durability::Process).await?);
        Ok(Self { brokers, inbox, _data: data })
    }

    /// One host's view of the queue, with connections of its own.
    pub(crate) async fn queue(&self) -> Result<Arc<dyn Queue>> {
        let urls = match &self.brokers {
            Brokers::One { broker, proxy } => vec![through(&broker.url(), proxy.address())?],
            Brokers::Three(cluster) => cluster.urls(),
        };
        let config = AmqpConfig { urls, confirm_timeout_ms: 2_000, connect_timeout_ms: 1_000, heartbeat_s: 2, ..AmqpConfig::default() };
        Ok(Arc::new(AmqpQueue::open(config, self.inbox.clone())?))
    }
}

/// The same broker by way of the proxy.
fn through(url: &str, proxy: SocketAddr) -> Result<String> {
    let (before, _) = url.rsplit_once('@').context("the URL names a user")?;
    Ok(format!("{before}@{proxy}/%2f"))
}
