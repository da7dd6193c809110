//! The host's clock.

use crate::bindings::plinth::context::clock;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> u64 {
    clock::now_ms()
}

/// Since an arbitrary start; never goes back.
pub fn monotonic() -> Duration {
    Duration::from_micros(clock::monotonic_us())
}
