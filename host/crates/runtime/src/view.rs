//! What the runtime tells about itself: slots, versions and their state, ready for JSON.

use crate::hook::Hook;
use plinth_capability::{fleet::HostSeen, name::PluginName};
use serde::Serialize;

/// The state of a slot as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// Serving calls.
    Live,
    /// Serving calls with the previous version, because the newer one was quarantined.
    FellBack,
    /// Nothing can answer: the version could not be loaded, or was quarantined
    /// and there is no previous one. Calls get the declared default.
    Degraded,
}

#[derive(Debug, Clone, Serialize)]
pub struct VersionView {
    pub version: String,
    pub digest: String,
    /// Hook calls running on this version now.
    pub live_calls: u64,
    pub installed_at_ms: u64,
    pub active: bool,
    pub quarantined: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct SlotView {
    pub plugin: PluginName,
    pub description: String,
    pub state: SlotState,
    /// Why the state is not `live`.
    pub reason: Option<String>,
    /// The snapshot generation in which this slot last changed.
    pub generation: u64,
    pub version: String,
    pub digest: String,
    pub hooks: Vec<Hook>,
    /// Active first, then the previous one and any that still drain.
    pub versions: Vec<VersionView>,
    /// Interfaces the component imports, as granted.
    pub imports: Vec<String>,
    pub limits: crate::limits::Limits,
    /// What the operator approved.
    pub grants: crate::manifest::GrantRequests,
}

/// How many of the slots that were stored are back after a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    pub back: usize,
    pub of: usize,
}

impl Restored {
    pub fn all(self) -> bool {
        self.back == self.of
    }
}

/// Who is where in a fleet.
#[derive(Debug, Clone, Serialize)]
pub struct FleetView {
    /// Whether several hosts may share the state.
    pub shared: bool,
    pub hosts: Vec<HostView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct HostView {
    pub name: String,
    /// Made anew at each start of the host.
    pub id: String,
    /// The one that answers.
    pub this: bool,
    /// Heard of lately.
    pub live: bool,
    /// Serves calls, and is asked about changes.
    pub ready: bool,
    /// Everything up to this generation is what it serves.
    pub generation: u64,
    /// Why it is not further.
    pub note: Option<String>,
    /// Since it was last heard of.
    pub age_ms: u64,
}

impl FleetView {
    pub(crate) fn of(hosts: Vec<HostSeen>, this: &str) -> Self {
        let view = |host: HostSeen| HostView {
            this: host.beat.id == this,
            live: host.live(),
            age_ms: u64::try_from(host.age.as_millis()).unwrap_or(u64::MAX),
            name: host.beat.name,
            id: host.beat.id,
            ready: host.beat.ready,
            generation: host.beat.generation,
            note: host.beat.note,
        };
        Self { shared: true, hosts: hosts.into_iter().map(view).collect() }
    }

    /// A host that has its state for itself.
    pub(crate) fn alone(generation: u64, ready: bool) -> Self {
        let this =
            HostView { name: "this host".to_owned(), id: String::new(), this: true, live: true, ready, generation, note: None, age_ms: 0 };
        Self { shared: false, hosts: vec![this] }
    }
}

/// What installing, swapping or rolling back did.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    pub plugin: PluginName,
    pub version: String,
    pub digest: String,
    pub generation: u64,
    /// The version that was active before.
    pub replaced: Option<String>,
    /// Things worth knowing that did not stop the change.
    pub notices: Vec<String>,
    /// From the bytes at hand to the answer of the first call being possible.
    pub elapsed_us: u64,
    /// Whether the compiled code came from the cache.
    pub compile_cached: bool,
}

impl crate::runtime::Inner {
    pub(crate) fn view(&self, slot: &crate::registry::Slot) -> SlotView {
        let active = slot.active.as_deref();
        SlotView {
            plugin: slot.plugin.clone(),
            description: active.map(|v| v.manifest.description.clone()).unwrap_or_default(),
            state: slot.state,
            reason: slot.reason.clone(),
            generation: slot.generation,
            version: slot.stored.version.clone(),
            digest: slot.stored.digest.clone(),
            hooks: active.map(|v| v.exports.hooks()).unwrap_or_default(),
            versions: self.versions(slot),
            imports: active.map(|v| v.imports.clone()).unwrap_or_default(),
            limits: active.map(|v| v.limits).unwrap_or_default(),
            grants: slot.approved.clone(),
        }
    }

    fn versions(&self, slot: &crate::registry::Slot) -> Vec<VersionView> {
        let mut draining = self.draining.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        draining.retain(|weak| weak.upgrade().is_some_and(|v| v.live.count() > 0));
        let kept = [slot.active.clone(), slot.previous.clone()];
        let others = draining.iter().filter_map(std::sync::Weak::upgrade).filter(|v| v.info.plugin == slot.plugin);
        let mut seen = Vec::new();
        for version in kept.into_iter().flatten().chain(others) {
            if !seen.iter().any(|known| std::sync::Arc::ptr_eq(known, &version)) {
                seen.push(version);
            }
        }
        let is_active = |v: &std::sync::Arc<crate::version::Version>| slot.active.as_ref().is_some_and(|a| std::sync::Arc::ptr_eq(a, v));
        seen.iter()
            .map(|version| VersionView {
                version: version.info.version.clone(),
                digest: version.info.digest.clone(),
                live_calls: version.live.count(),
                installed_at_ms: version.stored.installed_at_ms,
                active: is_active(version),
                quarantined: slot.quarantined.contains(&version.info.digest),
            })
            .collect()
    }
}
