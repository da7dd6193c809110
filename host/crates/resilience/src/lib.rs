//! Policies around a backend: a concurrency limit with a bounded wait, and a timeout.
//!
//! [`Guarded`] decorates a capability and is one itself, in one order, outermost first:
//!
//! 1. **Concurrency limit.** At most `max_concurrent` calls run, at most
//!    `max_waiting` wait for their turn, none longer than the timeout. Beyond
//!    that a call is `Unavailable` at once: a queue that only grows helps nobody.
//! 2. **Timeout.** Innermost, so that it bounds the call and not the wait before
//!    it. Calls that may be repeated answer `Timeout`; those that may have
//!    happened and must not happen twice answer `OutcomeUnknown`.
//!
//! There is no retry here, nor in any backend: embedded backends do not fail for
//! a moment. The one place for retries, behind the timeout and only for calls
//! that may be repeated, comes with the external backends.

mod audit;
mod cache;
mod database;
mod gate;
mod http;
mod policy;
mod queue;

pub use policy::Policy;

use gate::Gate;
use std::sync::Arc;

/// A capability whose calls obey a [`Policy`]. Clones share its limits.
pub struct Guarded<T: ?Sized> {
    inner: Arc<T>,
    gate: Arc<Gate>,
}

impl<T: ?Sized> Guarded<T> {
    pub fn new(inner: Arc<T>, policy: Policy) -> Self {
        Self { inner, gate: Arc::new(Gate::new(policy)) }
    }
}

impl<T: ?Sized> Clone for Guarded<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), gate: Arc::clone(&self.gate) }
    }
}

#[cfg(test)]
mod tests;
