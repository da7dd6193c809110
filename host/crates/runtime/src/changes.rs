//! Install, swap, roll back, remove: one change at a time, probed before and stored before it is seen.

use crate::{
    LoadError, Package,
    hook::{ActivationCause, Cause, Hook},
    hooks,
    invoke::Call,
    loader::Loaded,
    metrics::{GENERATION, QUARANTINES, SWAP_KINDS, SWAPS, VersionMeters},
    registry::{QUARANTINED_MAX, Slot, Snapshot, TrapReport},
    runtime::Inner,
    version::Version,
    view::{Change, SlotState},
};
use plinth_capability::{
    name::{PluginName, QueueName},
    queue::QueueSpec,
    state::StoredVersion,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A version that takes longer to say goodbye is not waited for.
const DEACTIVATE_MAX: Duration = Duration::from_secs(10);
/// What a delivery may take beyond the plugin's own times: the host's line and settling.
const LEASE_MARGIN_MS: u64 = 10_000;

/// What a change did to a slot, as a metric label and a log word.
#[derive(Clone, Copy)]
enum Kind {
    Install,
    Swap,
    RollBack,
    Quarantine,
}

impl Kind {
    fn name(self) -> &'static str {
        let [install, swap, roll_back, quarantine] = SWAP_KINDS;
        match self {
            Self::Install => install,
            Self::Swap => swap,
            Self::RollBack => roll_back,
            Self::Quarantine => quarantine,
        }
    }
}

impl Inner {
    pub(crate) async fn install(self: &Arc<Self>, package: Package) -> Result<Change, LoadError> {
        let began = Instant::now();
        let manifest = crate::manifest::Manifest::parse(&package.manifest).map_err(LoadError::Manifest)?;
        let loaded = self.load(&package, &manifest.name).await?;
        let installed = self.publish_loaded(&package, &loaded, began).await;
        if installed.is_err() {
            self.forget(&loaded.version);
        }
        installed
    }

    async fn publish_loaded(self: &Arc<Self>, package: &Package, loaded: &Loaded, began: Instant) -> Result<Change, LoadError> {
        let manifest = &loaded.version.manifest;
        let _turn = self.changing.lock().await;
        let snapshot = self.registry.snapshot();
        let current = snapshot.slots.get(&manifest.name).cloned();
        if let Some(slot) = &current {
            refuse_same(slot, &loaded.version)?;
        }
        let version = loaded.version.clone();
        let from = current.as_ref().and_then(|slot| slot.active.as_ref()).map(|v| v.info.version.clone());
        let cause = from.clone().map_or(ActivationCause::Start, |from| ActivationCause::Upgrade { from });
        self.loader.probe(&self.invoker, &version, cause).await?;
        let slot = Slot {
            plugin: manifest.name.clone(),
            generation: snapshot.generation + 1,
            approved: version.manifest.grants.clone(),
            previous: current.as_ref().and_then(|slot| slot.active.clone()),
            stored_previous: current.as_ref().filter(|slot| slot.active.is_some()).map(|slot| slot.stored.clone()),
            stored: version.stored.clone(),
            active: Some(version),
            state: SlotState::Live,
            reason: None,
            quarantined: current.as_ref().map(|slot| slot.quarantined.clone()).unwrap_or_default(),
        };
        self.keep_component(&slot.stored.digest, package).await?;
        let kind = if current.is_some() { Kind::Swap } else { Kind::Install };
        self.change(&snapshot, slot, kind).await?;
        Ok(self.told(loaded, from, began))
    }

    fn told(&self, loaded: &Loaded, replaced: Option<String>, began: Instant) -> Change {
        let info = &loaded.version.info;
        Change {
            plugin: info.plugin.clone(),
            version: info.version.clone(),
            digest: info.digest.clone(),
            generation: self.registry.snapshot().generation,
            replaced,
            notices: loaded.notices.clone(),
            elapsed_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            compile_cached: loaded.compile_cached,
        }
    }

    pub(crate) async fn load(&self, package: &Package, plugin: &PluginName) -> Result<Loaded, LoadError> {
        let _one = self.loading.acquire().await.map_err(|_| LoadError::Unavailable("the host is stopping".to_owned()))?;
        let approved = self.registry.snapshot().slots.get(plugin).map(|slot| slot.approved.clone()).unwrap_or_default();
        self.loader.load(package, &approved).await
    }

    async fn keep_component(&self, digest: &str, package: &Package) -> Result<(), LoadError> {
        self.state.put_component(digest, &package.component).await.map_err(LoadError::State)
    }

    /// Back to the previous version, which is still compiled.
    pub(crate) async fn roll_back(self: &Arc<Self>, plugin: &PluginName) -> Result<Change, LoadError> {
        let _turn = self.changing.lock().await;
        self.back(plugin).await
    }

    /// The caller holds the lock of changes.
    async fn back(self: &Arc<Self>, plugin: &PluginName) -> Result<Change, LoadError> {
        let began = Instant::now();
        let snapshot = self.registry.snapshot();
        let slot = snapshot.slots.get(plugin).ok_or_else(|| LoadError::NoSuchPlugin(plugin.clone()))?;
        let version = slot.previous.clone().ok_or(LoadError::NoPrevious)?;
        let from = slot.stored.version.clone();
        self.loader.activate(&self.invoker, &version, ActivationCause::Rollback { from: from.clone() }).await?;
        let back = Slot {
            plugin: plugin.clone(),
            generation: snapshot.generation + 1,
            approved: slot.approved.clone(),
            stored: version.stored.clone(),
            stored_previous: Some(slot.stored.clone()),
            previous: slot.active.clone(),
            active: Some(version.clone()),
            state: SlotState::Live,
            reason: None,
            quarantined: slot.quarantined.clone(),
        };
        self.change(&snapshot, back, Kind::RollBack).await?;
        let loaded = Loaded { version, notices: Vec::new(), compile_cached: true };
        Ok(self.told(&loaded, Some(from), began))
    }

    /// Activates a stored version by its version or digest.
    pub(crate) async fn swap_to(self: &Arc<Self>, plugin: &PluginName, wanted: &str) -> Result<Change, LoadError> {
        // Held while looking, so that what is looked at is what is changed.
        let _turn = self.changing.lock().await;
        let snapshot = self.registry.snapshot();
        let slot = snapshot.slots.get(plugin).ok_or_else(|| LoadError::NoSuchPlugin(plugin.clone()))?;
        let is = |stored: &StoredVersion| stored.version == wanted || stored.digest == wanted;
        if is(&slot.stored) && slot.active.is_some() {
            let version = slot.active.clone().ok_or(LoadError::NoPrevious)?;
            let notices = vec!["this version is active already".to_owned()];
            return Ok(self.told(&Loaded { version, notices, compile_cached: true }, None, Instant::now()));
        }
        match slot.stored_previous.as_ref().is_some_and(is) {
            true => self.back(plugin).await,
            false => Err(LoadError::NoSuchVersion(wanted.to_owned())),
        }
    }

    pub(crate) async fn remove(self: &Arc<Self>, plugin: &PluginName) -> Result<u64, LoadError> {
        let _turn = self.changing.lock().await;
        let snapshot = self.registry.snapshot();
        let slot = snapshot.slots.get(plugin).ok_or_else(|| LoadError::NoSuchPlugin(plugin.clone()))?.clone();
        let generation = snapshot.generation + 1;
        self.state.remove_slot(plugin, generation).await.map_err(LoadError::State)?;
        self.registry.publish(snapshot.with(plugin, None, generation));
        self.capabilities.metrics.instrument(&GENERATION, &[]).set(generation as f64);
        // Nobody is told any more, but what is queued already is kept.
        if let Err(error) = self.unbind_topics(plugin).await {
            tracing::warn!(%plugin, %error, "topics could not be unbound");
        }
        self.capabilities.metrics.retract(plugin);
        tracing::info!(%plugin, generation, "plugin removed");
        self.retire(slot.active.clone(), true);
        if let Some(previous) = &slot.previous {
            self.forget(previous);
        }
        VersionMeters::forget_plugin(self.capabilities.metrics.as_ref(), plugin);
        Ok(generation)
    }

    /// Stores, then publishes, then lets the replaced version drain.
    async fn change(self: &Arc<Self>, snapshot: &Snapshot, slot: Slot, kind: Kind) -> Result<(), LoadError> {
        let plugin = slot.plugin.clone();
        let before = snapshot.slots.get(&plugin).cloned();
        if let Some(version) = &slot.active {
            let declared = self.capabilities.metrics.declare(&plugin, &version.manifest.metrics);
            declared.map_err(|e| LoadError::Manifest(vec![e.message().to_owned()]))?;
        }
        if let Err(error) = self.bind_and_save(&slot).await {
            // Nothing changed, so the events go where they went before.
            let active = before.as_ref().and_then(|before| before.active.as_ref());
            if let Some(Err(again)) = futures::future::OptionFuture::from(active.map(|v| self.declare_queues(v))).await {
                tracing::error!(%plugin, error = %again, "topics could not be bound back");
            }
            return Err(LoadError::State(error));
        }
        let generation = slot.generation;
        let (version, state) = (slot.stored.version.clone(), slot.state);
        self.registry.publish(snapshot.with(&plugin, Some(slot), generation));
        self.capabilities.metrics.instrument(&GENERATION, &[]).set(generation as f64);
        self.capabilities.metrics.instrument(&SWAPS, &[plugin.as_str(), kind.name()]).add(1.0);
        tracing::info!(%plugin, version, generation, ?state, kind = kind.name(), "slot changed");
        let Some(before) = before else { return Ok(()) };
        let now = self.registry.snapshot();
        let held = |v: &Arc<Version>| {
            now.slots.get(&plugin).is_some_and(|s| [&s.active, &s.previous].into_iter().flatten().any(|kept| Arc::ptr_eq(kept, v)))
        };
        let gone = |v: &Option<Arc<Version>>| v.clone().filter(|v| !held(v));
        let was_active = before.active.clone().filter(|v| !self.registry.is_active(&plugin, v));
        self.retire(was_active.clone(), was_active.as_ref().is_some_and(|v| !held(v)));
        if let Some(older) = gone(&before.previous) {
            self.forget(&older);
        }
        Ok(())
    }

    async fn bind_and_save(&self, slot: &Slot) -> plinth_capability::Result<()> {
        if let Some(version) = &slot.active {
            self.declare_queues(version).await?;
        }
        self.state.save_slot(&slot.to_stored()).await
    }

    /// Waits for the last call of a version and deactivates it. `gone`: it
    /// will not come back by rolling back.
    fn retire(self: &Arc<Self>, version: Option<Arc<Version>>, gone: bool) {
        let Some(version) = version else { return };
        let inner = self.clone();
        self.note_draining(&version);
        self.tasks.spawn(async move {
            let plugin = &version.info.plugin;
            let drained = tokio::time::timeout(inner.drain_deadline, version.live.drained()).await.is_ok();
            if !drained {
                tracing::warn!(%plugin, version = version.info.version, live = version.live.count(), "still draining after its deadline");
                version.live.drained().await;
            }
            // Under the lock of changes, so that it cannot be rolled back to meanwhile.
            let _turn = inner.changing.lock().await;
            if !inner.registry.is_active(plugin, &version) {
                let cause = Cause { actor: Some("system".to_owned()), ..Cause::default() };
                let call = Call { hook: Hook::Lifecycle, cause, timeout: Some(DEACTIVATE_MAX), work: hooks::deactivate() };
                if let Err(why) = inner.invoker.run(&version, uuid::Uuid::now_v7().simple().to_string(), call, ()).await {
                    tracing::warn!(%plugin, version = version.info.version, %why, "deactivate failed");
                }
            }
            if gone {
                inner.forget(&version);
            }
        });
    }

    /// For those who look at the slot; forgets the ones that have ended.
    fn note_draining(&self, version: &Arc<Version>) {
        let mut draining = self.draining.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        draining.retain(|weak| weak.strong_count() > 0);
        draining.push(Arc::downgrade(version));
    }

    /// Drops the series of a version that will not come back, unless the same
    /// version number was installed again and counts on in them.
    pub(crate) fn forget(&self, version: &Version) {
        let snapshot = self.registry.snapshot();
        let slot = snapshot.slots.get(&version.info.plugin);
        let kept = slot.into_iter().flat_map(|slot| [&slot.active, &slot.previous]).flatten();
        if !kept.into_iter().any(|kept| kept.info.version == version.info.version) {
            VersionMeters::forget(self.capabilities.metrics.as_ref(), &version.info);
        }
    }

    /// Before a version can be seen, so that no message slips between.
    pub(crate) async fn declare_queues(&self, version: &Version) -> plinth_capability::Result<()> {
        let queue = &self.capabilities.queue;
        let bindings = &version.manifest.hooks;
        let known = queue.queues().await?;
        for name in version.grants.queues().filter(|name| !known.contains(name)) {
            queue.declare(name, &QueueSpec::default()).await?;
        }
        let spec = spec_for(version);
        for name in bindings.task_handler.iter().flat_map(|handler| &handler.queues) {
            queue.declare(name, &spec).await?;
        }
        let topics = bindings.event_listener.as_ref().map(|l| l.topics.as_slice()).unwrap_or_default();
        let events = event_queue(&version.info.plugin)?;
        match (topics, known.contains(&events)) {
            ([], false) => Ok(()),
            ([], true) => queue.bind(&events, &[]).await,
            (topics, _) => {
                queue.declare(&events, &spec).await?;
                queue.bind(&events, topics).await
            }
        }
    }

    async fn unbind_topics(&self, plugin: &PluginName) -> plinth_capability::Result<()> {
        let events = event_queue(plugin)?;
        match self.capabilities.queue.queues().await?.contains(&events) {
            true => self.capabilities.queue.bind(&events, &[]).await,
            false => Ok(()),
        }
    }

    /// Takes a digest out of service: the previous version answers, or the slot degrades.
    pub(crate) async fn quarantine(self: &Arc<Self>, report: TrapReport) -> Result<(), LoadError> {
        let _turn = self.changing.lock().await;
        let (plugin, digest) = (&report.version.info.plugin, &report.version.info.digest);
        if !self.registry.is_active(plugin, &report.version) {
            return Ok(());
        }
        let snapshot = self.registry.snapshot();
        let Some(slot) = snapshot.slots.get(plugin) else { return Ok(()) };
        let mut quarantined = slot.quarantined.clone();
        quarantined.push(digest.clone());
        let surplus = quarantined.len().saturating_sub(QUARANTINED_MAX);
        quarantined.drain(..surplus);
        let reason = format!("{} {digest} was quarantined after repeated traps: {}", report.version.info.version, report.why);
        let previous = slot.previous.clone().filter(|p| !quarantined.contains(&p.info.digest));
        let previous = match previous {
            Some(previous) => self.fit_to_return(previous, &report).await,
            None => None,
        };
        tracing::error!(%plugin, digest, fallback = previous.as_ref().map(|p| p.info.version.clone()), why = report.why, "digest quarantined");
        self.capabilities.metrics.instrument(&QUARANTINES, &[plugin.as_str()]).add(1.0);
        let next = Slot {
            plugin: plugin.clone(),
            generation: snapshot.generation + 1,
            approved: slot.approved.clone(),
            stored: previous.as_ref().map_or_else(|| slot.stored.clone(), |p| p.stored.clone()),
            stored_previous: None,
            previous: None,
            state: if previous.is_some() { SlotState::FellBack } else { SlotState::Degraded },
            active: previous,
            reason: Some(reason),
            quarantined,
        };
        self.change(&snapshot, next, Kind::Quarantine).await
    }

    async fn fit_to_return(&self, previous: Arc<Version>, report: &TrapReport) -> Option<Arc<Version>> {
        let from = report.version.info.version.clone();
        match self.loader.activate(&self.invoker, &previous, ActivationCause::Rollback { from }).await {
            Ok(()) => Some(previous),
            Err(why) => {
                tracing::error!(plugin = %previous.info.plugin, version = previous.info.version, %why, "the previous version could not be activated");
                None
            }
        }
    }
}

/// A version names its content: the same number with other bytes is a mistake
/// that would make every log line ambiguous.
fn refuse_same(slot: &Slot, candidate: &Version) -> Result<(), LoadError> {
    let info = &candidate.info;
    if slot.quarantined.contains(&info.digest) {
        return Err(LoadError::Quarantined(format!("{} trapped repeatedly on this host", info.digest)));
    }
    let known = [Some(&slot.stored), slot.stored_previous.as_ref()];
    match known.into_iter().flatten().any(|known| known.version == info.version && known.digest != info.digest) {
        true => Err(LoadError::VersionTaken { version: info.version.clone() }),
        false => Ok(()),
    }
}

/// A delivery must not be given to somebody else while its call may still run.
fn spec_for(version: &Version) -> QueueSpec {
    let spec = QueueSpec::default();
    let longest = version.limits.wait_ms + version.limits.wall_ms + LEASE_MARGIN_MS;
    QueueSpec { lease_ms: spec.lease_ms.max(u32::try_from(longest).unwrap_or(u32::MAX)), ..spec }
}

/// Where the events for one plugin wait.
pub fn event_queue(plugin: &PluginName) -> plinth_capability::Result<QueueName> {
    QueueName::new(&format!("events/{plugin}"))
}
