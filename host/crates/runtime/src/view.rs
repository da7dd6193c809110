//! What the runtime tells about itself: slots, versions and their state, ready for JSON.

use crate::hook::Hook;
use plinth_capability::name::PluginName;
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
