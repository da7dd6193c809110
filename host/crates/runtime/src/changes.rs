//! Install, swap, roll back, remove: probed before and stored before it is seen.
//!
//! A change holds its plugin's turn from its first look at the slot to its end,
//! also while guest code runs. Storing and publishing happen under one lock for
//! all plugins, which no guest runs under: it assigns the generation and builds
//! the next snapshot from the one that is there by then.

use crate::{
    LoadError, Package,
    fleet::Agreed,
    hook::{ActivationCause, Cause, Hook},
    hooks,
    invoke::Call,
    loader::Loaded,
    metrics::{GENERATION, SWAP_KINDS, SWAPS, VersionMeters},
    registry::{Slot, Snapshot},
    runtime::Inner,
    version::Version,
    view::{Change, SlotState},
};
use bytes::Bytes;
use plinth_capability::{fleet::Decided, name::PluginName, state::StoredVersion};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A version that takes longer to say goodbye is not waited for.
const DEACTIVATE_MAX: Duration = Duration::from_secs(10);

/// What a change did to a slot, as a metric label and a log word.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
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

/// A change that was made.
pub(crate) struct Changed {
    pub(crate) generation: u64,
    /// Who has not followed.
    notices: Vec<String>,
}

/// How a change is stored.
enum Way<'a> {
    /// By this host, which has the state for itself; with the component that may not be stored yet.
    Alone(Option<&'a Bytes>),
    /// Every live host is ready for it.
    Agreed(Agreed),
    /// Without asking, over a slot of this generation.
    Decided(u64),
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
        let _turn = self.turns.of(&manifest.name).await;
        let current = self.registry.snapshot().slots.get(&manifest.name).cloned();
        if let Some(slot) = &current {
            refuse_same(slot, &loaded.version)?;
        }
        let version = loaded.version.clone();
        let from = current.as_ref().and_then(|slot| slot.active.as_ref()).map(|v| v.info.version.clone());
        let cause = from.clone().map_or(ActivationCause::Start, |from| ActivationCause::Upgrade { from });
        self.probe_aside(&version, cause).await?;
        let kind = if current.is_some() { Kind::Swap } else { Kind::Install };
        let slot = Slot {
            plugin: manifest.name.clone(),
            generation: 0,
            approved: version.manifest.grants.clone(),
            previous: current.as_ref().and_then(|slot| slot.active.clone()),
            stored_previous: current.as_ref().filter(|slot| slot.active.is_some()).map(|slot| slot.stored.clone()),
            stored: version.stored.clone(),
            active: Some(version),
            state: SlotState::Live,
            reason: None,
            quarantined: current.as_ref().map(|slot| slot.quarantined.clone()).unwrap_or_default(),
        };
        let changed = self.change(Some(&package.component), kind, slot).await?;
        Ok(told(loaded, changed, from, began))
    }

    /// Back to the previous version, which is still compiled.
    pub(crate) async fn roll_back(self: &Arc<Self>, plugin: &PluginName) -> Result<Change, LoadError> {
        let _turn = self.turns.of(plugin).await;
        self.back(plugin).await
    }

    /// The caller holds the plugin's turn.
    async fn back(self: &Arc<Self>, plugin: &PluginName) -> Result<Change, LoadError> {
        let began = Instant::now();
        let snapshot = self.registry.snapshot();
        let slot = snapshot.slots.get(plugin).ok_or_else(|| LoadError::NoSuchPlugin(plugin.clone()))?;
        let version = slot.previous.clone().ok_or(LoadError::NoPrevious)?;
        let from = slot.stored.version.clone();
        self.loader.activate(&self.invoker, &version, ActivationCause::Rollback { from: from.clone() }).await?;
        let active = version.clone();
        let back = Slot {
            plugin: plugin.clone(),
            generation: 0,
            approved: slot.approved.clone(),
            stored: active.stored.clone(),
            stored_previous: Some(slot.stored.clone()),
            previous: slot.active.clone(),
            active: Some(active),
            state: SlotState::Live,
            reason: None,
            quarantined: slot.quarantined.clone(),
        };
        let changed = self.change(None, Kind::RollBack, back).await?;
        Ok(told(&Loaded { version, notices: Vec::new(), compile_cached: true }, changed, Some(from), began))
    }

    /// Activates a stored version by its version or digest.
    pub(crate) async fn swap_to(self: &Arc<Self>, plugin: &PluginName, wanted: &str) -> Result<Change, LoadError> {
        // Held while looking, so that what is looked at is what is changed.
        let _turn = self.turns.of(plugin).await;
        let snapshot = self.registry.snapshot();
        let slot = snapshot.slots.get(plugin).ok_or_else(|| LoadError::NoSuchPlugin(plugin.clone()))?;
        let is = |stored: &StoredVersion| stored.version == wanted || stored.digest == wanted;
        if is(&slot.stored) && slot.active.is_some() {
            let version = slot.active.clone().ok_or(LoadError::NoPrevious)?;
            let notices = vec!["this version is active already".to_owned()];
            let unchanged = Changed { generation: slot.generation, notices: Vec::new() };
            return Ok(told(&Loaded { version, notices, compile_cached: true }, unchanged, None, Instant::now()));
        }
        match slot.stored_previous.as_ref().is_some_and(is) {
            true => self.back(plugin).await,
            false => Err(LoadError::NoSuchVersion(wanted.to_owned())),
        }
    }

    pub(crate) async fn remove(self: &Arc<Self>, plugin: &PluginName) -> Result<u64, LoadError> {
        let _turn = self.turns.of(plugin).await;
        let slot = self.registry.snapshot().slots.get(plugin).cloned().ok_or_else(|| LoadError::NoSuchPlugin(plugin.clone()))?;
        let publishing = self.publishing.lock().await;
        let snapshot = self.registry.snapshot();
        let generation = match &self.member {
            Some(member) => member.decide(&Decided::Remove(plugin.clone()), slot.generation).await?,
            None => {
                let generation = snapshot.generation + 1;
                self.state.remove_slot(plugin, generation).await.map_err(LoadError::State)?;
                generation
            }
        };
        self.publish(snapshot.with(plugin, None, snapshot.generation.max(generation)));
        drop(publishing);
        self.take_away(&slot).await;
        tracing::info!(%plugin, generation, "plugin removed");
        for straggler in self.stragglers(generation).await {
            tracing::warn!(%plugin, straggler, "the plugin is not removed everywhere");
        }
        Ok(generation)
    }

    /// What is left to do for a slot that is not published any more.
    pub(crate) async fn take_away(self: &Arc<Self>, slot: &Slot) {
        let plugin = &slot.plugin;
        // Nobody is told any more, but what is queued already is kept.
        if let Err(error) = self.unbind_topics(plugin).await {
            tracing::warn!(%plugin, %error, "topics could not be unbound");
        }
        self.capabilities.metrics.retract(plugin);
        self.retire(slot.active.clone(), true);
        if let Some(previous) = &slot.previous {
            self.forget(previous);
        }
        VersionMeters::forget_plugin(self.capabilities.metrics.as_ref(), plugin);
    }

    /// The live hosts that do not serve `generation` in time; nobody where
    /// there is no fleet.
    async fn stragglers(&self, generation: u64) -> Vec<String> {
        match &self.member {
            Some(member) => member.stragglers(generation).await,
            None => Vec::new(),
        }
    }

    /// Agrees with the fleet, stores, then publishes, then lets the replaced
    /// version drain. The caller holds the plugin's turn, `component` is what
    /// the slot needs and may not be stored yet, and the slot's generation is
    /// set here.
    pub(crate) async fn change(self: &Arc<Self>, component: Option<&Bytes>, kind: Kind, slot: Slot) -> Result<Changed, LoadError> {
        let (plugin, version, state) = (slot.plugin.clone(), slot.stored.version.clone(), slot.state);
        let before = self.registry.snapshot().slots.get(&plugin).cloned();
        let way = self.way(component, kind, &slot, before.as_deref()).await?;
        let generation = match self.save_and_publish(&way, slot, before.as_deref()).await {
            Ok(generation) => generation,
            Err(error) => {
                if let (Some(member), Way::Agreed(agreed)) = (&self.member, &way) {
                    member.withdraw(agreed).await;
                }
                return Err(error);
            }
        };
        self.capabilities.metrics.instrument(&SWAPS, &[plugin.as_str(), kind.name()]).add(1.0);
        tracing::info!(%plugin, version, generation, ?state, kind = kind.name(), "slot changed");
        if let Some(before) = before {
            self.let_go(&before);
        }
        Ok(Changed { generation, notices: self.stragglers(generation).await })
    }

    /// How the change is stored; in a fleet the others have agreed by then.
    async fn way<'a>(&self, component: Option<&'a Bytes>, kind: Kind, slot: &Slot, before: Option<&Slot>) -> Result<Way<'a>, LoadError> {
        let expects = before.map_or(0, |before| before.generation);
        match (&self.member, kind) {
            (None, _) => Ok(Way::Alone(component)),
            // Out of service at once: nobody is asked.
            (Some(_), Kind::Quarantine) => Ok(Way::Decided(expects)),
            (Some(member), _) => Ok(Way::Agreed(member.agree(slot.to_stored(), expects, component).await?)),
        }
    }

    /// The new generation. Nothing has changed if it fails, and events go where they went before.
    async fn save_and_publish(&self, way: &Way<'_>, mut slot: Slot, before: Option<&Slot>) -> Result<u64, LoadError> {
        let plugin = slot.plugin.clone();
        let _publishing = self.publishing.lock().await;
        let snapshot = self.registry.snapshot();
        slot.generation = snapshot.generation + 1;
        if let Some(version) = &slot.active {
            let declared = self.capabilities.metrics.declare(&plugin, &version.manifest.metrics);
            declared.map_err(|e| LoadError::Manifest(vec![e.message().to_owned()]))?;
        }
        match self.bind_and_save(&slot, way).await {
            Ok(generation) => slot.generation = generation,
            Err(error) => {
                let active = before.and_then(|before| before.active.as_ref());
                if let Some(Err(again)) = futures::future::OptionFuture::from(active.map(|v| self.declare_queues(v))).await {
                    tracing::error!(%plugin, error = %again, "topics could not be bound back");
                }
                return Err(error);
            }
        }
        let generation = slot.generation;
        // In a fleet, later changes of other plugins may be here already.
        self.publish(snapshot.with(&plugin, Some(slot), snapshot.generation.max(generation)));
        Ok(generation)
    }

    /// No other slot is saved or removed between a component and its slot: the
    /// caller holds the lock of publishing.
    async fn bind_and_save(&self, slot: &Slot, way: &Way<'_>) -> Result<u64, LoadError> {
        if let Some(version) = &slot.active {
            self.declare_queues(version).await.map_err(LoadError::State)?;
        }
        match (&self.member, way) {
            (Some(member), Way::Agreed(agreed)) => member.commit(agreed).await,
            (Some(member), Way::Decided(expects)) => member.decide(&Decided::Save(Box::new(slot.to_stored())), *expects).await,
            (_, way) => {
                if let Way::Alone(Some(component)) = way {
                    self.state.put_component(&slot.stored.digest, component).await.map_err(LoadError::State)?;
                }
                self.state.save_slot(&slot.to_stored()).await.map_err(LoadError::State)?;
                Ok(slot.generation)
            }
        }
    }

    /// The caller holds the lock of publishing since before it took the
    /// snapshot that this one was made from.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.capabilities.metrics.instrument(&GENERATION, &[]).set(snapshot.generation as f64);
        self.registry.publish(snapshot);
    }

    /// Drains what was active and forgets what will not come back.
    pub(crate) fn let_go(self: &Arc<Self>, before: &Slot) {
        let plugin = &before.plugin;
        let now = self.registry.snapshot();
        let held = |v: &Arc<Version>| {
            now.slots.get(plugin).is_some_and(|s| [&s.active, &s.previous].into_iter().flatten().any(|kept| Arc::ptr_eq(kept, v)))
        };
        let was_active = before.active.clone().filter(|v| !self.registry.is_active(plugin, v));
        self.retire(was_active.clone(), was_active.as_ref().is_some_and(|v| !held(v)));
        if let Some(older) = before.previous.as_ref().filter(|v| !held(v)) {
            self.forget(older);
        }
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
            // In the plugin's turn, so that it cannot be rolled back to meanwhile.
            let _turn = inner.turns.of(plugin).await;
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
}

fn told(loaded: &Loaded, changed: Changed, replaced: Option<String>, began: Instant) -> Change {
    let info = &loaded.version.info;
    Change {
        plugin: info.plugin.clone(),
        version: info.version.clone(),
        digest: info.digest.clone(),
        generation: changed.generation,
        replaced,
        notices: loaded.notices.iter().cloned().chain(changed.notices).collect(),
        elapsed_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        compile_cached: loaded.compile_cached,
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
