//! Brings stored slots back after a start: the same versions, generations and grants as before it.

use crate::{
    LoadError, Package,
    hook::ActivationCause,
    manifest::GrantRequests,
    metrics::GENERATION,
    registry::Slot,
    runtime::Inner,
    version::Version,
    view::{Restored, SlotState},
};
use plinth_capability::{
    name::PluginName,
    state::{StoredSlot, StoredVersion},
};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// What is still to be brought back, and how far that is.
pub(crate) struct Restoring {
    /// Emptied by the one who brings them back.
    left: Mutex<Vec<StoredSlot>>,
    back: AtomicUsize,
    of: usize,
}

impl Restoring {
    pub(crate) fn of(stored: Vec<StoredSlot>) -> Self {
        Self { back: AtomicUsize::new(0), of: stored.len(), left: Mutex::new(stored) }
    }

    pub(crate) fn seen(&self) -> Restored {
        Restored { back: self.back.load(Ordering::Acquire), of: self.of }
    }
}

impl Inner {
    /// A slot that does not load is degraded and says why; it never keeps the
    /// host from starting. Nobody changes slots meanwhile: see `detached`.
    pub(crate) async fn restore(&self) {
        self.capabilities.metrics.instrument(&GENERATION, &[]).set(self.registry.snapshot().generation as f64);
        let left = std::mem::take(&mut *self.restoring.left.lock().unwrap_or_else(PoisonError::into_inner));
        for stored in left {
            let approved: GrantRequests = serde_json::from_str(&stored.active.grants).unwrap_or_default();
            let active = self.reload(&stored.plugin, &stored.active, &stored.quarantined, true).await;
            let previous = match &stored.previous {
                Some(previous) => self.reload(&stored.plugin, previous, &stored.quarantined, false).await.ok(),
                None => None,
            };
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
                stored: stored.active,
                stored_previous: stored.previous,
                reason,
                approved,
                quarantined: stored.quarantined,
            };
            let _publishing = self.publishing.lock().await;
            let snapshot = self.registry.snapshot();
            let generation = snapshot.generation;
            self.publish(snapshot.with(&stored.plugin, Some(slot), generation));
            self.restoring.back.fetch_add(1, Ordering::Release);
        }
    }

    async fn reload(
        &self,
        plugin: &PluginName,
        stored: &StoredVersion,
        quarantined: &[String],
        activate: bool,
    ) -> Result<Arc<Version>, String> {
        if quarantined.contains(&stored.digest) {
            return Err(format!("{} is quarantined", stored.digest));
        }
        let component = match self.state.component(&stored.digest).await {
            Ok(Some(component)) => component,
            Ok(None) => return Err(format!("component {} is not stored", stored.digest)),
            Err(error) => return Err(error.to_string()),
        };
        let config = serde_json::from_str(&stored.config).ok();
        let package = Package { component, manifest: stored.manifest.clone(), config, approve_grants: true };
        let told = |error: LoadError| std::iter::once(error.to_string()).chain(error.problems()).collect::<Vec<_>>().join("; ");
        let mut loaded = self.loader.load(&package, &GrantRequests::default()).await.map_err(told)?;
        // A restart is no installation.
        if let Some(version) = Arc::get_mut(&mut loaded.version) {
            version.stored.installed_at_ms = stored.installed_at_ms;
        }
        if loaded.version.info.plugin != *plugin || loaded.version.info.digest != stored.digest {
            return Err("what is stored is not what was installed".to_owned());
        }
        if activate {
            let metrics = &loaded.version.manifest.metrics;
            self.capabilities.metrics.declare(plugin, metrics).map_err(|e| e.message().to_owned())?;
            self.loader.probe(&self.invoker, &loaded.version, ActivationCause::Start).await.map_err(told)?;
            self.declare_queues(&loaded.version).await.map_err(|e| e.to_string())?;
        }
        Ok(loaded.version)
    }
}
