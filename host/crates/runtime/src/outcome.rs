//! How a hook call ends: a closed set of outcomes, and who answered.

use plinth_capability::name::PluginName;
use std::{sync::Arc, time::Duration};

/// Ok, or one of the six ways a call fails.
pub type Outcome<T> = Result<T, Failure>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The plugin answered with an error of its own.
    #[error("the plugin answered with an error: {0}")]
    Guest(GuestError),
    /// The guest broke: unreachable, out of bounds, stack overflow, panic.
    #[error("the plugin trapped: {0}")]
    Trap(String),
    /// The wall clock ran out.
    #[error("the call ran out of time: {0}")]
    Deadline(String),
    /// A budget ran out: CPU, memory, host calls, bytes, handles.
    #[error("the call hit a limit: {0}")]
    Limit(String),
    /// Not permitted.
    #[error("not permitted: {0}")]
    Denied(String),
    /// Nobody can answer now: no such plugin or hook, queue full, host stopping.
    #[error("unavailable: {why}")]
    Unavailable { why: String, retry_after: Option<Duration> },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    #[error("{message}")]
    Retry { message: String, after: Option<Duration> },
    #[error("{code}: {message}")]
    Reject { code: String, message: String },
}

/// Guest-controlled: bytes kept of an error's code and of its message, before
/// they reach an answer, a dead letter, the log or an audit record.
const CODE_MAX: usize = 128;
const MESSAGE_MAX: usize = 4_096;

impl GuestError {
    pub(crate) fn retry(message: String, after: Option<Duration>) -> Self {
        Self::Retry { message: cut(message, MESSAGE_MAX), after }
    }

    pub(crate) fn reject(code: String, message: String) -> Self {
        Self::Reject { code: cut(code, CODE_MAX), message: cut(message, MESSAGE_MAX) }
    }
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        // Or it would go on taking the memory that the guest filled.
        text.shrink_to_fit();
    }
    text
}

impl Failure {
    /// The outcome's name in logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Guest(_) => "guest-error",
            Self::Trap(_) => "trap",
            Self::Deadline(_) => "deadline",
            Self::Limit(_) => "limit",
            Self::Denied(_) => "denied",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), retry_after: None }
    }
}

/// One version of one plugin: what "which code answered" means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct VersionInfo {
    pub plugin: PluginName,
    pub version: String,
    /// `sha256:` and 64 hex digits of the component.
    pub digest: String,
}

/// What came back from a hook call, and from whom.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    pub invocation_id: String,
    /// None if no version could be chosen.
    pub answered_by: Option<Arc<VersionInfo>>,
    /// Of the slot that answered; 0 if none did.
    pub generation: u64,
    pub outcome: Outcome<T>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_of_an_error_is_cut_at_a_character() {
        let long = || "é".repeat(1 << 20);
        let GuestError::Reject { code, message } = GuestError::reject(format!("x{}", long()), long()) else { unreachable!("a rejection") };
        assert_eq!((code.len(), message.len()), (CODE_MAX - 1, MESSAGE_MAX));
        assert!(message.chars().all(|c| c == 'é') && message.capacity() < 2 * MESSAGE_MAX);
        assert_eq!(GuestError::retry("short".to_owned(), None), GuestError::Retry { message: "short".to_owned(), after: None });
    }
}
