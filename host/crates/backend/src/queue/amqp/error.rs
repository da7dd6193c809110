//! What the broker's client says, as the errors of the capability.

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use plinth_capability::{Error, ErrorKind};

/// For what had no effect, or may be repeated.
pub(super) fn broken(operation: &'static str) -> impl Fn(lapin::Error) -> Error {
    move |error| {
        let (kind, message) = match soft(&error) {
            Some(AMQPSoftError::ACCESSREFUSED) => (ErrorKind::Failed, "the broker refused: its user lacks a permission"),
            Some(AMQPSoftError::NOTFOUND) => (ErrorKind::NotFound, "the broker does not have it"),
            Some(AMQPSoftError::RESOURCELOCKED) => (ErrorKind::Conflict, "another host is at it"),
            Some(_) => (ErrorKind::Failed, "the broker refused"),
            None => (ErrorKind::Unavailable, "the broker cannot be reached now"),
        };
        Error::new(kind, operation, message).with_source(error)
    }
}

pub(super) fn soft(error: &lapin::Error) -> Option<AMQPSoftError> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

pub(super) fn late(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the broker did not answer in time")
}

pub(super) fn unknown(operation: &'static str) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, operation, "sent, and not confirmed: it may or may not be stored; repeat it under the same id")
}
