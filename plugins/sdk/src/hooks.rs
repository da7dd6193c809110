//! The hooks: one trait each. A plugin implements any subset and names it in
//! `plugin!`.

use crate::bindings::{self, types::plinth::hooks::hook_types};

pub use bindings::decision::exports::plinth::hooks::decision::{Question, Verdict};
pub use bindings::event_listener::exports::plinth::hooks::event_listener::Event;
pub use bindings::lifecycle::exports::plinth::hooks::lifecycle::{Activation, Cause as ActivationCause};
pub use bindings::scheduled_job::exports::plinth::hooks::scheduled_job::Trigger;
pub use bindings::task_handler::exports::plinth::hooks::task_handler::Task;
pub use hook_types::{Failure, HookError, Payload, Reason, Retry};

/// Told about things that have happened; cannot veto. At least once: use
/// `event.id` to recognise a repeat.
pub trait EventListener {
    /// `Ok` settles the event; an error says whether it is worth trying again.
    fn on_event(event: Event) -> Result<(), HookError>;
}

/// Works off queued jobs. At least once: use `task.id` to recognise a repeat.
pub trait TaskHandler {
    /// `Ok` acknowledges the task.
    fn handle(task: Task) -> Result<(), HookError>;
}

/// Asked before something happens. Must be quick and must not change anything.
pub trait Decision {
    /// The verdict on one question.
    fn decide(question: Question) -> Result<Verdict, HookError>;
}

/// Started by the clock. One run per `trigger.run_id` in the whole cluster.
pub trait ScheduledJob {
    /// Runs the job `trigger.job`.
    fn run(trigger: Trigger) -> Result<(), HookError>;
}

/// Called once per plugin version and host process, not once per instance.
pub trait Lifecycle {
    /// Before the first call is routed to this version; an error keeps the
    /// version that is running.
    fn activate(activation: Activation) -> Result<(), Failure>;

    /// After the last call has returned. Best effort.
    fn deactivate() {}
}

/// A cheap self-test, called on a candidate before the swap.
pub trait Health {
    /// An error refuses the swap.
    fn check() -> Result<(), Failure>;
}

impl HookError {
    /// Try again after the host's own backoff.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry(Retry { message: message.into(), after_ms: None })
    }

    /// Try again no earlier than `after`.
    pub fn retry_after(message: impl Into<String>, after: std::time::Duration) -> Self {
        Self::Retry(Retry { message: message.into(), after_ms: Some(millis(after)) })
    }

    /// Trying again cannot help: make it a dead letter.
    pub fn reject(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Reject(Failure::new(code, message))
    }
}

impl Failure {
    /// `code` is for programs, `message` for people.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl Reason {
    /// Why something is refused or held.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: Vec::new() }
    }

    /// Adds one fact.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((name.into(), value.into()));
        self
    }
}

/// Durations cross to the host as `u32` milliseconds; longer ones are cut to
/// its 49 days, which every limit of the host lies below.
pub(crate) fn millis(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
