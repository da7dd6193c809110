//! What goes wrong in a case, and a record of what the plugin did.

use super::case::FaultSpec;
use futures::future::BoxFuture;
use plinth_capability::{ConstraintKind, Error, ErrorKind};
use plinth_runtime::{Fault, Faults, Operation};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// By the names that a case uses; those of a constraint say which.
const KINDS: [(&str, ErrorKind); 20] = [
    ("not-found", ErrorKind::NotFound),
    ("denied", ErrorKind::Denied),
    ("invalid-input", ErrorKind::InvalidInput),
    ("limit-exceeded", ErrorKind::LimitExceeded),
    ("wrong-type", ErrorKind::WrongType),
    ("invalid-statement", ErrorKind::InvalidStatement),
    ("unique", ErrorKind::Constraint(ConstraintKind::Unique)),
    ("foreign-key", ErrorKind::Constraint(ConstraintKind::ForeignKey)),
    ("not-null", ErrorKind::Constraint(ConstraintKind::NotNull)),
    ("check", ErrorKind::Constraint(ConstraintKind::Check)),
    ("constraint-violation", ErrorKind::Constraint(ConstraintKind::Other)),
    ("conflict", ErrorKind::Conflict),
    ("closed", ErrorKind::Closed),
    ("unroutable", ErrorKind::Unroutable),
    ("unverified", ErrorKind::Unverified),
    ("timeout", ErrorKind::Timeout),
    ("unavailable", ErrorKind::Unavailable),
    ("outcome-unknown", ErrorKind::OutcomeUnknown),
    ("failed", ErrorKind::Failed),
    ("internal", ErrorKind::Internal),
];

fn kind(name: &str) -> Option<ErrorKind> {
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// What of it can be judged before anything runs.
pub(super) fn check(fault: &FaultSpec) -> Result<(), String> {
    let FaultSpec { at, nth, delay_ms, error, lost_ack } = fault;
    if let Some(error) = error.as_deref().filter(|error| kind(error).is_none()) {
        let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        return Err(format!("the fault at `{at}` has the error `{error}`; known are {}", known.join(", ")));
    }
    if !Operation::fallible().iter().any(|known| known.name() == *at || known.capability == at) {
        let known: Vec<String> = Operation::fallible().iter().map(|known| known.name()).collect();
        return Err(format!("there is no capability call `{at}` that could fail; there are {}", known.join(", ")));
    }
    if delay_ms.is_none() && error.is_none() && !lost_ack {
        return Err(format!("the fault at `{at}` needs `error`, `delay-ms` or `lost-ack`"));
    }
    match nth {
        Some(0) => Err(format!("the fault at `{at}`: nth counts from 1")),
        _ => Ok(()),
    }
}

/// A capability call as the plugin made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) operation: Operation,
    /// What it was answered, if that was an error.
    pub(super) error: Option<ErrorKind>,
}

struct Planned {
    spec: FaultSpec,
    /// Calls so far that `at` names.
    met: u32,
    done: bool,
}

#[derive(Default)]
struct Record {
    /// Only the call of the case is broken and recorded, not what comes before and after it.
    on: bool,
    planned: Vec<Planned>,
    calls: Vec<Seen>,
    lines: Vec<String>,
}

pub(super) struct Script {
    now_ms: Option<u64>,
    record: Mutex<Record>,
}

impl Script {
    pub(super) fn new(faults: &[FaultSpec], now_ms: Option<u64>) -> Self {
        let planned = faults.iter().map(|spec| Planned { spec: spec.clone(), met: 0, done: false }).collect();
        Self { now_ms, record: Mutex::new(Record { planned, ..Record::default() }) }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self) {
        self.record().on = true;
    }

    pub(super) fn end(&self) {
        self.record().on = false;
    }

    pub(super) fn calls(&self) -> Vec<Seen> {
        self.record().calls.clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.record().lines.clone()
    }

    /// A fault that no call met shows nothing.
    pub(super) fn unreached(&self) -> Vec<String> {
        let record = self.record();
        let unreached = record.planned.iter().filter(|planned| !planned.done);
        unreached
            .map(|Planned { spec, met, .. }| format!("the fault at `{}` was not reached: {met} such calls were made", spec.at))
            .collect()
    }

    /// What is planned for this call.
    fn next(&self, operation: Operation) -> (Duration, Option<Fault>) {
        let mut record = self.record();
        let name = operation.name();
        let (mut delay, mut fault) = (Duration::ZERO, None);
        if !record.on {
            return (delay, fault);
        }
        for planned in &mut record.planned {
            if planned.spec.at != name && planned.spec.at != operation.capability {
                continue;
            }
            planned.met += 1;
            if planned.spec.nth.is_some_and(|nth| nth != planned.met) {
                continue;
            }
            planned.done = true;
            delay += Duration::from_millis(planned.spec.delay_ms.unwrap_or(0));
            if fault.is_none() {
                fault = planned.spec.fault();
            }
        }
        (delay, fault)
    }
}

impl FaultSpec {
    fn fault(&self) -> Option<Fault> {
        let named = self.error.as_deref().and_then(kind);
        let error = |kind| Error::new(kind, "trial.fault", "as the case wants it");
        match (named, self.lost_ack) {
            (None, false) => None,
            (Some(kind), false) => Some(Fault::Instead(error(kind))),
            (named, true) => Some(Fault::After(error(named.unwrap_or(ErrorKind::OutcomeUnknown)))),
        }
    }
}

impl Faults for Script {
    fn before(&self, operation: Operation) -> BoxFuture<'_, Option<Fault>> {
        Box::pin(async move {
            let (delay, fault) = self.next(operation);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            fault
        })
    }

    fn after(&self, operation: Operation, error: Option<&Error>) {
        let mut record = self.record();
        if record.on {
            record.calls.push(Seen { operation, error: error.map(Error::kind) });
        }
    }

    fn now_ms(&self) -> Option<u64> {
        self.now_ms
    }

    fn logged(&self, level: &'static str, line: &str) {
        let mut record = self.record();
        if record.on {
            record.lines.push(format!("{level}: {line}"));
        }
    }
}
