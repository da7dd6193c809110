//! WIT on one side, capability traits on the other: authorise, convert, call, convert.

pub(crate) mod audit;
pub(crate) mod cache;
mod config;
mod context;
pub(crate) mod database;
mod link;
mod log;
mod metrics;
mod outbox;
mod personal;
mod queue;
mod secrets;
pub(crate) mod wasi;
pub(crate) mod wasi_http;
pub(crate) mod wasi_keyvalue;
mod wasi_logging;
pub(crate) mod wasmcloud_messaging;

pub(crate) use link::link;
pub use queue::DEPTH_HEADER;

use plinth_capability::{Error, ErrorKind, Result};

/// Whether trying again later may work.
fn retryable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Conflict | ErrorKind::OutcomeUnknown)
}

/// Converts a capability error into one package's `error` variant: the cases
/// all packages share, after those that only this one has.
macro_rules! wit_error {
    ($types:path, $error:expr; $($own:pat => $case:expr),* $(,)?) => {{
        use $types as types;
        use plinth_capability::ErrorKind as Kind;
        let error: plinth_capability::Error = $error;
        let message = || error.message().to_owned();
        match error.kind() {
            $($own => $case(&error),)*
            Kind::Denied => types::Error::AccessDenied(message()),
            Kind::InvalidInput => types::Error::InvalidArgument(message()),
            Kind::LimitExceeded => types::Error::LimitExceeded(message()),
            Kind::Timeout => types::Error::Timeout,
            Kind::Unavailable => types::Error::Unavailable(message()),
            kind => types::Error::Other(types::Failure {
                code: kind.code().to_owned(),
                message: message(),
                retryable: $crate::glue::retryable(kind),
            }),
        }
    }};
}
use wit_error;

fn invalid(operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, operation, message)
}

/// Options of later versions arrive as pairs; this host knows none of them.
fn no_extensions(operation: &'static str, extensions: &[(String, String)]) -> Result<()> {
    match extensions.first() {
        None => Ok(()),
        Some((key, _)) => Err(invalid(operation, format!("this host knows no extension `{}`", key.escape_debug()))),
    }
}
