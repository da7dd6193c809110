//! What a host must remember to come back as it was: slots, components, job runs.

use crate::{Result, name::PluginName};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One installed version, as much as is needed to load it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVersion {
    pub version: String,
    /// `sha256:` and 64 hex digits of the component.
    pub digest: String,
    /// plugin.toml as it was given.
    pub manifest: String,
    /// The plugin's configuration as JSON, checked against its schema.
    pub config: String,
    /// What the operator approved, as JSON.
    pub grants: String,
    pub installed_at_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSlot {
    pub plugin: PluginName,
    /// Of the last change to this slot.
    pub generation: u64,
    pub active: StoredVersion,
    pub previous: Option<StoredVersion>,
    /// Digests that trapped too often, newest last.
    pub quarantined: Vec<String>,
}

/// Ended runs that are remembered of each job, besides its last success.
pub const RUNS_KEPT: u32 = 100;

/// # Contract
///
/// - `slots_come_back`: a saved slot is listed with all its fields after a reopen; removing forgets it.
/// - `generation_never_goes_back`: `generation` is the highest ever saved, also after its slot was removed.
/// - `components_come_back`: component bytes are read back under their digest; an unknown digest is `None`.
/// - `unreferenced_components_are_forgotten`: saving or removing a slot forgets the components that no slot has as active or previous, and no others. A component is therefore put before the slot that needs it, with no other slot saved or removed in between.
/// - `a_run_is_claimed_once`: of many claims of one run id exactly one is true until its lease ends or it is finished; a finished run is not claimed again.
/// - `old_runs_are_forgotten`: of each job the last [`RUNS_KEPT`] finished runs are remembered, and its last success however many came after it.
/// - `last_success_is_kept`: the time of a job's last successful run is read back.
///
/// # Cancel safety
///
/// Each method happens whole or not at all.
#[async_trait]
pub trait HostState: Send + Sync {
    async fn slots(&self) -> Result<Vec<StoredSlot>>;
    async fn save_slot(&self, slot: &StoredSlot) -> Result<()>;
    /// `generation` is that of the removal.
    async fn remove_slot(&self, plugin: &PluginName, generation: u64) -> Result<()>;
    async fn generation(&self) -> Result<u64>;
    async fn put_component(&self, digest: &str, bytes: &Bytes) -> Result<()>;
    async fn component(&self, digest: &str) -> Result<Option<Bytes>>;
    /// True for the one caller that may run `run_id` now. `lease_ms` later
    /// another may, if it was not finished.
    async fn claim_run(&self, plugin: &PluginName, job: &str, run_id: &str, lease_ms: u64) -> Result<bool>;
    async fn finish_run(&self, plugin: &PluginName, job: &str, run_id: &str, success: bool) -> Result<()>;
    async fn last_success_ms(&self, plugin: &PluginName, job: &str) -> Result<Option<u64>>;
    async fn health(&self) -> Result<()>;
}
