//! How a program of a server is started: with whose rights, in which environment, and from which thread.

use anyhow::{Context, Result, anyhow, bail};
use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
};

/// Fixed, as the rest of the environment: no variable of the user's shell changes what a server does.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A user whose rights a server takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Who runs a server that refuses root: `None` for our own user, `postgres` when we are root.
    pub(crate) fn unprivileged() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("could not read /etc/passwd")?;
        let line = users.lines().find(|line| line.starts_with("postgres:")).context("there is no user postgres")?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        match (ids.next(), ids.next()) {
            (Some(Ok(uid)), Some(Ok(gid))) => Ok(Some(Self { uid, gid })),
            _ => bail!("the line of postgres in /etc/passwd has no ids"),
        }
    }

    pub(crate) fn own(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).with_context(|| format!("could not give away {}", path.display()))
    }
}

/// A program with all it needs to be started again.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
    pub(crate) user: Option<User>,
    /// Its working folder, with the log.
    pub(crate) dir: PathBuf,
}

impl Launch {
    pub(crate) fn new(program: impl Into<PathBuf>, dir: &Path) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new(), user: None, dir: dir.to_path_buf() }
    }

    pub(crate) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// What the server said, in all its runs.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Starts it so that it ends when we do, however we end.
    pub(crate) fn spawn(&self) -> Result<Child> {
        let log = File::options().create(true).append(true).open(self.log()).context("could not open the server's log")?;
        // `setpriv` asks the kernel for SIGKILL when the parent is gone and becomes the program. It
        // is started with the final user: a change of user would cancel the request.
        let mut command = self.base("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).args(&self.args);
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        on_lasting_thread(command).with_context(|| format!("could not start {}", self.program.display()))
    }

    /// Runs it to its end and answers what it printed; its errors are the error.
    pub(crate) async fn run(self) -> Result<String> {
        tokio::task::spawn_blocking(move || self.run_blocking()).await?
    }

    pub(crate) fn run_blocking(&self) -> Result<String> {
        let mut command = self.base(&self.program);
        let output = command.args(&self.args).output().with_context(|| format!("could not start {}", self.program.display()))?;
        if !output.status.success() {
            bail!("{} failed ({}): {}", self.name(), output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn base(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").envs(self.env.iter().cloned());
        command.current_dir(&self.dir).stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

type Job = (Command, mpsc::SyncSender<std::io::Result<Child>>);

/// "When the parent is gone" means the thread that started the child. The thread of a test ends with
/// its test, a worker of a runtime with the runtime; this one ends with the process.
fn on_lasting_thread(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<mpsc::SyncSender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::sync_channel::<Job>(16);
        thread::spawn(move || {
            for (mut command, answer) in queue {
                // Whoever asked may have gone; then the child is nobody's and has to end.
                if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
                    let _ = child.kill().and_then(|()| child.wait());
                }
            }
        });
        jobs
    });
    let (answer, child) = mpsc::sync_channel(1);
    spawner.send((command, answer)).map_err(|_| anyhow!("the thread that starts servers is gone"))?;
    Ok(child.recv()??)
}
