//! A private PostgreSQL, and replicas of it.

use crate::{
    launch::{Launch, User},
    packages,
    ports::Port,
    process::Process,
};
use anyhow::{Context, Result, bail};
use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tempfile::TempDir;

const READY: Duration = Duration::from_secs(60);

/// A private PostgreSQL server with the superuser `postgres` and no password, killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    // First, because it is dropped first: the process before its port and folder.
    process: Process,
    port: Port,
    _dir: TempDir,
    replicas: AtomicUsize,
}

impl Postgres {
    /// Makes an empty cluster, starts it and waits until it answers a query.
    pub async fn start() -> Result<Self> {
        // A crash of the server loses nothing without fsync, only a crash of the machine does.
        Self::make("fsync=off").await
    }

    /// As `start`, but every commit waits for the disk: for those who measure what that costs.
    pub async fn start_durable() -> Result<Self> {
        Self::make("fsync=on").await
    }

    async fn make(fsync: &'static str) -> Result<Self> {
        let (dir, user) = folder()?;
        let init =
            tool("initdb", dir.path(), user)?.args(["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        init.args(["--no-sync", "--no-instructions", "--wal-segsize=1"]).run().await?;
        Self::start_in(dir, user, fsync).await
    }

    async fn start_in(dir: TempDir, user: Option<User>, fsync: &'static str) -> Result<Self> {
        let port = Port::reserve()?;
        let mut launch = tool("postgres", dir.path(), user)?.args(["-D", "data"]);
        let port_setting = format!("port={}", port.number());
        for setting in ["listen_addresses=127.0.0.1", &port_setting, "unix_socket_directories=", fsync, "max_connections=300"] {
            launch = launch.args(["-c", setting]);
        }
        for setting in ["wal_level=replica", "max_wal_senders=10", "max_replication_slots=10", "wal_log_hints=on", "hot_standby=on"] {
            launch = launch.args(["-c", setting]);
        }
        let server = Self { process: Process::start(launch)?, port, _dir: dir, replicas: AtomicUsize::new(0) };
        server.ready().await?;
        Ok(server)
    }

    /// `postgres://postgres@127.0.0.1:PORT`; a database is a path behind it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Ends it and all its sessions by SIGKILL, as a crash would. Killing it twice is no error.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it again on the same port and folder and waits until it answers; a running one is killed first.
    pub async fn restart(&self) -> Result<()> {
        self.process.start_again().await?;
        self.ready().await
    }

    /// Stops it and all its sessions: connections stay open, nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// Lets it go on after [`Postgres::pause`].
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// Copies it into a new server that follows it, and waits until that one streams. Each has its own ports,
    /// folder and end; a replica that is gone makes this server keep its log for it.
    pub async fn replica(&self) -> Result<Self> {
        let (dir, user) = folder()?;
        let slot = format!("replica_{}", self.replicas.fetch_add(1, Ordering::Relaxed));
        let port = self.port().to_string();
        let copy = tool("pg_basebackup", dir.path(), user)?.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-D", "data"]);
        copy.args(["-X", "stream", "-R", "-C", "-S", &slot, "-c", "fast", "--no-sync"]).run().await?;
        let replica = Self::start_in(dir, user, "fsync=off").await?;
        let (port, query) = (self.port(), format!("select active from pg_replication_slots where slot_name = '{slot}'"));
        let query = query.as_str();
        let streams = || async move {
            let active = sql(port, query).await?;
            if active.trim() == "t" { Ok(()) } else { bail!("its slot is not in use") }
        };
        replica.process.ready(READY, streams).await?;
        Ok(replica)
    }

    /// Makes a replica a server that can be written to, and waits until it is.
    pub async fn promote(&self) -> Result<()> {
        match sql(self.port(), "select pg_promote(true, 60)").await?.trim() {
            "t" => Ok(()),
            other => bail!("pg_promote answered {other}"),
        }
    }

    /// Runs statements in the database `postgres` and answers the values of the last one, one row per line.
    pub async fn sql(&self, statements: &str) -> Result<String> {
        sql(self.port(), statements).await
    }

    async fn ready(&self) -> Result<()> {
        let port = self.port();
        // `pg_isready` says yes while connections are still refused; a query does not.
        self.process.ready(READY, || async move { sql(port, "select 1").await.map(drop) }).await
    }
}

/// Runs one statement in the database `postgres` and answers the values alone.
pub(crate) async fn sql(port: u16, statement: &str) -> Result<String> {
    psql(port, statement)?.run().await
}

/// The same for a `Drop`.
pub(crate) fn sql_blocking(port: u16, statement: &str) -> Result<String> {
    psql(port, statement)?.run_blocking()
}

fn psql(port: u16, statement: &str) -> Result<Launch> {
    let launch = tool("psql", Path::new("/"), None)?.args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", "postgres", "-d", "postgres"]);
    Ok(launch.args(["-v", "ON_ERROR_STOP=1", "-p", &port.to_string(), "-c", statement]).env("PGCONNECT_TIMEOUT", "3"))
}

fn tool(name: &str, dir: &Path, user: Option<User>) -> Result<Launch> {
    let Some(programs) = packages::postgres_programs() else { bail!("PostgreSQL is not installed: apt-get install postgresql") };
    let mut launch = Launch::new(programs.join(name), dir);
    launch.user = user;
    Ok(launch)
}

/// A folder that belongs to who runs the server: it refuses root, and data that others could read.
fn folder() -> Result<(TempDir, Option<User>)> {
    let dir = TempDir::with_prefix("plinth-postgres-").context("no temporary folder")?;
    let user = User::unprivileged()?;
    if let Some(user) = user {
        user.own(dir.path())?;
    }
    Ok((dir, user))
}
