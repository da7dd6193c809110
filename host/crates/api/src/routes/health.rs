//! Is the process alive, has it started, should it be sent traffic.

use crate::{
    error::{ApiError, Result},
    problem::{self, Problems},
    readiness::{BackendHealth, HostPhase, Plugged, Prober, Readiness},
};
use axum::{Json as Answer, extract::State};
use http::StatusCode;
use plinth_runtime::view::{Restored, SlotState, SlotView};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(Clone)]
pub(crate) struct Health {
    pub readiness: Readiness,
    pub prober: Arc<Prober>,
    pub plugged: Arc<dyn Plugged>,
}

pub(crate) fn routes() -> OpenApiRouter<Health> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(started)).routes(routes!(ready))
}

#[derive(Serialize, ToSchema)]
struct Alive {
    alive: bool,
}

#[derive(Serialize, ToSchema)]
struct Started {
    started: bool,
    phase: HostPhase,
}

#[derive(Serialize, ToSchema)]
struct Ready {
    ready: bool,
    phase: HostPhase,
    /// Something is not well, and the host serves what it can.
    degraded: bool,
    slots: Vec<SlotHealth>,
    backends: Vec<BackendHealth>,
}

#[derive(Serialize, ToSchema)]
struct SlotHealth {
    plugin: String,
    /// `live`, `fell-back` or `degraded`.
    #[schema(value_type = String)]
    state: SlotState,
    version: String,
    generation: u64,
    reason: Option<String>,
}

/// Is the process alive? Never looks outside it.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, description = "It is.", body = Alive), Problems))]
async fn alive() -> Answer<Alive> {
    Answer(Alive { alive: true })
}

/// Has the host started?
///
/// Until every plugin that was installed is back, or is named as degraded, the
/// answer is the problem `starting`, whose detail says how many are.
#[utoipa::path(get, path = "/startupz", tag = "health", security(()),
    responses((status = 200, description = "It has.", body = Started), Problems))]
async fn started(State(health): State<Health>) -> Result<Answer<Started>> {
    match health.readiness.phase() {
        HostPhase::Starting => {
            let Restored { back, of } = health.plugged.restored();
            Err(ApiError::new(problem::STARTING, format!("{back} of {of} plugins are back")))
        }
        phase => Ok(Answer(Started { started: true, phase })),
    }
}

/// Should the host be sent traffic?
///
/// A plugin that is not well, or a backend that is away, is named and makes the
/// host degraded, not unready: if one lost database took every host out of
/// rotation, a part of an outage would become all of one.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "It should.", body = Ready),
              (status = 503, description = "It is starting or stopping.", body = Ready), Problems))]
async fn ready(State(health): State<Health>) -> (StatusCode, Answer<Ready>) {
    let backends = health.prober.backends().await;
    let slots: Vec<_> = health.plugged.slots().into_iter().map(SlotHealth::from).collect();
    let degraded = backends.iter().any(|b| !b.ok) || slots.iter().any(|s| s.state != SlotState::Live);
    let phase = health.readiness.phase();
    let ready = phase == HostPhase::Ready;
    let status = if ready { StatusCode::OK } else { problem::UNAVAILABLE.status };
    (status, Answer(Ready { ready, phase, degraded, slots, backends }))
}

impl From<SlotView> for SlotHealth {
    fn from(slot: SlotView) -> Self {
        let SlotView { plugin, state, version, generation, reason, .. } = slot;
        Self { plugin: plugin.into(), state, version, generation, reason }
    }
}
