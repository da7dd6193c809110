//! Which capability errors are worth another try: `?` in a hook turns each
//! into `retry` or `reject`.

use crate::{HookError, audit, cache, config, database, queue, secrets};

/// An error that passes by itself is retried, any other is rejected.
fn hook_error(code: &str, passing: bool, error: &dyn std::error::Error) -> HookError {
    let message = format!("{code}: {error}");
    if passing { HookError::retry(message) } else { HookError::reject(code, message) }
}

impl From<cache::Error> for HookError {
    fn from(error: cache::Error) -> Self {
        let passing = match &error {
            cache::Error::Timeout | cache::Error::Unavailable(_) | cache::Error::LimitExceeded(_) => true,
            cache::Error::Other(failure) => failure.retryable,
            _ => false,
        };
        hook_error("cache", passing, &error)
    }
}

impl From<queue::Error> for HookError {
    fn from(error: queue::Error) -> Self {
        let passing = match &error {
            queue::Error::Timeout | queue::Error::Unavailable(_) => true,
            queue::Error::LimitExceeded(_) | queue::Error::OutcomeUnknown(_) => true,
            queue::Error::Other(failure) => failure.retryable,
            _ => false,
        };
        hook_error("queue", passing, &error)
    }
}

impl From<database::Error> for HookError {
    fn from(error: database::Error) -> Self {
        let passing = match &error {
            database::Error::Conflict(_) | database::Error::TransactionClosed | database::Error::Timeout => true,
            database::Error::Unavailable(_) | database::Error::OutcomeUnknown(_) => true,
            database::Error::Other(failure) => failure.retryable,
            _ => false,
        };
        hook_error("database", passing, &error)
    }
}

impl From<audit::Error> for HookError {
    fn from(error: audit::Error) -> Self {
        let passing = match &error {
            audit::Error::Timeout | audit::Error::Unavailable(_) | audit::Error::OutcomeUnknown(_) => true,
            audit::Error::Other(failure) => failure.retryable,
            _ => false,
        };
        hook_error("audit", passing, &error)
    }
}

impl From<secrets::Error> for HookError {
    fn from(error: secrets::Error) -> Self {
        let passing = match &error {
            secrets::Error::Timeout | secrets::Error::Unavailable(_) => true,
            secrets::Error::Other(failure) => failure.retryable,
            _ => false,
        };
        hook_error("secrets", passing, &error)
    }
}

impl From<config::Error> for HookError {
    fn from(error: config::Error) -> Self {
        hook_error("config", false, &error)
    }
}

impl From<serde_json::Error> for HookError {
    fn from(error: serde_json::Error) -> Self {
        hook_error("json", false, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_retried_and_what_stays_is_rejected() {
        assert!(matches!(HookError::from(queue::Error::Unavailable("broker".into())), HookError::Retry(_)));
        assert!(matches!(HookError::from(queue::Error::OutcomeUnknown("lost".into())), HookError::Retry(_)));
        assert!(matches!(HookError::from(cache::Error::AccessDenied("no grant".into())), HookError::Reject(_)));
        let failure = |retryable| database::Failure { code: "x".into(), message: "y".into(), retryable };
        assert!(matches!(HookError::from(database::Error::Other(failure(true))), HookError::Retry(_)));
        assert!(matches!(HookError::from(database::Error::Other(failure(false))), HookError::Reject(_)));
    }
}
