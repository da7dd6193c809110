//! A private Redis with two replicas and three sentinels that watch them.

use crate::{Redis, RedisOptions, launch::Launch, ports::Port, process::Process, redis::READY, resp, wait};
use anyhow::{Context, Result, bail};
use std::fs;
use tempfile::TempDir;

const MASTER: &str = "plinth";
const SENTINELS: usize = 3;

/// One master, two replicas, three sentinels. A master that is silent for two seconds is replaced.
#[derive(Debug)]
pub struct RedisSentinel {
    sentinels: Vec<Sentinel>,
    /// The first one is the master at the beginning.
    servers: Vec<Redis>,
}

#[derive(Debug)]
struct Sentinel {
    // First, because it is dropped first: the process before its port and folder.
    process: Process,
    port: Port,
    _dir: TempDir,
}

impl RedisSentinel {
    /// Starts them and waits until the replicas follow and the sentinels know each other.
    pub async fn start() -> Result<Self> {
        let master = Redis::start(RedisOptions::default()).await?;
        let follow = ["--replicaof".to_owned(), "127.0.0.1".to_owned(), master.port().to_string()];
        let options = RedisOptions::default();
        let (one, two) = tokio::try_join!(Redis::start_with(&options, &follow), Redis::start_with(&options, &follow))?;
        // Before the sentinels look: they learn of replicas from a master that knows them.
        wait::until("the replicas", READY, || async {
            let info = resp::ask(master.port(), "INFO replication").await?;
            if info.matches("state=online").count() == 2 { Ok(()) } else { bail!("{info}") }
        })
        .await?;
        let sentinels = (0..SENTINELS).map(|_| Sentinel::start(master.port())).collect::<Result<_>>()?;
        let group = Self { sentinels, servers: vec![master, one, two] };
        group.ready().await?;
        Ok(group)
    }

    /// `redis://127.0.0.1:PORT` of each sentinel.
    pub fn sentinel_urls(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("redis://127.0.0.1:{}", sentinel.port.number())).collect()
    }

    /// The name under which sentinels know the master.
    pub fn master_name(&self) -> &'static str {
        MASTER
    }

    /// The server that the sentinels call the master at this moment.
    pub async fn master(&self) -> Result<&Redis> {
        let first = self.sentinels.first().context("no sentinel")?;
        let info = resp::ask(first.port.number(), "INFO sentinel").await?;
        let port: u16 = address(&info).context("the sentinel knows no master")?.parse()?;
        self.servers.iter().find(|server| server.port() == port).with_context(|| format!("no server of ours has the port {port}"))
    }

    /// Kills the master of the moment and answers it, for [`Redis::restart`]; a successor comes some seconds later.
    pub async fn kill_master(&self) -> Result<&Redis> {
        let master = self.master().await?;
        master.kill().await?;
        Ok(master)
    }

    async fn ready(&self) -> Result<()> {
        for Sentinel { process, port, .. } in &self.sentinels {
            let port = port.number();
            let knows_all = || async move {
                let info = resp::ask(port, "INFO sentinel").await?;
                if info.contains("status=ok") && info.contains("slaves=2,sentinels=3") { Ok(()) } else { bail!("{info}") }
            };
            process.ready(READY, knows_all).await?;
        }
        Ok(())
    }
}

impl Sentinel {
    fn start(master: u16) -> Result<Self> {
        let dir = TempDir::with_prefix("plinth-sentinel-").context("no temporary folder")?;
        let port = Port::reserve()?;
        let number = port.number();
        // A sentinel rewrites its file with what it learns, so that each has its own.
        let text = format!(
            "port {number}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {MASTER} 2000\nsentinel failover-timeout {MASTER} 5000\nsentinel parallel-syncs {MASTER} 2\n"
        );
        fs::write(dir.path().join("sentinel.conf"), text)?;
        let process = Process::start(Launch::new("redis-server", dir.path()).args(["sentinel.conf", "--sentinel"]))?;
        Ok(Self { process, port, _dir: dir })
    }
}

/// The port in `master0:name=plinth,status=ok,address=127.0.0.1:20001,slaves=2,sentinels=3`.
fn address(info: &str) -> Option<&str> {
    info.split_once("address=127.0.0.1:")?.1.split(',').next()
}
