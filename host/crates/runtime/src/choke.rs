//! The choke point: every capability call goes budget → fault injection → execute → measure here.
//!
//! Authorising happened just before, where the glue resolved a logical name
//! through the grants; a handle that exists was authorised when it was opened.

use crate::state::CallState;
use futures::future::BoxFuture;
use plinth_capability::{Error, ErrorKind, Result};
use std::{future::Future, sync::Arc, time::Instant};
use wasmtime::component::Resource;

/// A capability and a verb, as a closed set of statics: one per glue function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    pub capability: &'static str,
    pub verb: &'static str,
}

impl Operation {
    pub(crate) const fn new(capability: &'static str, verb: &'static str) -> Self {
        Self { capability, verb }
    }

    pub fn name(self) -> String {
        format!("{}.{}", self.capability, self.verb)
    }
}

/// The capabilities that are metered, in the order of their instruments.
pub(crate) const CAPABILITIES: [&str; 6] = ["cache", "queue", "database", "outbox", "audit", "secrets"];

/// Lets a test break or hold any capability call without touching a backend.
pub trait Faults: Send + Sync {
    /// An error to answer instead of executing, as soon as this resolves.
    fn before(&self, operation: Operation) -> BoxFuture<'_, Option<Error>>;
}

/// A call that was let through.
struct Passed {
    began: Instant,
    fault: Option<Error>,
}

impl CallState {
    /// Runs one capability call. The outer error ends the guest, the inner one
    /// is its to handle. The call's deadline bounds `work`, because dropping
    /// the call drops it.
    pub(crate) async fn choke<T>(
        &mut self,
        operation: Operation,
        work: impl Future<Output = Result<T>> + Send,
    ) -> wasmtime::Result<Result<T>> {
        let passed = self.admit(operation).await?;
        let answer = match passed.fault {
            Some(fault) => Err(fault),
            None => work.await,
        };
        Ok(self.measured(passed.began, operation, answer))
    }

    /// As `choke`, for work on a resource of this call, which sits in its table.
    pub(crate) async fn choke_on<R: Send + 'static, T>(
        &mut self,
        operation: Operation,
        resource: &Resource<R>,
        work: impl AsyncFnOnce(&mut R) -> Result<T>,
    ) -> wasmtime::Result<Result<T>> {
        let passed = self.admit(operation).await?;
        let answer = match passed.fault {
            Some(fault) => Err(fault),
            None => work(self.table.get_mut(resource)?).await,
        };
        Ok(self.measured(passed.began, operation, answer))
    }

    /// Budget and fault injection: what comes before executing.
    async fn admit(&mut self, operation: Operation) -> Result<Passed, crate::interrupt::Interrupt> {
        self.take_host_call(operation)?;
        let fault = match self.version.faults.clone() {
            Some(faults) => faults.before(operation).await,
            None => None,
        };
        Ok(Passed { began: Instant::now(), fault })
    }

    /// What comes after executing.
    fn measured<T>(&self, began: Instant, operation: Operation, answer: Result<T>) -> Result<T> {
        self.version.meters.host_call(operation.capability, outcome_of(answer.as_ref().err()), began.elapsed());
        answer.inspect_err(|error| log_failure(self, operation, error))
    }

    /// For what never leaves the process: counted, not timed.
    pub(crate) fn choke_local(&mut self, operation: Operation) -> wasmtime::Result<()> {
        Ok(self.take_host_call(operation)?)
    }
}

/// Closed set for the `outcome` label.
pub(crate) const OUTCOMES: [&str; 3] = ["ok", "refused", "failed"];

/// `refused` is the caller's doing, `failed` the backend's.
fn outcome_of(error: Option<&Error>) -> &'static str {
    match error.map(Error::kind) {
        None => "ok",
        Some(
            ErrorKind::NotFound
            | ErrorKind::Denied
            | ErrorKind::InvalidInput
            | ErrorKind::LimitExceeded
            | ErrorKind::WrongType
            | ErrorKind::InvalidStatement
            | ErrorKind::Constraint(_)
            | ErrorKind::Conflict
            | ErrorKind::Closed
            | ErrorKind::Unroutable
            | ErrorKind::Unverified,
        ) => "refused",
        Some(ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::OutcomeUnknown | ErrorKind::Failed | ErrorKind::Internal) => "failed",
    }
}

/// The guest gets the message; the log gets the cause too.
fn log_failure(state: &CallState, operation: Operation, error: &Error) {
    let (plugin, invocation) = (&state.version.info.plugin, &state.invocation_id);
    let (operation, kind) = (operation.name(), error.kind().code());
    if outcome_of(Some(error)) == "failed" {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%plugin, invocation, operation, kind, cause, "capability call failed");
    } else {
        tracing::debug!(%plugin, invocation, operation, kind, "capability call refused");
    }
}

pub(crate) type FaultHook = Option<Arc<dyn Faults>>;
