//! A private RabbitMQ cluster of three nodes.

use crate::{
    RabbitMq, http,
    rabbitmq::{Home, READY},
    wait,
};
use anyhow::{Context, Result, bail};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three nodes. One that sees no majority pauses itself; a silent one is given up after about ten seconds.
#[derive(Debug)]
pub struct RabbitMqCluster {
    nodes: Vec<RabbitMq>,
}

impl RabbitMqCluster {
    /// Starts them side by side and waits until each is there and the first sees all.
    pub async fn start() -> Result<Self> {
        let home = Home::open().await?;
        let mut settings: Vec<String> =
            (1..).zip(NAMES).map(|(n, name)| format!("cluster_formation.classic_config.nodes.{n} = {name}@localhost")).collect();
        settings.push("cluster_formation.peer_discovery_backend = classic_config".into());
        settings.push("cluster_partition_handling = pause_minority".into());
        settings.push("net_ticktime = 8".into());
        let nodes = NAMES.into_iter().map(|name| RabbitMq::begin(&home, name, &settings)).collect::<Result<_>>()?;
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            node.ready().await?;
        }
        cluster.ready().await?;
        Ok(cluster)
    }

    /// `amqp://t:t@127.0.0.1:PORT` of each node.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RabbitMq::url).collect()
    }

    /// A node by its place in [`RabbitMqCluster::urls`].
    pub fn node(&self, index: usize) -> Result<&RabbitMq> {
        self.nodes.get(index).with_context(|| format!("the cluster has no node {index}"))
    }

    /// Cuts a node off from the two others, which stay together; clients still reach all three. Each side
    /// gives up its connections to the other and makes no new ones, until [`RabbitMqCluster::rejoin`].
    pub async fn part(&self, index: usize) -> Result<()> {
        let node = self.node(index)?;
        for other in self.others(index) {
            node.eval(&format!("erlang:set_cookie('{other}', parted), erlang:disconnect_node('{other}').")).await?;
        }
        wait::until("the partition", READY, || async move {
            let seen = node.eval("nodes().").await?;
            if self.others(index).any(|other| seen.contains(&other)) { bail!("it still sees {seen}") } else { Ok(()) }
        })
        .await
    }

    /// Ends what [`RabbitMqCluster::part`] began; the nodes find each other in their own time.
    pub async fn rejoin(&self, index: usize) -> Result<()> {
        let node = self.node(index)?;
        for other in self.others(index) {
            node.eval(&format!("erlang:set_cookie('{other}', erlang:get_cookie()).")).await?;
        }
        Ok(())
    }

    fn others(&self, index: usize) -> impl Iterator<Item = String> {
        NAMES.into_iter().enumerate().filter(move |(place, _)| *place != index).map(|(_, name)| format!("{name}@localhost"))
    }

    /// Waits until every node sees all three running.
    pub async fn ready(&self) -> Result<()> {
        for node in &self.nodes {
            let port = node.management_port();
            wait::until("the cluster", READY, || async move {
                let nodes = http::call(port, "GET", "/api/nodes?columns=name,running".into(), String::new()).await?;
                if nodes.matches(r#""running":true"#).count() == NAMES.len() { Ok(()) } else { bail!("{nodes}") }
            })
            .await
            .with_context(|| node.log_tail())?;
        }
        Ok(())
    }
}
