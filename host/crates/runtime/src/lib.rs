//! Runs plugins: loads them, swaps them while traffic flows, and calls their hooks.
//!
//! One call travels one way: snapshot → admission → fresh instance → glue →
//! choke point → capability, and comes back as an outcome.

pub mod build_plan;
pub mod hook;
pub mod inspect;
pub mod limits;
pub mod manifest;
pub mod outcome;
pub mod view;

mod admission;
mod aside;
mod bindings;
mod change_record;
mod changes;
mod choke;
mod contract;
mod decision;
mod engine;
mod fleet;
mod glue;
mod grants;
mod hooks;
mod http_hook;
mod interrupt;
mod invoke;
mod lane;
mod live;
mod load_error;
mod loader;
mod meter;
mod metrics;
mod promptness;
mod quarantine;
mod queues;
mod registry;
mod report;
mod restore;
mod runtime;
mod state;
mod turns;
mod version;

pub use choke::{Fault, Faults, Operation};
pub use engine::EngineConfig;
pub use fleet::{FleetConfig, Membership};
pub use glue::DEPTH_HEADER;
pub use grants::Grants;
pub use load_error::LoadError;
pub use loader::{CompilerConfig, Examined, GrantPolicy, Place, Problem, compile_worker};
pub use promptness::ask_for_short_slices;
pub use queues::{QueueOverride, QueueSettingError, QueueSettings, QueuesConfig, event_queue};
pub use report::{Called, Frame, Report};
pub use runtime::{Parts, Runtime, RuntimeConfig, StartError};

use bytes::Bytes;
use hook::{Payload, Verdict};
use plinth_capability::name::PluginName;

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
