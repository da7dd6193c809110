//! Write a Plinth plugin in ten lines of Rust.
//!
//! ```
//! use plinth_sdk::*;
//!
//! struct Greeter;
//!
//! impl EventListener for Greeter {
//!     fn on_event(event: Event) -> Result<(), HookError> {
//!         info!("saw an event", topic = event.topic);
//!         Ok(())
//!     }
//! }
//!
//! plugin!(Greeter: event_listener);
//! ```
//!
//! A plugin implements the trait of each hook it has and names the hooks in
//! [`plugin!`]. The component then exports exactly those hooks and imports
//! exactly what the code calls: its import list is what an operator has to
//! grant. Every name a plugin passes (bucket, database, destination, key) is a
//! logical one from its `plugin.toml`.

#[cfg(any(test, all(target_family = "wasm", not(target_feature = "atomics"))))]
mod allocator;
mod hooks;
#[macro_use]
mod macros;
pub mod audit;
pub mod cache;
pub mod clock;
pub mod config;
pub mod context;
pub mod database;
pub mod http;
pub mod log;
pub mod metrics;
pub mod outbox;
mod payload;
pub mod queue;
pub mod random;
pub mod secrets;

mod errors;

/// What [`plugin!`] expands to. Not for direct use, and not under semver.
#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub use wasip2;

pub use hooks::{
    Activation, ActivationCause, Decision, Event, EventListener, Failure, Health, HookError, Lifecycle, Payload, Question, Reason, Retry,
    ScheduledJob, Task, TaskHandler, Trigger, Verdict,
};
pub use http::{HttpHandler, Request, Response};
