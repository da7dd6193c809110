//! The vocabulary of Plinth: what a capability promises, in our own types.
//!
//! One trait per capability, each with a `# Contract`; each bullet of a
//! contract is a case of the same name in [`conformance`]. No driver, no
//! wasmtime and no axum is known here.

pub mod audit;
pub mod cache;
pub mod database;
mod error;
pub mod fleet;
pub mod http;
pub mod inbox;
pub mod metrics;
pub mod name;
pub mod persons;
pub mod queue;
pub mod secrets;
pub mod state;
pub mod transparency;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use error::{ConstraintKind, Error, ErrorKind, Result, SqlDetail};

use std::sync::Arc;

/// Everything the host can lend to a plugin. Where each field must appear
/// (linker, health, documentation) it is destructured without `..`, so that a
/// new capability breaks the build there.
#[derive(Clone)]
pub struct Capabilities {
    pub cache: Arc<dyn cache::Cache>,
    pub queue: Arc<dyn queue::Queue>,
    pub databases: Arc<dyn database::Databases>,
    pub audit: Arc<dyn audit::AuditLog>,
    pub persons: Arc<dyn persons::Persons>,
    pub transparency: Arc<dyn transparency::Transparency>,
    pub http: Arc<dyn http::Http>,
    pub metrics: Arc<dyn metrics::Metrics>,
    pub secrets: Arc<dyn secrets::Secrets>,
}

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
