//! What is kept of calls that failed, for whoever asks why: the last lines, the last capability calls, the stack.

mod keeper;
mod mask;
pub(crate) mod stack;
mod trail;

pub(crate) use keeper::Reports;
pub(crate) use trail::Trail;

use crate::{hook::Hook, outcome::VersionInfo};
use std::{sync::Arc, time::Duration};

/// One failed call. Texts are cut, and sensitive values in them masked, before they are kept.
#[derive(Debug, Clone)]
pub struct Report {
    pub invocation_id: String,
    pub version: Arc<VersionInfo>,
    /// Of the snapshot it ran under; 0 in a probe.
    pub generation: u64,
    pub hook: Hook,
    /// Which delivery it was, from 1.
    pub attempt: u32,
    /// In milliseconds since 1970.
    pub ended_at_ms: u64,
    pub took: Duration,
    pub cpu: Duration,
    /// The most its memories and tables took; 0 if it was cut off while it waited.
    pub memory_bytes: u64,
    /// `trap`, `deadline`, `limit` and so on.
    pub outcome: &'static str,
    pub message: String,
    /// Innermost first; empty if it did not end inside the guest.
    pub stack: Vec<Frame>,
    /// The last lines that it logged, oldest first.
    pub log: Vec<String>,
    /// The end of what it wrote to standard error.
    pub stderr: Option<String>,
    /// The last capability calls, oldest first.
    pub calls: Vec<Called>,
    /// Of all it made.
    pub calls_made: u64,
}

/// A place in the guest's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// As the component's name section has it, demangled; its number if it has none.
    pub function: String,
    /// From the start of its core module.
    pub offset: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Called {
    pub operation: crate::Operation,
    /// `ok`, or the kind of the error it was answered.
    pub answer: &'static str,
}
