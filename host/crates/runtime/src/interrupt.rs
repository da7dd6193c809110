//! Why the host stopped a guest: travels through wasmtime as an error and comes out as an outcome.

use crate::outcome::Failure;
use wasmtime::Trap;

/// Raised by the host inside a call; everything else that ends one is a trap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Interrupt {
    #[error("{0}")]
    Deadline(&'static str),
    #[error("{0}")]
    Limit(String),
}

impl From<Interrupt> for Failure {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Deadline(what) => Self::Deadline(what.to_owned()),
            Interrupt::Limit(what) => Self::Limit(what),
        }
    }
}

/// What wasmtime says when a guest passes more bytes than its host-call fuel.
/// Its error type is private; a fixture proves that this text still matches.
const FUEL_TEXT: &str = "fuel allocated for hostcalls has been exhausted";
/// What wasmtime says when a component has more live handles than allowed.
const HANDLES_TEXT: &str = "handle";
/// What a full resource table says, where WASI's own functions wrap it.
const FULL_TEXT: &str = "resource table has no free keys";

/// Reads the outcome from what a call ended with. `refused` is a limit that the
/// guest ran into and was told about; if it then breaks, the limit is why.
pub(crate) fn classify(error: &wasmtime::Error, refused: Option<&'static str>) -> Failure {
    if let Some(interrupt) = error.downcast_ref::<Interrupt>() {
        return interrupt.clone().into();
    }
    let root = error.root_cause().to_string();
    if root.contains(FUEL_TEXT) {
        return Failure::Limit("more bytes in one host call than argument-bytes allows".to_owned());
    }
    if root.contains(FULL_TEXT) {
        return Failure::Limit("more handles than allowed".to_owned());
    }
    if let Some(limit) = refused {
        return Failure::Limit(limit.to_owned());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Failure::Trap("call stack exhausted".to_owned()),
        Some(trap) => Failure::Trap(trap.to_string()),
        None if root.contains(HANDLES_TEXT) && root.contains("limit") => Failure::Limit("more handles than allowed".to_owned()),
        None => Failure::Trap(root),
    }
}
