//! A private OCI registry: the one of the distribution project, from Debian.

use crate::{launch::Launch, ports::Port, process::Process};
use anyhow::{Context, Result, bail};
use std::{fs, time::Duration};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};

const READY: Duration = Duration::from_secs(30);
/// `plinth:secret`, as `htpasswd -B` writes it.
const USERS: &str = "plinth:$2y$05$BZ6lL93CNA8pCQkPhxnFLu48tmuK0Y0WzEANsed3omHxIZrbLJeWq\n";

/// A private registry, killed when dropped.
#[derive(Debug)]
pub struct OciRegistry {
    // First, because it is dropped first: the process before its port and folder.
    process: Process,
    port: Port,
    dir: TempDir,
}

impl OciRegistry {
    /// Starts one that is open to all and waits until it answers.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// Starts one that wants a login.
    pub async fn with_login() -> Result<Self> {
        Self::start_with("auth: {htpasswd: {realm: tests, path: users}}\n").await
    }

    async fn start_with(more: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("plinth-oci-").context("no temporary folder")?;
        let port = Port::reserve()?;
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: store}}}}\nhttp: {{addr: '127.0.0.1:{}'}}\n{more}",
            port.number()
        );
        fs::write(dir.path().join("config.yml"), config)?;
        fs::write(dir.path().join("users"), USERS)?;
        let process = Process::start(Launch::new("docker-registry", dir.path()).args(["serve", "config.yml"]))?;
        let registry = Self { process, port, dir };
        registry.process.ready(READY, || registry.answers()).await?;
        Ok(registry)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// The name and the password of its one user.
    pub const fn login(&self) -> (&'static str, &'static str) {
        ("plinth", "secret")
    }

    /// Where a blob is kept, for tests that spoil it.
    pub fn blob(&self, digest: &str) -> std::path::PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let store = self.dir.path().join("store/docker/registry/v2/blobs/sha256");
        store.join(hex.get(..2).unwrap_or_default()).join(hex).join("data")
    }

    async fn answers(&self) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port.number())).await?;
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        match answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 401") {
            true => Ok(()),
            false => bail!("{answer}"),
        }
    }
}
