//! A private S3-compatible store: SeaweedFS, which checks signatures.

use crate::{launch::Launch, packages, ports::Port, process::Process, wait};
use anyhow::{Context, Result, bail};
use std::{fs, process::Stdio, time::Duration};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

const READY: Duration = Duration::from_secs(60);
/// Who may do everything.
const ACCESS_KEY: &str = "plinth";
const SECRET_KEY: &str = "plinth-secret";

/// What its sockets are called.
const KINDS: [&str; 7] = ["s3", "s3-grpc", "filer", "filer-grpc", "volume-grpc", "master-grpc", "volume"];

/// A private S3-compatible server with one user, killed when dropped.
#[derive(Debug)]
pub struct S3 {
    // First, because it is dropped first: the process before its ports and folder.
    process: Process,
    s3: Port,
    /// Its HTTP and its gRPC port.
    master: (Port, Port),
    others: Vec<Port>,
    _dir: TempDir,
}

impl S3 {
    /// Starts one and waits until it answers.
    pub async fn start() -> Result<Self> {
        let dir = TempDir::with_prefix("plinth-s3-").context("no temporary folder")?;
        let users = format!(
            r#"{{"identities": [{{"name": "test", "credentials": [{{"accessKey": "{ACCESS_KEY}", "secretKey": "{SECRET_KEY}"}}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"]}}]}}"#
        );
        fs::write(dir.path().join("users.json"), users)?;
        let (s3, master) = (Port::reserve()?, (Port::reserve()?, Port::reserve()?));
        let mut launch = Launch::new(packages::weed(), dir.path()).args(["-logdir=."]);
        launch.env.push(("TMPDIR", dir.path().into()));
        launch = launch.args(["server", "-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.config=users.json"]);
        // Two more that it would take on its own.
        launch = launch.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=20"]);
        launch = launch.args([format!("-s3.port={}", s3.number()), format!("-master.port={}", master.0.number())]);
        launch = launch.args([format!("-master.port.grpc={}", master.1.number())]);
        let mut others = Vec::new();
        for name in ["volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc"] {
            let port = Port::reserve()?;
            launch = launch.args([format!("-{name}={}", port.number())]);
            others.push(port);
        }
        let server = Self { process: Process::start(launch)?, s3, master, others, _dir: dir };
        server.ready().await?;
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`, an endpoint in the style with the bucket in the path.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3.number())
    }

    /// The access key and the secret of its user.
    pub const fn keys(&self) -> (&'static str, &'static str) {
        (ACCESS_KEY, SECRET_KEY)
    }

    /// Makes a bucket.
    pub async fn bucket(&self, name: &str) -> Result<()> {
        self.shell(&format!("s3.bucket.create -name {name}\n")).await
    }

    /// Ends it by SIGKILL, as a crash would. Killing it twice is no error.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it again on the same ports and folder and waits until it answers; a running one is killed first.
    pub async fn restart(&self) -> Result<()> {
        self.process.start_again().await?;
        self.ready().await
    }

    /// Sockets that it makes beside its ports and leaves behind.
    fn sockets(&self) -> impl Iterator<Item = String> {
        let ports = [&self.s3, &self.master.0, &self.master.1].into_iter().chain(&self.others);
        ports.flat_map(|port| KINDS.map(|kind| format!("/tmp/seaweedfs-{kind}-{}.sock", port.number())))
    }

    async fn ready(&self) -> Result<()> {
        let port = self.s3.number();
        let answers = || async move { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop).context("no connection") };
        self.process.ready(READY, answers).await?;
        // Listening, it may not yet know where to put anything.
        wait::until("a bucket in the S3 store", READY, || self.bucket("ready")).await
    }

    /// The store's own command line, which ends with 0 whatever happened.
    async fn shell(&self, line: &str) -> Result<()> {
        let mut shell = Command::new(packages::weed());
        shell
            .args(["shell", &format!("-master=127.0.0.1:{}.{}", self.master.0.number(), self.master.1.number())])
            .current_dir(self._dir.path())
            .kill_on_drop(true);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("weed shell")?;
        shell.stdin.take().context("no standard input")?.write_all(line.as_bytes()).await?;
        let output = shell.wait_with_output().await?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() && said.contains("create bucket under") && !said.contains("error:") {
            return Ok(());
        }
        bail!("the S3 store said: {said}")
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        for socket in self.sockets() {
            // Most names are of none.
            drop(fs::remove_file(socket));
        }
    }
}
