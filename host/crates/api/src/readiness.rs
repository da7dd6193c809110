//! Whether the host should be sent traffic, and what its backends say when asked.

use plinth_capability::{Capabilities, state::HostState};
use plinth_runtime::{
    Runtime,
    view::{Restored, SlotView},
};
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};
use utoipa::ToSchema;

/// How long one backend may take to say that it is well.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer is given again, so that many probes are one to the backends.
const KEEP: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostPhase {
    Starting = 0,
    Ready = 1,
    Stopping = 2,
}

/// Shared by the host, which sets it, and the API, which tells it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// A host that is starting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Phases only follow each other: a host that was told to stop while it
    /// started does not become ready.
    pub fn set(&self, phase: HostPhase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }

    pub fn phase(&self) -> HostPhase {
        match self.0.load(Ordering::Acquire) {
            0 => HostPhase::Starting,
            1 => HostPhase::Ready,
            _ => HostPhase::Stopping,
        }
    }
}

/// What the probes ask about plugins; a trait, so that they need no runtime.
pub(crate) trait Plugged: Send + Sync {
    fn slots(&self) -> Vec<SlotView>;
    fn restored(&self) -> Restored;
}

impl Plugged for Runtime {
    fn slots(&self) -> Vec<SlotView> {
        self.slots()
    }

    fn restored(&self) -> Restored {
        self.restored()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct BackendHealth {
    /// The capability: `cache`, `queue`, `database`, `audit` or `state`; `audit-log` is its signing and archiving,
    /// `audit-persons` the keys of persons in it.
    pub name: &'static str,
    pub ok: bool,
    /// Why not, in words that may be shown.
    pub reason: Option<String>,
    pub elapsed_ms: u64,
}

/// Asks the backends, at most once a second and never twice at the same time.
pub(crate) struct Prober {
    capabilities: Capabilities,
    state: Arc<dyn HostState>,
    last: Mutex<Option<(Instant, Vec<BackendHealth>)>>,
}

impl Prober {
    pub(crate) fn new(capabilities: Capabilities, state: Arc<dyn HostState>) -> Self {
        Self { capabilities, state, last: Mutex::new(None) }
    }

    pub(crate) async fn backends(&self) -> Vec<BackendHealth> {
        // Held over the probe on purpose: whoever comes meanwhile waits for its answer.
        let mut last = self.last.lock().await;
        if let Some((_, known)) = last.as_ref().filter(|(at, _)| at.elapsed() < KEEP) {
            return known.clone();
        }
        let health = self.probe().await;
        *last = Some((Instant::now(), health.clone()));
        health
    }

    async fn probe(&self) -> Vec<BackendHealth> {
        // Metrics and secrets live in the process and cannot be away; servers outside are none of the host's.
        let Capabilities { cache, queue, databases, audit, persons, transparency, http: _, metrics: _, secrets: _ } = &self.capabilities;
        let (cache, queue, database, audit, persons, log, state) = tokio::join!(
            one("cache", cache.health()),
            one("queue", queue.health()),
            one("database", databases.health()),
            one("audit", audit.health()),
            one("audit-persons", persons.health()),
            one("audit-log", transparency.health()),
            one("state", self.state.health()),
        );
        vec![cache, queue, database, audit, persons, log, state]
    }
}

async fn one(name: &'static str, health: impl Future<Output = plinth_capability::Result<()>>) -> BackendHealth {
    let started = Instant::now();
    let answer = tokio::time::timeout(PROBE_TIMEOUT, health).await;
    let reason = match answer {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.message().to_owned()),
        Err(_) => Some(format!("no answer within {} ms", PROBE_TIMEOUT.as_millis())),
    };
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    BackendHealth { name, ok: reason.is_none(), reason, elapsed_ms }
}
