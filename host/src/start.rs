//! Starts a host and stops it again: the same door for `main` and for tests.

use crate::{audit_watch, config::HostConfig, consumer, inbox_keeper, scheduler, wiring};
use plinth_api::{Api, ApiConfig, HostPhase, Readiness};
use plinth_capability::{Capabilities, queue::Queue, state::HostState};
use plinth_runtime::{Faults, Parts, Runtime};
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinHandle},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wiring::Backends;

/// Of the time to stop, what is kept for closing files whatever took long before.
const CLOSING: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration is not usable")]
    Config(#[from] crate::config::ConfigError),
    #[error("the data folder {0} could not be made")]
    Data(PathBuf, #[source] io::Error),
    #[error("this program could not find itself")]
    Program(#[source] io::Error),
    #[error("another host uses the data folder {0}")]
    InUse(PathBuf),
    #[error("the host key {0} is not usable")]
    HostKey(PathBuf, #[source] io::Error),
    #[error("the secret `{name}` could not be read")]
    Secret { name: String, source: io::Error },
    /// A fault of the host: nothing that needs it was to be opened.
    #[error("the PostgreSQL server was not opened")]
    NoPostgres,
    #[error("a backend could not be opened")]
    Backend(#[from] plinth_capability::Error),
    #[error("could not listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("the runtime could not be started")]
    Runtime(#[from] plinth_runtime::StartError),
    #[error("bringing back the plugins ended half-way")]
    Restore(#[source] JoinError),
}

/// What a test may put in place of what a host finds by itself.
#[derive(Default)]
pub struct Overrides {
    /// The binary that compiles; by default this one.
    pub compiler: Option<PathBuf>,
    pub faults: Option<Arc<dyn Faults>>,
}

impl Overrides {
    pub(crate) fn program(&self) -> Result<PathBuf, StartError> {
        match &self.compiler {
            Some(program) => Ok(program.clone()),
            None => std::env::current_exe().map_err(StartError::Program),
        }
    }
}

/// A host that serves. Dropping it without `stop` is like a crash.
pub struct RunningHost {
    pub runtime: Runtime,
    pub capabilities: Capabilities,
    address: SocketAddr,
    readiness: Readiness,
    stop: CancellationToken,
    stop_serving: CancellationToken,
    serving: TaskTracker,
    tasks: TaskTracker,
    /// Until it is known to have ended.
    restoring: Option<JoinHandle<()>>,
    backends: Backends,
    limit: StopLimit,
    /// Locked for as long as the host uses its data folder.
    _lock: std::fs::File,
}

/// Opens the backends and serves; the plugins are brought back meanwhile, see
/// [`RunningHost::ready`].
pub async fn start(config: HostConfig, overrides: Overrides) -> Result<RunningHost, StartError> {
    config.check()?;
    let lock = take_data(&config.data)?;
    // Bound before anything slow, so that a taken port is told at once.
    let listener = TcpListener::bind(config.api.listen).await.map_err(|e| StartError::Listen(config.api.listen, e))?;
    let address = listener.local_addr().map_err(|e| StartError::Listen(config.api.listen, e))?;
    let backends = Backends::open(&config).await?;
    let runtime_config = wiring::runtime_config(&config, overrides.program()?, overrides.faults)?;
    let parts = Parts { capabilities: backends.capabilities.clone(), state: backends.state(), fleet: backends.membership(&config.fleet) };
    let runtime = Runtime::start(runtime_config, parts).await?;
    let (stop, stop_serving) = (CancellationToken::new(), CancellationToken::new());
    let (serving, tasks) = (TaskTracker::new(), TaskTracker::new());
    let readiness = Readiness::new();
    let api = Api {
        runtime: runtime.clone(),
        capabilities: backends.capabilities.clone(),
        state: backends.state(),
        readiness: readiness.clone(),
        tasks: tasks.clone(),
        config: config.api.clone(),
    };
    let limit = StopLimit::new(Duration::from_millis(config.stop_ms));
    let drain_ms = config.api.drain_ms.min(u64::try_from(limit.working().as_millis()).unwrap_or(u64::MAX));
    let api_config = ApiConfig { drain_ms, ..config.api };
    let served = plinth_api::serve(listener, plinth_api::router(api), stop_serving.clone(), api_config);
    serving.spawn(async move {
        match served.await {
            Ok(drained) if drained.cut > 0 => tracing::warn!(cut = drained.cut, "connections were cut at the deadline"),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "serving ended"),
        }
    });
    let triggers = Triggers {
        runtime: runtime.clone(),
        queue: backends.capabilities.queue.clone(),
        state: backends.state(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    if let Some(inbox) = backends.inbox() {
        tasks.spawn(inbox_keeper::run(inbox, stop.clone()));
    }
    let (tree, stopping) = (backends.tree(), stop.clone());
    tasks.spawn(async move { tree.run(stopping).await });
    tasks.spawn(audit_watch::run(backends.capabilities.clone(), backends.spool(), stop.clone()));
    if let Some(spool) = backends.spool() {
        let stopping = stop.clone();
        tasks.spawn(async move { spool.run(stopping).await });
    }
    if let Some(archiver) = backends.archiver() {
        let stopping = stop.clone();
        tasks.spawn(async move { archiver.run(stopping).await });
    }
    if let Some(keeper) = backends.keeper() {
        let stopping = stop.clone();
        tasks.spawn(async move { keeper.run(stopping).await });
    }
    let ready = readiness.clone();
    let restoring = Some(tasks.spawn(async move {
        // Told to stop, it leaves the rest for the next start.
        if triggers.stop.run_until_cancelled(triggers.runtime.restore()).await.is_some() {
            tracing::info!(%address, generation = triggers.runtime.generation(), "host ready");
            triggers.start();
            ready.set(HostPhase::Ready);
        }
    }));
    let capabilities = backends.capabilities.clone();
    Ok(RunningHost {
        runtime,
        capabilities,
        address,
        readiness,
        stop,
        stop_serving,
        serving,
        tasks,
        restoring,
        backends,
        limit,
        _lock: lock,
    })
}

/// What calls hooks without being asked over HTTP.
struct Triggers {
    runtime: Runtime,
    queue: Arc<dyn Queue>,
    state: Arc<dyn HostState>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Triggers {
    fn start(self) {
        let Self { runtime, queue, state, tasks, stop } = self;
        tasks.spawn(consumer::run(runtime.clone(), queue, tasks.clone(), stop.clone()));
        tasks.spawn(scheduler::run(runtime, state, tasks.clone(), stop));
    }
}

/// Two hosts in one data folder would both believe to be the only writer.
fn take_data(data: &PathBuf) -> Result<std::fs::File, StartError> {
    let failed = |e| StartError::Data(data.clone(), e);
    std::fs::create_dir_all(data).map_err(failed)?;
    let file = std::fs::OpenOptions::new().create(true).write(true).truncate(false).open(data.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::InUse(data.clone())),
        Err(std::fs::TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// One time for all of stopping, and the points in it by which stages have to end.
#[derive(Clone, Copy)]
struct StopLimit {
    whole: Duration,
}

impl StopLimit {
    fn new(whole: Duration) -> Self {
        Self { whole }
    }

    /// Kept for closing: of a short time half, so that each part has some.
    fn reserve(self) -> Duration {
        CLOSING.min(self.whole / 2)
    }

    /// Requests, consumers and drains have ended.
    fn working(self) -> Duration {
        self.whole.saturating_sub(self.reserve())
    }

    /// Outboxes are empty; what is left closes the files.
    fn outboxes(self) -> Duration {
        self.whole.saturating_sub(self.reserve() / 2)
    }
}

impl RunningHost {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns when all that was installed is back; at once if the host was
    /// told to stop before. Cancel safe.
    pub async fn ready(&mut self) -> Result<(), StartError> {
        if let Some(restoring) = &mut self.restoring {
            let ended = restoring.await;
            self.restoring = None;
            ended.map_err(StartError::Restore)?;
        }
        Ok(())
    }

    /// Not ready → no new requests, those in flight end → consumers settle what
    /// they hold → drains end → outboxes are emptied and files closed. Each
    /// stage gets what the earlier ones left of `stop-ms`.
    pub async fn stop(self) {
        if self.readiness.phase() == HostPhase::Starting {
            // Nothing is in hand yet that would have to be settled first.
            self.stop.cancel();
        }
        self.readiness.set(HostPhase::Stopping);
        self.stop_serving.cancel();
        self.serving.close();
        let began = Instant::now();
        let left = |until: Duration| until.saturating_sub(began.elapsed());
        let (working, closing, whole) = (self.limit.working(), self.limit.outboxes(), self.limit.whole);
        if timeout(left(working), self.serving.wait()).await.is_err() {
            tracing::warn!("stopping with connections open");
        }
        self.stop.cancel();
        self.tasks.close();
        if timeout(left(working), self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "stopping with work in hand; it is delivered again");
        }
        self.runtime.stop(left(working)).await;
        if timeout(left(whole), self.backends.close(left(closing))).await.is_err() {
            tracing::warn!("stopping with files open; the next start recovers them");
        }
        tracing::info!("host stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::StopLimit;
    use std::time::Duration;

    #[test]
    fn every_stage_of_stopping_has_some_of_the_one_limit() {
        let points = |whole| {
            let limit = StopLimit::new(Duration::from_millis(whole));
            (limit.working().as_millis(), limit.outboxes().as_millis())
        };
        assert_eq!(points(15_000), (14_000, 14_500));
        assert_eq!(points(400), (200, 300));
    }
}
