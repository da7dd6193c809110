//! Runs plugins: loads them, swaps them while traffic flows, and calls their hooks.
//!
//! One call travels one way: snapshot → admission → fresh instance → glue →
//! choke point → capability, and comes back as an outcome.

pub mod hook;
pub mod limits;
mod load_error;
pub mod manifest;
pub mod outcome;
pub mod view;

pub use load_error::LoadError;

use bytes::Bytes;
use hook::*;
use outcome::Reply;
use plinth_capability::{Capabilities, name::PluginName, state::HostState};
use std::sync::Arc;
use view::{Change, SlotView};

/// A component and its manifest, as handed in by an operator.
#[derive(Debug, Clone)]
pub struct Package {
    pub component: Bytes,
    /// plugin.toml
    pub manifest: String,
    /// Values merged over the manifest's defaults, as a JSON object.
    pub config: Option<serde_json::Value>,
    /// Approve what the manifest asks beyond what is approved already.
    pub approve_grants: bool,
}

/// What a decision point answered.
#[derive(Debug, Clone)]
pub struct Decision {
    pub verdict: Verdict,
    /// The payload after all amendments, if there were any.
    pub payload: Option<Payload>,
    /// In the order asked.
    pub answers: Vec<Answer>,
}

#[derive(Debug, Clone, serde::Serialize)]
pub struct Answer {
    pub plugin: PluginName,
    pub version: String,
    pub digest: String,
    pub generation: u64,
    pub invocation_id: String,
    /// A verdict's code, or an outcome's code if the call failed.
    pub answer: String,
}

#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner;

#[expect(clippy::todo, reason = "skeleton")]
#[expect(unused_variables, reason = "skeleton")]
impl Runtime {
    /// Loads, checks, probes and publishes; an existing slot is swapped.
    pub async fn install(&self, package: Package) -> Result<Change, LoadError> {
        todo!()
    }
    /// As `install` up to the probe, changing nothing.
    pub async fn check(&self, package: Package) -> Result<Vec<String>, LoadError> {
        todo!()
    }
    pub async fn roll_back(&self, plugin: &PluginName) -> Result<Change, LoadError> {
        todo!()
    }
    /// Activates a stored version (active or previous) by version or digest.
    pub async fn swap_to(&self, plugin: &PluginName, version: &str) -> Result<Change, LoadError> {
        todo!()
    }
    /// The generation of the snapshot without it.
    pub async fn remove(&self, plugin: &PluginName) -> Result<u64, LoadError> {
        todo!()
    }
    pub fn slots(&self) -> Vec<SlotView> {
        todo!()
    }
    pub fn slot(&self, plugin: &PluginName) -> Option<SlotView> {
        todo!()
    }
    pub fn generation(&self) -> u64 {
        todo!()
    }
    pub async fn on_event(&self, plugin: &PluginName, event: Event, cause: Cause) -> Reply<()> {
        todo!()
    }
    pub async fn handle_task(&self, plugin: &PluginName, task: Task, cause: Cause) -> Reply<()> {
        todo!()
    }
    pub async fn run_job(&self, plugin: &PluginName, trigger: Trigger, cause: Cause) -> Reply<()> {
        todo!()
    }
    /// Asks every plugin bound to the point; no plugin is `Abstain`.
    pub async fn decide(&self, question: Question, cause: Cause) -> Decision {
        todo!()
    }
    pub async fn handle_http(&self, plugin: &PluginName, request: HttpRequest, cause: Cause) -> Reply<http::Response<Bytes>> {
        todo!()
    }
}

/// What `start` needs beyond its configuration.
pub struct Parts {
    pub capabilities: Capabilities,
    pub state: Arc<dyn HostState>,
}
