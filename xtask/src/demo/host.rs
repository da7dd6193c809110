//! The host as a process of its own: started on a free port, watched, stopped as an operator would.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// A first start compiles nothing but the engine's own parts.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The host promises 30 seconds.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);
const READY: &str = "plinth: ready on ";

pub(crate) struct Host {
    child: Child,
    /// Read to the end only at the stop; a host prints a line or two.
    stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
    log: PathBuf,
}

impl Host {
    /// Starts `plinth serve` on an empty data folder and waits until it is ready.
    pub(crate) async fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let (data, log) = (folder.join("data"), folder.join("host.log"));
        if data.exists() {
            std::fs::remove_dir_all(&data).with_context(|| format!("could not empty {}", data.display()))?;
        }
        std::fs::create_dir_all(&data).with_context(|| format!("could not make {}", data.display()))?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data").arg(&data).args(["--listen", "127.0.0.1:0"]);
        Self::launch(command, log).await
    }

    async fn launch(mut command: Command, log: PathBuf) -> Result<Self> {
        let stderr = File::create(&log).with_context(|| format!("could not make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        // A group of its own: Ctrl-C reaches the demo, and the demo stops the host.
        command.process_group(0);
        let mut child = command.spawn().context("could not start the host")?;
        let stdout = child.stdout.take().context("the host has no stdout")?;
        let mut host = Self { child, stdout: BufReader::new(stdout).lines(), url: String::new(), log };
        match timeout(READY_WITHIN, host.ready()).await {
            Ok(url) => host.url = url?,
            Err(_) => bail!("the host was not ready within {} s; {}", READY_WITHIN.as_secs(), host.last_words()),
        }
        Ok(host)
    }

    async fn ready(&mut self) -> Result<String> {
        while let Some(line) = self.stdout.next_line().await? {
            if let Some(url) = line.strip_prefix(READY) {
                return Ok(url.trim().to_owned());
            }
        }
        let status = self.child.wait().await?;
        bail!("the host ended before it was ready ({status}); {}", self.last_words())
    }

    /// Ends only when the host does, which it should not by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        // Nobody else reads the pipe; a full one would stop the host.
        while self.stdout.next_line().await?.is_some() {}
        Ok(self.child.wait().await?)
    }

    /// SIGTERM, then wait for exit code 0.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).context("could not signal the host")?;
        }
        let status = timeout(STOPPED_WITHIN, self.ended()).await;
        match status {
            Ok(status) => match status? {
                status if status.success() => Ok(()),
                status => bail!("the host did not stop well ({status}); {}", self.last_words()),
            },
            // Dropping it kills it.
            Err(_) => bail!("the host did not stop within {} s; {}", STOPPED_WITHIN.as_secs(), self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(5)..).unwrap_or_default();
        format!("its log, {}, ends with:\n{}", self.log.display(), last.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell script in the host's place.
    async fn launch(script: &str) -> (tempfile::TempDir, Result<Host>) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let host = Host::launch(command, folder.path().join("host.log")).await;
        (folder, host)
    }

    const READY_THEN_WAIT: &str = "echo 'plinth: ready on http://127.0.0.1:7300'; while :; do sleep 0.02; done";

    #[tokio::test]
    async fn a_ready_host_is_stopped_by_a_signal() {
        let (_folder, host) = launch(&format!("trap 'exit 0' TERM; {READY_THEN_WAIT}")).await;
        let host = host.unwrap();
        assert_eq!(host.url, "http://127.0.0.1:7300");
        host.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_bad_exit_code_is_an_error() {
        let (_folder, host) = launch(&format!("trap 'echo torn >&2; exit 4' TERM; {READY_THEN_WAIT}")).await;
        let error = host.unwrap().stop().await.unwrap_err().to_string();
        assert!(error.contains("exit status: 4") && error.contains("torn"), "{error}");
    }

    #[tokio::test]
    async fn a_host_that_dies_early_shows_its_log() {
        let (_folder, host) = launch("echo 'port taken' >&2; exit 3").await;
        let error = host.err().unwrap().to_string();
        assert!(error.contains("exit status: 3") && error.contains("port taken"), "{error}");
    }
}
