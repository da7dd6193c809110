//! What the host asks of a plugin, in our own types: one struct per hook call.

use bytes::Bytes;
use std::time::Duration;

/// The hooks a plugin may export; a plugin exports any subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    EventListener,
    TaskHandler,
    Decision,
    ScheduledJob,
    Lifecycle,
    Health,
    Http,
}

impl Hook {
    pub const ALL: [Self; 7] =
        [Self::EventListener, Self::TaskHandler, Self::Decision, Self::ScheduledJob, Self::Lifecycle, Self::Health, Self::Http];

    /// The name used in logs, metrics, manifests and `invocation.info.hook`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EventListener => "event-listener",
            Self::TaskHandler => "task-handler",
            Self::Decision => "decision",
            Self::ScheduledJob => "scheduled-job",
            Self::Lifecycle => "lifecycle",
            Self::Health => "health",
            Self::Http => "http",
        }
    }
}

pub type Attributes = Vec<(String, String)>;

/// Facts about who causes a call; the plugin can read them and not forge them.
#[derive(Debug, Clone, Default)]
pub struct Cause {
    /// `user:4711`, `key:ops`, `system`; none for the anonymous loopback caller.
    pub actor: Option<String>,
    pub roles: Vec<String>,
    pub traceparent: Option<String>,
    /// Hook calls that led to this one; bounded by the host.
    pub depth: u32,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// Of the snapshot the call runs under, which the runtime sets; 0 in a probe.
    pub generation: u64,
}

/// Bytes with a media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub content_type: String,
    pub data: Bytes,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub topic: String,
    pub subject: String,
    pub occurred_at_ms: u64,
    pub payload: Payload,
    pub attributes: Attributes,
}

#[derive(Debug, Clone)]
pub struct Task {
    pub id: String,
    pub queue: String,
    pub routing_key: String,
    pub attempt: u32,
    pub enqueued_at_ms: u64,
    pub correlation_id: Option<String>,
    pub payload: Payload,
    pub attributes: Attributes,
}

#[derive(Debug, Clone)]
pub struct Question {
    pub point: String,
    pub subject: String,
    pub payload: Payload,
    pub attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: String,
    pub message: String,
    pub details: Attributes,
}

/// One plugin's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Abstain,
    Allow,
    Amend(Payload),
    Hold(Reason),
    Deny(Reason),
}

impl Verdict {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Abstain => "abstain",
            Self::Allow => "allow",
            Self::Amend(_) => "amend",
            Self::Hold(_) => "hold",
            Self::Deny(_) => "deny",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Trigger {
    pub job: String,
    pub run_id: String,
    pub scheduled_for_ms: u64,
    pub attempt: u32,
    pub last_success_ms: Option<u64>,
    pub attributes: Attributes,
}

/// Why a version is activated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActivationCause {
    Start,
    Upgrade { from: String },
    Rollback { from: String },
}

/// A whole request or response: bodies are bounded and buffered, so that a
/// plugin that breaks half-way never sends half an answer.
#[derive(Debug)]
pub struct HttpRequest {
    pub request: http::Request<Bytes>,
    /// Time left for the caller, if it said so.
    pub timeout: Option<Duration>,
}
