//! What others committed becomes this host's own: slot by slot, until it serves what is stored.

use super::{Member, Missing};
use crate::{hook::ActivationCause, manifest::GrantRequests, registry::Slot, runtime::Inner, version::Version, view::SlotState};
use plinth_capability::{
    name::PluginName,
    state::{StoredSlot, StoredVersion},
};
use std::sync::Arc;

impl Inner {
    /// Makes this host serve what is stored, as far as it can, and tells the
    /// fleet how far that is. A slot that cannot be followed keeps what it has.
    /// True if nothing is left.
    pub(crate) async fn catch_up(self: &Arc<Self>, member: &Member, missing: Missing) -> bool {
        // The generation first: slots read after it are at least that new.
        let (generation, stored) = match (self.state.generation().await, self.state.slots().await) {
            (Ok(generation), Ok(stored)) => (generation, stored),
            (Err(error), _) | (_, Err(error)) => {
                let why = format!("the state cannot be read: {error}");
                member.tell(|told| told.note = Some(why)).await;
                return false;
            }
        };
        let mut left = None;
        for slot in &stored {
            if let Err(why) = self.follow_slot(member, slot, missing).await {
                left = Some(format!("{}: {why}", slot.plugin));
            }
        }
        for plugin in self.gone(&stored, generation) {
            if let Err(why) = self.follow_removal(&plugin, generation).await {
                left = Some(format!("{plugin}: {why}"));
            }
        }
        let done = left.is_none();
        if let Some(why) = left.as_ref().filter(|why| member.told().note.as_ref() != Some(*why)) {
            tracing::warn!(why, "this host is behind its fleet");
        }
        member
            .tell(|told| {
                told.note = left;
                if done {
                    told.generation = told.generation.max(generation);
                }
            })
            .await;
        done
    }

    async fn follow_slot(self: &Arc<Self>, member: &Member, stored: &StoredSlot, missing: Missing) -> Result<(), String> {
        let plugin = &stored.plugin;
        let old = |inner: &Self| inner.registry.snapshot().slots.get(plugin).is_none_or(|slot| slot.generation < stored.generation);
        if !old(self) {
            return Ok(());
        }
        let Some(_turn) = self.turns.of_now(plugin) else { return Err("it is being changed here".to_owned()) };
        if !old(self) {
            return Ok(());
        }
        if let Some(why) = member.held(stored) {
            return Err(why);
        }
        let before = self.registry.snapshot().slots.get(plugin).cloned();
        let active = match self.ready_version(member, stored, before.as_deref()).await {
            Ok(version) => Ok(version),
            // Out of service everywhere: nothing is left to activate.
            Err(why) if stored.quarantined.contains(&stored.active.digest) || missing == Missing::Degrades => Err(why),
            Err(why) => {
                member.hold(stored, why.clone());
                return Err(why);
            }
        };
        let previous = match &stored.previous {
            Some(previous) => self.stored_version(member, stored, previous).await.ok(),
            None => None,
        };
        self.publish_stored(stored, active, previous).await;
        tracing::info!(%plugin, version = stored.active.version, generation = stored.generation, "slot followed");
        if let Some(before) = before {
            self.let_go(&before);
        }
        Ok(())
    }

    /// What is to answer, activated.
    async fn ready_version(&self, member: &Member, stored: &StoredSlot, before: Option<&Slot>) -> Result<Arc<Version>, String> {
        let version = self.stored_version(member, stored, &stored.active).await?;
        self.enter(&version, before).await?;
        Ok(version)
    }

    /// As it is in memory already, or fetched and loaded.
    async fn stored_version(&self, member: &Member, slot: &StoredSlot, stored: &StoredVersion) -> Result<Arc<Version>, String> {
        let known = self.known(&slot.plugin, stored, &slot.quarantined).or_else(|| member.staged(&slot.plugin, stored));
        match known {
            Some(version) => Ok(version),
            None => {
                let version = self.fetch(&slot.plugin, stored, &slot.quarantined).await?;
                let tried = self.loader.try_out(&self.invoker, &version).await;
                tried.map(|()| version).map_err(|why| why.told())
            }
        }
    }

    /// Activated, declared and bound, so that it may be published.
    async fn enter(&self, version: &Arc<Version>, before: Option<&Slot>) -> Result<(), String> {
        let plugin = &version.info.plugin;
        let active = before.and_then(|slot| slot.active.as_ref());
        if active.is_some_and(|active| Arc::ptr_eq(active, version)) {
            return Ok(());
        }
        let from = active.map(|active| active.info.version.clone());
        let back = before.and_then(|slot| slot.previous.as_ref()).is_some_and(|previous| Arc::ptr_eq(previous, version));
        let cause = match from {
            None => ActivationCause::Start,
            Some(from) if back => ActivationCause::Rollback { from },
            Some(from) => ActivationCause::Upgrade { from },
        };
        self.loader.activate(&self.invoker, version, cause).await.map_err(|why| why.told())?;
        self.capabilities.metrics.declare(plugin, &version.manifest.metrics).map_err(|e| e.message().to_owned())?;
        self.declare_queues(version).await.map_err(|e| e.to_string())
    }

    /// One that the slot holds in memory.
    pub(super) fn known(&self, plugin: &PluginName, stored: &StoredVersion, quarantined: &[String]) -> Option<Arc<Version>> {
        if quarantined.contains(&stored.digest) {
            return None;
        }
        let snapshot = self.registry.snapshot();
        let slot = snapshot.slots.get(plugin)?;
        [&slot.active, &slot.previous].into_iter().flatten().find(|version| version.is(stored)).cloned()
    }

    /// A stored slot takes its place, under the generation it was stored with.
    pub(crate) async fn publish_stored(&self, stored: &StoredSlot, active: Result<Arc<Version>, String>, previous: Option<Arc<Version>>) {
        let approved: GrantRequests = serde_json::from_str(&stored.active.grants).unwrap_or_default();
        let (active, reason) = match active {
            Ok(version) => (Some(version), None),
            Err(why) => {
                tracing::error!(plugin = %stored.plugin, why, "slot could not be brought back");
                (None, Some(why))
            }
        };
        let slot = Slot {
            plugin: stored.plugin.clone(),
            generation: stored.generation,
            state: if active.is_some() { SlotState::Live } else { SlotState::Degraded },
            active,
            previous,
            stored: stored.active.clone(),
            stored_previous: stored.previous.clone(),
            reason,
            approved,
            quarantined: stored.quarantined.clone(),
        };
        let _publishing = self.publishing.lock().await;
        let snapshot = self.registry.snapshot();
        let generation = snapshot.generation.max(slot.generation);
        self.publish(snapshot.with(&stored.plugin, Some(slot), generation));
    }

    /// Slots that are here and were not stored any more when `generation` was.
    fn gone(&self, stored: &[StoredSlot], generation: u64) -> Vec<PluginName> {
        let snapshot = self.registry.snapshot();
        let kept = |plugin: &PluginName| stored.iter().any(|slot| slot.plugin == *plugin);
        snapshot
            .slots
            .values()
            .filter(|slot| slot.generation <= generation && !kept(&slot.plugin))
            .map(|slot| slot.plugin.clone())
            .collect()
    }

    async fn follow_removal(self: &Arc<Self>, plugin: &PluginName, generation: u64) -> Result<(), String> {
        let Some(_turn) = self.turns.of_now(plugin) else { return Err("it is being changed here".to_owned()) };
        let Some(slot) = self.registry.snapshot().slots.get(plugin).filter(|slot| slot.generation <= generation).cloned() else {
            return Ok(());
        };
        let publishing = self.publishing.lock().await;
        let snapshot = self.registry.snapshot();
        self.publish(snapshot.with(plugin, None, snapshot.generation.max(generation)));
        drop(publishing);
        self.take_away(&slot).await;
        Ok(())
    }
}
