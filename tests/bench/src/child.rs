//! A server as a process of its own: started on a free port, watched through /proc, killed at the end.
//!
//! It is this very binary: the host's command line and the two baselines are
//! built with the same settings and the same libraries.

use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// What a server prints once it serves, before its address.
pub(crate) const READY: &str = "plinth: ready on http://";

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The host's data and log; gone with it.
    _folder: Option<tempfile::TempDir>,
}

impl Server {
    /// A host with empty data and settings as they come.
    pub(crate) fn host(root: &Path) -> Result<Self> {
        Self::host_with(root, "")
    }

    /// As `host`, with a configuration.
    pub(crate) fn host_with(root: &Path, config: &str) -> Result<Self> {
        let target = root.join("target/tmp");
        std::fs::create_dir_all(&target).with_context(|| format!("could not make {}", target.display()))?;
        let folder = tempfile::tempdir_in(target).context("could not make a folder for the host's data")?;
        let data = folder.path().join("data");
        let log = std::fs::File::create(folder.path().join("host.log")).context("could not make the host's log")?;
        let file = folder.path().join("plinth.toml");
        std::fs::write(&file, config).context("could not write the host's configuration")?;
        let mut args: Vec<std::ffi::OsString> = ["serve", "--listen", "127.0.0.1:0", "--config"].map(Into::into).to_vec();
        args.extend([file.into_os_string(), "--data".into(), data.into_os_string()]);
        let started = Self::start(&args, log.into());
        let said = || std::fs::read_to_string(folder.path().join("host.log")).unwrap_or_default();
        let mut server = started.map_err(|error| error.context(said()))?;
        server._folder = Some(folder);
        Ok(server)
    }

    /// One of the baselines: a command of this binary with the file it serves.
    pub(crate) fn baseline(command: &str, component: Option<PathBuf>) -> Result<Self> {
        let args: Vec<_> = std::iter::once(command.into()).chain(component.map(PathBuf::into_os_string)).collect();
        Self::start(&args, Stdio::inherit())
    }

    fn start(args: &[std::ffi::OsString], stderr: Stdio) -> Result<Self> {
        let program = std::env::current_exe().context("this binary has no path")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .context("could not start a server")?;
        let stdout = child.stdout.take().context("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        // A host says that it is starting first.
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| line.trim().strip_prefix(READY)?.parse().ok());
        match address {
            Some(address) => Ok(Self { child, address, _folder: None }),
            None => {
                let _ = child.kill();
                bail!("the server {args:?} ended before it was ready")
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// VmRSS in MiB.
    pub(crate) fn rss_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("the server is gone")?;
        rss_kib(&status).map(|kib| kib as f64 / 1024.0).context("/proc tells no VmRSS")
    }

    /// CPU time of all its threads until now.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).context("the server is gone")?;
        let stats = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
        Ok(Duration::from_nanos(stats.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rss_kib(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read() {
        assert_eq!(rss_kib("Name:\tx\nVmPeak:\t 9 kB\nVmRSS:\t   57344 kB\nThreads:\t4\n"), Some(57_344));
        assert_eq!(rss_kib("Name:\tx\n"), None);
    }
}
