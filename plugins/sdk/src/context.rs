//! Facts about the call that is running: filled in by the host, not forgeable.

use crate::bindings::plinth::context::invocation;
pub use invocation::{Actor, Info};
use std::time::Duration;

/// Who called, which plugin version this is, which attempt, which trace.
pub fn current() -> Info {
    invocation::current()
}

/// Time left before the host interrupts this call.
pub fn remaining() -> Duration {
    Duration::from_millis(invocation::remaining_ms().into())
}
