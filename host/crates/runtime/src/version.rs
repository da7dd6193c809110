//! One loaded version of one plugin: everything a call needs, prepared once.

use crate::{
    admission::Admission, choke::FaultHook, grants::Grants, hook::Hook, lane::Manners, limits::Limits, live::Live, manifest::Manifest,
    metrics::VersionMeters, outcome::VersionInfo, state::CallState,
};
use plinth_capability::state::StoredVersion;
use std::sync::Arc;
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::p2::bindings::exports::wasi::http::incoming_handler;

use crate::bindings::exports::{
    plinth::hooks::{decision, event_listener, health, lifecycle, scheduled_job, task_handler},
    wasmcloud::messaging::handler,
};

/// Loaded, checked and probed; immutable. The old one lives as long as its last call.
pub(crate) struct Version {
    pub(crate) info: Arc<VersionInfo>,
    pub(crate) manifest: Manifest,
    pub(crate) stored: StoredVersion,
    pub(crate) limits: Limits,
    pub(crate) grants: Grants,
    /// As `wasi:config/store` hands it out.
    pub(crate) config: Vec<(String, String)>,
    pub(crate) imports: Vec<String>,
    pub(crate) pre: InstancePre<CallState>,
    pub(crate) exports: Exports,
    pub(crate) meters: VersionMeters,
    pub(crate) admission: Admission,
    pub(crate) live: Live,
    /// Whether its calls may start on the threads that also drive I/O.
    pub(crate) manners: Manners,
    pub(crate) faults: FaultHook,
}

impl Version {
    /// Whether loading `stored` would make this version again.
    pub(crate) fn is(&self, stored: &StoredVersion) -> bool {
        let StoredVersion { version: _, digest, manifest, config, grants, installed_at_ms: _ } = stored;
        let own = &self.stored;
        (&own.digest, &own.manifest, &own.config, &own.grants) == (digest, manifest, config, grants)
    }
}

/// Where each hook is in the component; a plugin exports any subset.
#[derive(Clone, Default)]
pub(crate) struct Exports {
    pub(crate) event_listener: Option<event_listener::GuestIndices>,
    pub(crate) task_handler: Option<task_handler::GuestIndices>,
    /// In place of a task handler, where the guest was written for that.
    pub(crate) message_handler: Option<handler::GuestIndices>,
    pub(crate) decision: Option<decision::GuestIndices>,
    pub(crate) scheduled_job: Option<scheduled_job::GuestIndices>,
    pub(crate) lifecycle: Option<lifecycle::GuestIndices>,
    pub(crate) health: Option<health::GuestIndices>,
    pub(crate) http: Option<incoming_handler::GuestIndices>,
}

impl Exports {
    /// Names only: types are checked when a hook is loaded from an instance.
    pub(crate) fn find(pre: &InstancePre<CallState>) -> Self {
        Self {
            event_listener: event_listener::GuestIndices::new(pre).ok(),
            task_handler: task_handler::GuestIndices::new(pre).ok(),
            message_handler: handler::GuestIndices::new(pre).ok(),
            decision: decision::GuestIndices::new(pre).ok(),
            scheduled_job: scheduled_job::GuestIndices::new(pre).ok(),
            lifecycle: lifecycle::GuestIndices::new(pre).ok(),
            health: health::GuestIndices::new(pre).ok(),
            http: incoming_handler::GuestIndices::new(pre).ok(),
        }
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::EventListener => self.event_listener.is_some(),
            Hook::TaskHandler => self.task_handler.is_some() || self.message_handler.is_some(),
            Hook::Decision => self.decision.is_some(),
            Hook::ScheduledJob => self.scheduled_job.is_some(),
            Hook::Lifecycle => self.lifecycle.is_some(),
            Hook::Health => self.health.is_some(),
            Hook::Http => self.http.is_some(),
        }
    }

    pub(crate) fn hooks(&self) -> Vec<Hook> {
        Hook::ALL.into_iter().filter(|hook| self.has(*hook)).collect()
    }
}
