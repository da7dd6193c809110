//! Brings stored slots back after a start: the same versions, generations and grants as before it.

use crate::{
    Package, hook::ActivationCause, manifest::GrantRequests, metrics::GENERATION, runtime::Inner, version::Version, view::Restored,
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
            let active = self.reload(&stored).await;
            let previous = match &stored.previous {
                Some(previous) => self.fetch(&stored.plugin, previous, &stored.quarantined).await.ok(),
                None => None,
            };
            self.publish_stored(&stored, active, previous).await;
            self.restoring.back.fetch_add(1, Ordering::Release);
        }
    }

    async fn reload(&self, slot: &StoredSlot) -> Result<Arc<Version>, String> {
        let plugin = &slot.plugin;
        let version = self.fetch(plugin, &slot.active, &slot.quarantined).await?;
        self.capabilities.metrics.declare(plugin, &version.manifest.metrics).map_err(|e| e.message().to_owned())?;
        self.loader.probe(&self.invoker, &version, ActivationCause::Start).await.map_err(|why| why.told())?;
        self.declare_queues(&version).await.map_err(|e| e.to_string())?;
        Ok(version)
    }

    /// Loaded from what is stored, and not yet run.
    pub(crate) async fn fetch(&self, plugin: &PluginName, stored: &StoredVersion, quarantined: &[String]) -> Result<Arc<Version>, String> {
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
        let mut loaded = self.load_aside(package, GrantRequests::default()).await.map_err(|why| why.told())?;
        // A restart is no installation.
        if let Some(version) = Arc::get_mut(&mut loaded.version) {
            version.stored.installed_at_ms = stored.installed_at_ms;
        }
        if loaded.version.info.plugin != *plugin || loaded.version.info.digest != stored.digest {
            return Err("what is stored is not what was installed".to_owned());
        }
        Ok(loaded.version)
    }
}
