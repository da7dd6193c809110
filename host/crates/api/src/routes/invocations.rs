//! Calls that failed on this host, and what is known of why.

use super::Plugins;
use crate::{
    error::{ApiError, Result},
    extract::{Path, Query},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State};
use plinth_capability::name::PluginName;
use plinth_runtime::{Called, Frame, Report};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const LIMIT_MAX: usize = 1_000;

pub(crate) fn routes() -> OpenApiRouter<Plugins> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show))
}

#[derive(Serialize, ToSchema)]
struct Invocations {
    /// The newest first.
    invocations: Vec<Invocation>,
    /// Failed calls of which nothing was kept, because there were too many at once.
    passed_over: u64,
}

/// A call that failed.
#[derive(Serialize, ToSchema)]
struct Invocation {
    id: String,
    plugin: String,
    version: String,
    /// Of the component.
    digest: String,
    /// Of the snapshot it ran under; 0 in a probe.
    generation: u64,
    hook: String,
    /// Which delivery it was, from 1.
    attempt: u32,
    ended_at_ms: u64,
    took_us: u64,
    cpu_us: u64,
    /// The most its memories and tables took; 0 if it was cut off while it waited.
    memory_bytes: u64,
    /// `guest-error`, `trap`, `deadline`, `limit`, `denied` or `unavailable`.
    outcome: String,
    message: String,
}

/// A call that failed, with what it did last. Texts are cut, and sensitive values in them masked.
#[derive(Serialize, ToSchema)]
struct InvocationDetail {
    #[serde(flatten)]
    invocation: Invocation,
    /// Innermost first; empty if the call did not end inside the guest.
    stack: Vec<StackFrame>,
    /// The last lines that it logged, oldest first.
    log: Vec<String>,
    /// The end of what it wrote to standard error.
    stderr: Option<String>,
    /// The last capability calls, oldest first.
    calls: Vec<CapabilityCall>,
    /// Of all that it made.
    calls_made: u64,
}

#[derive(Serialize, ToSchema)]
struct StackFrame {
    /// As the component's name section has it; `function N` if it has none.
    function: String,
    /// From the start of its core module.
    offset: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct CapabilityCall {
    /// `cache.get`
    operation: String,
    /// `ok`, or the kind of the error it was answered.
    answer: String,
}

impl From<&Report> for Invocation {
    fn from(report: &Report) -> Self {
        let micros = |took: std::time::Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Self {
            id: report.invocation_id.clone(),
            plugin: report.version.plugin.to_string(),
            version: report.version.version.clone(),
            digest: report.version.digest.clone(),
            generation: report.generation,
            hook: report.hook.name().to_owned(),
            attempt: report.attempt,
            ended_at_ms: report.ended_at_ms,
            took_us: micros(report.took),
            cpu_us: micros(report.cpu),
            memory_bytes: report.memory_bytes,
            outcome: report.outcome.to_owned(),
            message: report.message.clone(),
        }
    }
}

impl From<&Report> for InvocationDetail {
    fn from(report: &Report) -> Self {
        let frame = |Frame { function, offset }: &Frame| StackFrame { function: function.clone(), offset: offset.map(|at| at as u64) };
        let call = |Called { operation, answer }: &Called| CapabilityCall { operation: operation.name(), answer: (*answer).to_owned() };
        Self {
            invocation: report.into(),
            stack: report.stack.iter().map(frame).collect(),
            log: report.log.clone(),
            stderr: report.stderr.clone(),
            calls: report.calls.iter().map(call).collect(),
            calls_made: report.calls_made,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only those of this plugin.
    plugin: Option<String>,
    /// 1 to 1000.
    #[serde(default = "default_limit")]
    limit: usize,
}

fn default_limit() -> usize {
    100
}

/// List calls that failed on this host.
///
/// Kept in memory: the newest 100 of each plugin and 1,000 in all, and of one plugin five a second after a burst of 100.
#[utoipa::path(get, path = "/v1/invocations", tag = "invocations", params(ListQuery),
    responses((status = 200, description = "Failed calls, the newest first.", body = Invocations), Problems))]
async fn list(State(plugins): State<Plugins>, Query(ListQuery { plugin, limit }): Query<ListQuery>) -> Result<Answer<Invocations>> {
    let plugin = plugin.as_deref().map(PluginName::new).transpose()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::new(problem::INVALID_INPUT, format!("limit is from 1 to {LIMIT_MAX}")));
    }
    let (reports, passed_over) = plugins.runtime.reports(plugin.as_ref(), limit);
    Ok(Answer(Invocations { invocations: reports.iter().map(|report| (&**report).into()).collect(), passed_over }))
}

/// Show what is known of a call that failed on this host.
#[utoipa::path(get, path = "/v1/invocations/{id}", tag = "invocations",
    params(("id" = String, Path, description = "As the header `plinth-invocation` and the host's log have it.")),
    responses((status = 200, description = "What it did last, and how it ended.", body = InvocationDetail), Problems))]
async fn show(State(plugins): State<Plugins>, Path(id): Path<String>) -> Result<Answer<InvocationDetail>> {
    let report = plugins.runtime.report(&id);
    let missing = "no failed call with this id is kept: it did not fail, ran on another host or before a restart, or others came after it";
    Ok(Answer((&*report.ok_or_else(|| ApiError::new(problem::NOT_FOUND, missing))?).into()))
}
