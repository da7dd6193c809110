//! The runtime's door: install and change plugins, call their hooks, look at them.

use crate::{
    Decision, LoadError, Package,
    admission::Admission,
    change_record::{self, Facts},
    choke::FaultHook,
    decision::Merge,
    engine::{EngineConfig, Ticker},
    fleet::{self, Member, Membership, Missing},
    hook::{Cause, Event, Hook, HttpRequest, Question, Task, Trigger, Verdict},
    hooks, http_hook,
    invoke::{Call, Invoker, Work},
    lane::Lanes,
    limits::Limits,
    loader::{CompilerConfig, Examined, GrantPolicy, Loader, Place, Problem},
    outcome::Reply,
    quarantine,
    queues::QueuesConfig,
    registry::Registry,
    report::{Report, Reports},
    restore::Restoring,
    state::GuestMemory,
    turns::Turns,
    version::Version,
    view::{Change, FleetView, Restored, SlotView},
};
use bytes::Bytes;
use plinth_capability::{Capabilities, name::PluginName, state::HostState};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// One plugin may run at most one in this many of the host's instances.
const SHARE: u32 = 4;

/// Everything the runtime is told when it starts.
pub struct RuntimeConfig {
    pub engine: EngineConfig,
    pub compiler: CompilerConfig,
    /// Where compiled code is kept.
    pub code_dir: PathBuf,
    /// Authenticates what is kept there.
    pub host_key: [u8; 32],
    pub component_max_bytes: usize,
    pub grants: GrantPolicy,
    pub queues: QueuesConfig,
    /// No manifest gets more than this.
    pub limits_max: Limits,
    /// Background threads for guests that compute for long.
    pub guest_threads: usize,
    /// Calls waiting for an instance over all plugins.
    pub waiting: u32,
    pub wait: Duration,
    /// After this long a version that still has calls is named in the log.
    pub drain_deadline: Duration,
    /// For tests: breaks capability calls on purpose.
    pub faults: FaultHook,
}

/// What `start` needs beyond its configuration.
pub struct Parts {
    pub capabilities: Capabilities,
    pub state: Arc<dyn HostState>,
    /// Where several hosts share the state.
    pub fleet: Option<Membership>,
}

/// Whose manifest this is, as far as it can be told.
fn named(manifest: &str) -> String {
    crate::manifest::Manifest::parse(manifest).map_or_else(|_| "unknown".to_owned(), |manifest| manifest.name.to_string())
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the engine could not be built")]
    Engine(#[source] wasmtime::Error),
    #[error("the threads for guests could not be started")]
    Threads(#[source] std::io::Error),
    #[error("the cache of compiled code could not be opened")]
    CodeCache(#[source] std::io::Error),
    #[error("the stored state could not be read")]
    State(#[source] plinth_capability::Error),
}

#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
    /// On whose behalf changes are made; it is in their audit records.
    actor: Arc<str>,
}

pub(crate) struct Inner {
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) state: Arc<dyn HostState>,
    /// None: this host has the state for itself.
    pub(crate) member: Option<Arc<Member>>,
    pub(crate) invoker: Invoker,
    pub(crate) registry: Registry,
    pub(crate) loader: Arc<Loader>,
    pub(crate) queues: QueuesConfig,
    /// Held over a whole change of one plugin, guest code included.
    pub(crate) turns: Turns,
    /// Held while a change is stored and published; no guest code runs under it.
    pub(crate) publishing: tokio::sync::Mutex<()>,
    /// Loading is heavy; two at a time leave a core to the traffic.
    pub(crate) loading: Semaphore,
    pub(crate) drain_deadline: Duration,
    /// Versions that were replaced and may still have calls.
    pub(crate) draining: Mutex<Vec<Weak<Version>>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) restoring: Restoring,
    stop: CancellationToken,
}

impl Runtime {
    /// Builds the engine and reads what was installed, which `restore` brings
    /// back. Until then no plugin answers and none is changed.
    pub async fn start(config: RuntimeConfig, parts: Parts) -> Result<Self, StartError> {
        let engine = config.engine.build().map_err(StartError::Engine)?;
        let capabilities = Arc::new(parts.capabilities);
        let cache = Loader::open_cache(config.code_dir, &config.host_key, &engine, &config.engine).map_err(StartError::CodeCache)?;
        let invoker = Invoker {
            capabilities: capabilities.clone(),
            ticker: Arc::new(Ticker::start(&engine).map_err(StartError::Threads)?),
            lanes: Lanes::start(config.guest_threads).map_err(StartError::Threads)?,
            reports: Reports::default(),
            memory: Arc::new(GuestMemory::new(config.engine.total_memory_bytes)),
            overall: Admission::new("the host", config.engine.instances, config.waiting, config.wait),
        };
        let concurrency_max = (config.engine.instances / SHARE).max(1);
        let loader = Loader {
            engine,
            engine_config: config.engine,
            compiler: config.compiler,
            cache,
            component_max: config.component_max_bytes,
            policy: config.grants,
            limits_max: config.limits_max,
            concurrency_max,
            capabilities: capabilities.clone(),
            faults: config.faults,
        };
        let generation = parts.state.generation().await.map_err(StartError::State)?;
        let stored = parts.state.slots().await.map_err(StartError::State)?;
        let (registry, reports) = Registry::new(generation);
        let inner = Arc::new(Inner {
            capabilities,
            state: parts.state,
            member: parts.fleet.map(|membership| Arc::new(Member::new(membership))),
            invoker,
            registry,
            loader: Arc::new(loader),
            queues: config.queues,
            turns: Turns::default(),
            publishing: tokio::sync::Mutex::default(),
            loading: Semaphore::new(2),
            drain_deadline: config.drain_deadline,
            draining: Mutex::default(),
            tasks: TaskTracker::new(),
            restoring: Restoring::of(stored),
            stop: CancellationToken::new(),
        });
        inner.tasks.spawn(quarantine::watch(Arc::downgrade(&inner), reports, inner.stop.clone()));
        if let Some(member) = &inner.member {
            inner.tasks.spawn(fleet::listen(inner.clone(), member.clone(), inner.stop.clone()));
        }
        Ok(Self { inner, actor: "system".into() })
    }

    /// Brings back what was installed, one slot after the other; once. A slot
    /// that does not load is degraded and says why. Dropped before its end it
    /// leaves the rest stored as it is, for the next start.
    ///
    /// In a fleet it also catches up with what changed meanwhile, and only then
    /// joins: a host that cannot read the state waits for it here.
    pub async fn restore(&self) {
        self.inner.restore().await;
        let Some(member) = &self.inner.member else { return };
        while !self.inner.catch_up(member, Missing::Degrades).await {
            member.news().await;
        }
        member.join().await;
        self.inner.tasks.spawn(fleet::follow(self.inner.clone(), member.clone(), self.inner.stop.clone()));
    }

    /// The hosts over this state, by name.
    pub async fn fleet(&self) -> plinth_capability::Result<FleetView> {
        match &self.inner.member {
            Some(member) => Ok(FleetView::of(member.hosts().await?, member.id())),
            None => Ok(FleetView::alone(self.generation(), self.restored().all())),
        }
    }

    /// How much of what was installed is back.
    pub fn restored(&self) -> Restored {
        self.inner.restoring.seen()
    }

    /// The same runtime, whose changes are recorded as made by `actor`.
    pub fn on_behalf_of(&self, actor: &str) -> Self {
        Self { inner: self.inner.clone(), actor: actor.into() }
    }

    /// Loads, checks, probes and publishes; an existing slot is swapped. Runs
    /// to its end even if the caller goes away.
    pub async fn install(&self, package: Package) -> Result<Change, LoadError> {
        let name = named(&package.manifest);
        self.detached("host.plugin.install", name, |inner| async move { inner.install(package).await }).await
    }

    /// As `install` up to the probe, changing nothing. What is worth knowing.
    pub async fn check(&self, package: Package) -> Result<Vec<String>, LoadError> {
        let manifest = crate::manifest::Manifest::parse(&package.manifest).map_err(LoadError::Manifest)?;
        let loaded = self.inner.load(&package, &manifest.name).await?;
        let tried = self.inner.loader.try_out(&self.inner.invoker, &loaded.version).await;
        self.inner.forget(&loaded.version);
        tried.map(|()| loaded.notices)
    }

    /// Everything that keeps the package from being installed, as far as it can be told without activating it. For a
    /// host of its own: it declares the metrics of the manifest.
    pub async fn examine(&self, package: Package) -> Examined {
        let (mut examined, loaded) = self.inner.loader.examine(&package).await;
        let Some(loaded) = loaded else { return examined };
        if let Err(error) = self.inner.loader.try_out(&self.inner.invoker, &loaded.version).await {
            examined.problems.extend(error.problems().into_iter().map(|problem| Problem { place: Place::Probe, problem, help: None }));
        }
        self.inner.forget(&loaded.version);
        examined
    }

    pub async fn roll_back(&self, plugin: &PluginName) -> Result<Change, LoadError> {
        let plugin = plugin.clone();
        self.detached("host.plugin.roll-back", plugin.to_string(), |inner| async move { inner.roll_back(&plugin).await }).await
    }

    /// Activates a stored version (active or previous) by version or digest.
    pub async fn swap_to(&self, plugin: &PluginName, version: &str) -> Result<Change, LoadError> {
        let (plugin, version) = (plugin.clone(), version.to_owned());
        self.detached("host.plugin.swap", plugin.to_string(), |inner| async move { inner.swap_to(&plugin, &version).await }).await
    }

    /// The generation of the snapshot without it.
    pub async fn remove(&self, plugin: &PluginName) -> Result<u64, LoadError> {
        let plugin = plugin.clone();
        self.detached("host.plugin.remove", plugin.to_string(), |inner| async move { inner.remove(&plugin).await }).await
    }

    /// A half-done change helps nobody: it is finished, and recorded, by a task of its own.
    async fn detached<T, F>(&self, action: &'static str, plugin: String, change: impl FnOnce(Arc<Inner>) -> F) -> Result<T, LoadError>
    where
        T: Facts + Send + Sync + 'static,
        F: Future<Output = Result<T, LoadError>> + Send + 'static,
    {
        let (change, inner, actor) = (change(self.inner.clone()), self.inner.clone(), self.actor.clone());
        // What is not back yet would look like not installed: its grants and
        // its previous version would be lost.
        let restored = self.restored().all();
        let task = self.inner.tasks.spawn(async move {
            let result = if restored { change.await } else { Err(LoadError::Unavailable("it is starting".to_owned())) };
            change_record::append(inner.capabilities.audit.as_ref(), &actor, action, plugin, &result).await;
            result
        });
        task.await.unwrap_or_else(|_| Err(LoadError::Unavailable("the change was interrupted".to_owned())))
    }

    pub fn slots(&self) -> Vec<SlotView> {
        self.inner.registry.snapshot().slots.values().map(|slot| self.inner.view(slot)).collect()
    }

    pub fn slot(&self, plugin: &PluginName) -> Option<SlotView> {
        self.inner.registry.snapshot().slots.get(plugin).map(|slot| self.inner.view(slot))
    }

    pub fn generation(&self) -> u64 {
        self.inner.registry.snapshot().generation
    }

    /// Yields the new generation after each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.registry.changes()
    }

    /// The manifest of the version that answers now, for those who feed its hooks.
    pub fn manifest(&self, plugin: &PluginName) -> Option<crate::manifest::Manifest> {
        self.inner.registry.snapshot().slots.get(plugin)?.active.as_ref().map(|v| v.manifest.clone())
    }

    pub async fn on_event(&self, plugin: &PluginName, event: Event, cause: Cause) -> Reply<()> {
        self.call(plugin, Hook::EventListener, cause, None, hooks::on_event(event)).await
    }

    pub async fn handle_task(&self, plugin: &PluginName, task: Task, cause: Cause) -> Reply<()> {
        self.call(plugin, Hook::TaskHandler, cause, None, hooks::handle_task(task)).await
    }

    pub async fn run_job(&self, plugin: &PluginName, trigger: Trigger, cause: Cause) -> Reply<()> {
        self.call(plugin, Hook::ScheduledJob, cause, None, hooks::run_job(trigger)).await
    }

    pub async fn check_health(&self, plugin: &PluginName) -> Reply<()> {
        let cause = Cause { actor: Some("system".to_owned()), ..Cause::default() };
        self.call(plugin, Hook::Health, cause, None, hooks::check_health()).await
    }

    /// Asks every plugin bound to the point; no plugin is `Abstain`.
    pub async fn decide(&self, question: Question, cause: Cause) -> Decision {
        let asked = self.inner.registry.snapshot().asked(&question.point);
        let mut merge = Merge::new(question);
        let mut denied = None;
        for (plugin, on_failure) in asked {
            let reply = self.ask(&plugin, merge.question(), cause.clone()).await;
            denied = merge.take(&plugin, on_failure, reply);
            if denied.is_some() {
                break;
            }
        }
        merge.end(denied)
    }

    /// Asks one plugin, whatever points it is bound to.
    pub async fn ask(&self, plugin: &PluginName, question: Question, cause: Cause) -> Reply<Verdict> {
        self.call(plugin, Hook::Decision, cause, None, hooks::decide(question)).await
    }

    pub async fn handle_http(&self, plugin: &PluginName, request: HttpRequest, cause: Cause) -> Reply<http::Response<Bytes>> {
        let timeout = request.timeout;
        self.call(plugin, Hook::Http, cause, timeout, http_hook::handle(request)).await
    }

    async fn call<T: Send + 'static>(
        &self,
        plugin: &PluginName,
        hook: Hook,
        cause: Cause,
        timeout: Option<Duration>,
        work: Work<T>,
    ) -> Reply<T> {
        self.inner.invoker.call(&self.inner.registry, plugin, Call { hook, cause, timeout, work }).await
    }

    /// What was kept of a call that failed on this host.
    pub fn report(&self, invocation_id: &str) -> Option<Arc<Report>> {
        self.inner.invoker.reports.get(invocation_id)
    }

    /// The newest first, at most `limit`, and of how many failed calls nothing was kept because there were too many.
    pub fn reports(&self, plugin: Option<&PluginName>, limit: usize) -> (Vec<Arc<Report>>, u64) {
        self.inner.invoker.reports.newest(plugin, limit)
    }

    /// Waits for draining and changes in progress, at most this long.
    pub async fn stop(&self, deadline: Duration) {
        self.inner.stop.cancel();
        if let Some(member) = &self.inner.member {
            member.leave().await;
        }
        self.inner.tasks.close();
        if tokio::time::timeout(deadline, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.inner.tasks.len(), "stopping with tasks unfinished");
        }
    }
}
