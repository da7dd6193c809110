//! The choke point: every capability call goes budget → fault injection → execute → measure here.
//!
//! Authorising happened just before, where the glue resolved a logical name
//! through the grants; a handle that exists was authorised when it was opened.

use crate::{
    interrupt::Interrupt,
    meter::Meter,
    report::{Called, Trail},
    state::CallState,
    version::Version,
};
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

    /// Every operation that [`Faults`] can break.
    pub fn fallible() -> &'static [Self] {
        &FALLIBLE
    }

    pub fn name(self) -> String {
        format!("{}.{}", self.capability, self.verb)
    }
}

/// Those that may fail, which a test can break; what never leaves the process is not among them.
const FALLIBLE: [Operation; 27] = [
    Operation::new("audit", "find"),
    Operation::new("audit", "write"),
    Operation::new("audit", "write-personal"),
    Operation::new("cache", "delete"),
    Operation::new("cache", "get"),
    Operation::new("cache", "increment"),
    Operation::new("cache", "invalidate"),
    Operation::new("cache", "scan"),
    Operation::new("cache", "set"),
    Operation::new("cache", "swap"),
    Operation::new("cache", "touch"),
    Operation::new("database", "begin"),
    Operation::new("database", "commit"),
    Operation::new("database", "execute"),
    Operation::new("database", "open"),
    Operation::new("database", "page"),
    Operation::new("database", "query"),
    Operation::new("database", "rollback"),
    Operation::new("database", "savepoint"),
    Operation::new("http", "send"),
    Operation::new("outbox", "audit"),
    Operation::new("outbox", "audit-personal"),
    Operation::new("outbox", "publish"),
    Operation::new("queue", "publish"),
    Operation::new("secrets", "reveal"),
    Operation::new("secrets", "seal"),
    Operation::new("secrets", "sign"),
];

/// The capabilities that are metered, in the order of their instruments.
pub(crate) const CAPABILITIES: [&str; 7] = ["cache", "queue", "database", "outbox", "audit", "secrets", "http"];

/// How a test breaks a capability call.
#[derive(Debug)]
pub enum Fault {
    /// Nothing is executed, and this is the answer.
    Instead(Error),
    /// It is executed, and this is the answer all the same: an acknowledgement that got lost.
    After(Error),
}

/// Lets a test see, break or hold any capability call without touching a backend.
pub trait Faults: Send + Sync {
    /// What to break, as soon as this resolves.
    fn before(&self, operation: Operation) -> BoxFuture<'_, Option<Fault>>;

    /// What the plugin is answered.
    fn after(&self, _operation: Operation, _error: Option<&Error>) {}

    /// The time that plugins are told, in milliseconds since 1970; the system's, if None.
    fn now_ms(&self) -> Option<u64> {
        None
    }

    /// A line of a plugin's log, as it is written.
    fn logged(&self, _level: &'static str, _line: &str) {}
}

/// Who makes a capability call that goes on while the guest does something else.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) version: Arc<Version>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) invocation_id: String,
}

/// A call that was let through.
struct Passed {
    began: Instant,
    fault: Option<Fault>,
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
        take_host_call(&self.meter, &self.version, operation)?;
        Ok(through(&self.version, &self.trail, &self.invocation_id, operation, work).await)
    }

    /// As `choke`, for work on a resource of this call, which sits in its table.
    pub(crate) async fn choke_on<R: Send + 'static, T>(
        &mut self,
        operation: Operation,
        resource: &Resource<R>,
        work: impl AsyncFnOnce(&mut R) -> Result<T>,
    ) -> wasmtime::Result<Result<T>> {
        take_host_call(&self.meter, &self.version, operation)?;
        let passed = begin(&self.version, operation).await;
        let answer = match passed.fault {
            Some(Fault::Instead(fault)) => Err(fault),
            Some(Fault::After(fault)) => work(self.table.get_mut(resource)?).await.and(Err(fault)),
            None => work(self.table.get_mut(resource)?).await,
        };
        Ok(measured(&self.version, &self.trail, &self.invocation_id, passed.began, operation, answer))
    }

    /// What the plugin takes for now, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.version.faults.as_ref().and_then(|faults| faults.now_ms()).unwrap_or_else(plinth_capability::now_ms)
    }

    /// For what never leaves the process: counted, not timed.
    pub(crate) fn choke_local(&mut self, operation: Operation) -> wasmtime::Result<()> {
        take_host_call(&self.meter, &self.version, operation)?;
        if let Some(faults) = &self.version.faults {
            faults.after(operation, None);
        }
        Ok(())
    }
}

impl Caller {
    /// As [`CallState::choke`]. Beyond the budget the call is refused: only the guest's next own call can end it.
    pub(crate) async fn choke<T>(&self, operation: Operation, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let Self { version, meter, trail, invocation_id } = self;
        if let Err(over) = take_host_call(meter, version, operation) {
            return Err(Error::new(ErrorKind::LimitExceeded, "http.send", over.to_string()));
        }
        through(version, trail, invocation_id, operation, work).await
    }
}

/// Counts one capability call against the budget of this hook call.
fn take_host_call(meter: &Meter, version: &Version, operation: Operation) -> Result<(), Interrupt> {
    if meter.take_host_call() {
        return Ok(());
    }
    Err(Interrupt::Limit(format!("more than {} host calls, at {}", version.limits.host_calls, operation.name())))
}

/// Fault injection → execute → measure.
async fn through<T>(
    version: &Version,
    trail: &Trail,
    invocation_id: &str,
    operation: Operation,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let passed = begin(version, operation).await;
    let answer = match passed.fault {
        Some(Fault::Instead(fault)) => Err(fault),
        Some(Fault::After(fault)) => work.await.and(Err(fault)),
        None => work.await,
    };
    measured(version, trail, invocation_id, passed.began, operation, answer)
}

/// What comes before executing.
async fn begin(version: &Version, operation: Operation) -> Passed {
    let fault = match &version.faults {
        Some(faults) => faults.before(operation).await,
        None => None,
    };
    Passed { began: Instant::now(), fault }
}

/// What comes after executing.
fn measured<T>(
    version: &Version,
    trail: &Trail,
    invocation_id: &str,
    began: Instant,
    operation: Operation,
    answer: Result<T>,
) -> Result<T> {
    let error = answer.as_ref().err();
    version.meters.host_call(operation.capability, outcome_of(error), began.elapsed());
    if let Some(faults) = &version.faults {
        faults.after(operation, error);
    }
    trail.called(Called { operation, answer: error.map_or("ok", |error| error.kind().code()) });
    answer.inspect_err(|error| log_failure(version, invocation_id, operation, error))
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
fn log_failure(version: &Version, invocation: &str, operation: Operation, error: &Error) {
    let plugin = &version.info.plugin;
    let (operation, kind) = (operation.name(), error.kind().code());
    if outcome_of(Some(error)) == "failed" {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%plugin, invocation, operation, kind, cause, "capability call failed");
    } else {
        tracing::debug!(%plugin, invocation, operation, kind, "capability call refused");
    }
}

pub(crate) type FaultHook = Option<Arc<dyn Faults>>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// As the glue names them.
    fn named_in_glue() -> BTreeSet<String> {
        let glue = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/glue");
        let sources = glue.read_dir().unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let mut names = BTreeSet::new();
        for source in sources {
            for rest in source.split("Operation::new(\"").skip(1) {
                let mut words = rest.split('"');
                let (capability, verb) = (words.next().unwrap(), words.nth(1).unwrap());
                names.insert(format!("{capability}.{verb}"));
            }
        }
        names
    }

    #[test]
    fn every_operation_that_may_fail_can_be_broken() {
        let local = ["cache.open", "context.config", "context.read", "log.write", "metrics.record", "queue.request"];
        let fallible: BTreeSet<String> = named_in_glue().into_iter().filter(|name| !local.contains(&name.as_str())).collect();
        assert_eq!(fallible, Operation::fallible().iter().map(|operation| operation.name()).collect());
    }
}
