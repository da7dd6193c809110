//! A private Redis Cluster of three masters.

use crate::{Redis, RedisOptions, ports::Port, redis::READY, resp, wait};
use anyhow::{Context, Result, bail};

/// Which slots each node serves.
const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// Three masters without replicas that share the slots.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    buses: Vec<Port>,
}

impl RedisCluster {
    /// Starts them and waits until each says that the cluster serves.
    pub async fn start() -> Result<Self> {
        let (mut nodes, mut buses) = (Vec::new(), Vec::new());
        for _ in SLOTS {
            let bus = Port::reserve()?;
            let number = bus.number().to_string();
            let words = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &number];
            nodes.push(Redis::start_with(&RedisOptions::default(), &words.map(str::to_owned)).await?);
            buses.push(bus);
        }
        let cluster = Self { nodes, buses };
        cluster.join().await?;
        cluster.ready().await?;
        Ok(cluster)
    }

    /// `redis://127.0.0.1:PORT` of each node.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// A node by its place in [`RedisCluster::urls`]; it serves a third of the slots, in the same order.
    pub fn node(&self, index: usize) -> Result<&Redis> {
        self.nodes.get(index).with_context(|| format!("the cluster has no node {index}"))
    }

    /// Waits until every node says that the cluster serves all slots again.
    pub async fn ready(&self) -> Result<()> {
        for node in &self.nodes {
            wait::until("the cluster", READY, || async move {
                let info = resp::ask(node.port(), "CLUSTER INFO").await?;
                match (resp::field(&info, "cluster_state"), resp::field(&info, "cluster_known_nodes")) {
                    (Some("ok"), Some("3")) => Ok(()),
                    _ => bail!("{info}"),
                }
            })
            .await
            .with_context(|| node.log_tail())?;
        }
        Ok(())
    }

    async fn join(&self) -> Result<()> {
        let first = self.node(0)?.port();
        for (epoch, ((node, bus), (from, to))) in (1..).zip(self.nodes.iter().zip(&self.buses).zip(SLOTS)) {
            let port = node.port();
            resp::ask(port, &format!("CLUSTER SET-CONFIG-EPOCH {epoch}")).await?;
            resp::ask(port, &format!("CLUSTER ADDSLOTSRANGE {from} {to}")).await?;
            if port != first {
                resp::ask(first, &format!("CLUSTER MEET 127.0.0.1 {port} {}", bus.number())).await?;
            }
        }
        Ok(())
    }
}
