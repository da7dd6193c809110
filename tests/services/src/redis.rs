//! A private Redis: plain or with TLS, with users, with a log that survives a kill.

use crate::{launch::Launch, ports::Port, process::Process, resp, tls};
use anyhow::{Context, Result};
use std::{fs, time::Duration};
use tempfile::TempDir;

pub(crate) const READY: Duration = Duration::from_secs(30);

/// How a private Redis differs from the plain one.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Users in the words of an ACL file, such as `user app on >pw ~app:* +@all`. The default user
    /// keeps all its rights unless a line `user default off` takes them.
    pub acl_users: Vec<String>,
    /// Whether it takes TLS connections beside the plain ones, by a certificate for 127.0.0.1.
    pub tls: bool,
    /// Whether an acknowledged write survives `kill` and `restart`; without it a restart begins empty.
    pub appendonly: bool,
}

/// A private Redis server, killed when dropped.
#[derive(Debug)]
pub struct Redis {
    // First, because it is dropped first: the process before its port and folder.
    process: Process,
    port: Port,
    tls: Option<Tls>,
    _dir: TempDir,
}

#[derive(Debug)]
struct Tls {
    port: Port,
    authority: String,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub async fn start(options: RedisOptions) -> Result<Self> {
        Self::start_with(&options, &[]).await
    }

    /// With more words of the server's command line.
    pub(crate) async fn start_with(options: &RedisOptions, more: &[String]) -> Result<Self> {
        let dir = TempDir::with_prefix("plinth-redis-").context("no temporary folder")?;
        let port = Port::reserve()?;
        let number = port.number().to_string();
        let mut launch = Launch::new("redis-server", dir.path());
        launch = launch.args(["--bind", "127.0.0.1", "--port", &number, "--save", "", "--repl-diskless-sync-delay", "0"]);
        launch = launch.args(["--appendonly", if options.appendonly { "yes" } else { "no" }, "--appendfsync", "always"]);
        if !options.acl_users.is_empty() {
            let file = dir.path().join("users.acl");
            fs::write(&file, options.acl_users.join("\n") + "\n")?;
            launch = launch.args(["--aclfile".into(), file.into_os_string()]);
        }
        let mut tls = None;
        if options.tls {
            let authority = tls::certificate(dir.path()).await?;
            let port = Port::reserve()?;
            launch =
                launch.args(["--tls-port", &port.number().to_string(), "--tls-cert-file", tls::CERTIFICATE, "--tls-key-file", tls::KEY]);
            launch = launch.args(["--tls-ca-cert-file", tls::AUTHORITY, "--tls-auth-clients", "no"]);
            tls = Some(Tls { port, authority });
        }
        launch = launch.args(more);
        let server = Self { process: Process::start(launch)?, port, tls, _dir: dir };
        server.ready().await?;
        Ok(server)
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// `rediss://127.0.0.1:PORT`, and the certificate of its authority in PEM; an error without [`RedisOptions::tls`].
    pub fn tls_url(&self) -> Result<(String, &str)> {
        let tls = self.tls.as_ref().context("this Redis was started without TLS")?;
        Ok((format!("rediss://127.0.0.1:{}", tls.port.number()), &tls.authority))
    }

    /// The port of plain connections.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Ends it by SIGKILL, as a crash would. Killing it twice is no error.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it again on the same port and folder and waits until it answers; a running one is killed first.
    pub async fn restart(&self) -> Result<()> {
        self.process.start_again().await?;
        self.ready().await
    }

    /// Stops it: connections stay open and can be made, nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// Lets it go on after [`Redis::pause`].
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    pub(crate) fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    async fn ready(&self) -> Result<()> {
        let port = self.port();
        let answer = || async move {
            match resp::ask(port, "PING").await {
                // It answers; that it wants a password is the wish of who started it.
                Err(error) if error.to_string().contains("-NOAUTH") || error.to_string().contains("-NOPERM") => Ok(()),
                other => other.map(drop),
            }
        };
        self.process.ready(READY, answer).await
    }
}
