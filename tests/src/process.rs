//! The host as a process of its own, which a test may kill.

use crate::{Client, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ops::Deref,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

const STARTING: &str = "plinth: starting on ";
const READY: &str = "plinth: ready on ";
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The host's binary, which lies beside this one or above the folder of a test's own.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let folder = own.parent().expect("target/PROFILE");
    let profile = if folder.ends_with("deps") { folder.parent().expect("target/PROFILE/deps") } else { folder };
    let path = profile.join("plinth");
    assert!(path.is_file(), "{} is missing; `cargo xtask test` builds it before the tests", path.display());
    path
}

/// Derefs to the client that talks to it.
pub struct HostProcess {
    child: Child,
    /// Kept, because a host that cannot print would stop.
    _stdout: Lines<BufReader<ChildStdout>>,
    client: Client,
    /// From the start of the process to the words waited for.
    pub ready_after: Duration,
}

impl HostProcess {
    /// `plinth serve` in a data folder, with further arguments, until it is ready.
    pub async fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_until(READY, data, arguments).await
    }

    /// As `start`, until it serves; its plugins may not be back yet.
    pub async fn starting(data: &Path, arguments: &[&str]) -> Self {
        Self::start_until(STARTING, data, arguments).await
    }

    async fn start_until(words: &str, data: &Path, arguments: &[&str]) -> Self {
        let started = Self::try_start_until(words, data, arguments, &[]).await;
        started.unwrap_or_else(|| panic!("the host ended before it said `{words}`; its log:\n{}", last_lines(data)))
    }

    /// As `start`, with more in its environment; `None` if it ended before it was ready.
    pub async fn try_start_with(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Self> {
        Self::try_start_until(READY, data, arguments, environment).await
    }

    async fn try_start_until(words: &str, data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Self> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("host.log")).expect("a log");
        let mut command = Command::new(binary());
        command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]);
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let began = Instant::now();
        let mut child = command.spawn().expect("the host starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let url = tokio::time::timeout(READY_WITHIN, async {
            while let Some(line) = stdout.next_line().await.expect("text") {
                if let Some(url) = line.strip_prefix(words) {
                    return Some(url.trim().to_owned());
                }
            }
            None
        });
        let url = url.await.unwrap_or_else(|_| panic!("the host did not say `{words}` in time; its log:\n{}", last_lines(data)))?;
        Some(Self { child, _stdout: stdout, client: Client::new(&url), ready_after: began.elapsed() })
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw).expect("a running process has an id")
    }

    /// Returns when the process has ended by itself.
    pub async fn ended(&mut self) {
        self.child.wait().await.expect("a child ends");
    }

    /// SIGKILL: no last word, no last write.
    pub async fn kill(mut self) {
        kill_process(self.pid(), Signal::KILL).expect("our own child can be killed");
        self.child.wait().await.expect("a killed child ends");
    }

    /// SIGTERM, and the exit must be a good one. How long it took.
    pub async fn stop(mut self) -> Duration {
        let told = Instant::now();
        kill_process(self.pid(), Signal::TERM).expect("our own child can be told");
        let status = self.child.wait().await.expect("a child ends");
        assert!(status.success(), "the host did not stop well: {status}");
        told.elapsed()
    }

    /// Bytes of memory that are its own and resident.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// Until the consumers have worked off what is in a queue.
    pub async fn drained(&self, queue: &str) {
        let path = format!("/v1/queues/{}", queue.replace('/', "%2F"));
        eventually(&format!("{queue} is worked off"), async || {
            let depth = self.get(&path).await.ok()["depth"].clone();
            let left = ["ready", "delayed", "in_flight"].iter().filter_map(|state| depth[*state].as_u64()).sum::<u64>();
            (left == 0).then_some(())
        })
        .await;
    }
}

impl Deref for HostProcess {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

fn last_lines(data: &Path) -> String {
    let text = std::fs::read_to_string(data.join("host.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
