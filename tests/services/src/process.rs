//! One running server: ready when it answers, killed with its children, paused, and quoted when it fails.

use crate::{launch::Launch, wait};
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    process::Child,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const LOG_LINES: usize = 30;
const END: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Process {
    launch: Launch,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Starts it; it may not listen yet.
    pub(crate) fn start(launch: Launch) -> Result<Self> {
        let child = launch.spawn()?;
        Ok(Self { launch, child: Mutex::new(Some(child)) })
    }

    /// Waits until `probe` says yes. An end of the process is seen at once; every error carries the end of its log.
    pub(crate) async fn ready<T, F>(&self, limit: Duration, mut probe: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let name = self.launch.name();
        let ready = wait::until(&name, limit, || {
            let ended = self.ended();
            let answer = ended.is_none().then(&mut probe);
            async move {
                match (ended, answer) {
                    (None, Some(answer)) => answer.await.map(Ok),
                    (status, _) => Ok(Err(anyhow!("it ended ({})", status.unwrap_or_default()))),
                }
            }
        });
        let ready = ready.await.and_then(|answer| answer);
        ready.with_context(|| format!("{name} is not ready; the end of its log:\n{}", self.log_tail()))
    }

    /// SIGKILL to the process and all its children, who need not be in its group; all are gone afterwards.
    pub(crate) async fn kill(&self) -> Result<()> {
        let Some(mut child) = self.child().take() else { return Ok(()) };
        let family = tree(child.id());
        send(&family, Signal::KILL);
        child.wait()?;
        wait::until("the end of a killed server", END, || async {
            if family.iter().any(|pid| lives(*pid)) { bail!("a child lives") } else { Ok(()) }
        })
        .await
    }

    /// Starts it again, killed first if it still runs.
    pub(crate) async fn start_again(&self) -> Result<()> {
        self.kill().await?;
        *self.child() = Some(self.launch.spawn()?);
        Ok(())
    }

    /// Stops the whole tree: its connections stay open and nothing answers.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(self.launch.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child();
        let child = child.as_ref().with_context(|| format!("{} does not run", self.launch.name()))?;
        send(&tree(child.id()), signal);
        Ok(())
    }

    fn ended(&self) -> Option<String> {
        let mut child = self.child();
        match child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => None,
            Some(Ok(Some(status))) => Some(status.to_string()),
            Some(Err(error)) => Some(error.to_string()),
            None => Some("it was killed".to_owned()),
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            send(&tree(child.id()), Signal::KILL);
            // Without it the process would stay behind as a zombie until the test ends.
            let _ = child.wait();
        }
    }
}

/// The process and all who descend from it, parents first: a parent that is stopped first starts nobody new.
fn tree(root: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?.1))
        })
        .collect();
    let mut family = vec![root];
    let mut generation = vec![root];
    while !generation.is_empty() {
        generation = all.iter().filter(|(_, parent)| generation.contains(parent)).map(|(pid, _)| *pid).collect();
        family.extend(&generation);
    }
    family
}

fn send(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // The only failure is that it has just ended.
        let _ = kill_process(pid, signal);
    }
}

/// A zombie does not count: it holds no file and no port.
fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// State and parent. The name between them may contain spaces and brackets.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
