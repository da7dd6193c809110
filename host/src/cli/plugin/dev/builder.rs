//! One build as a process of its own: `plinth plugin build`, which can be ended with everything it has started.

use super::super::super::Complaint;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::{Child, Command};

pub(super) struct Builder {
    program: PathBuf,
    dir: PathBuf,
    release: bool,
}

impl Builder {
    pub(super) fn new(dir: &Path, release: bool) -> Result<Self, Complaint> {
        let program = std::env::current_exe().map_err(|e| Complaint::failed(format!("this program cannot be found: {e}")))?;
        Ok(Self { program, dir: dir.to_owned(), release })
    }

    /// The host checks what it is given, so the build need not.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it ends the build.
    pub(super) async fn build(&self) -> Result<(), Complaint> {
        let mut command = Command::new(&self.program);
        command.args(["plugin", "build", "--no-check"]).args(self.release.then_some("--release")).arg(&self.dir);
        command.stdin(Stdio::null()).process_group(0);
        let child = command.spawn().map_err(|e| Complaint::failed(format!("the build could not be started: {e}")))?;
        let mut group = Group(child);
        let status = group.0.wait().await.map_err(|e| Complaint::failed(e.to_string()))?;
        if status.success() { Ok(()) } else { Err(Complaint::failed(format!("the build failed ({status})"))) }
    }
}

/// A process and all those below it.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it has ended and been waited for.
        if let Some(leader) = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It may have ended this moment.
            let _ended = kill_process_group(leader, Signal::KILL);
        }
    }
}
