//! The host's HTTP API: the only place that knows HTTP, axum and status codes.
//!
//! Every request passes the edge once (id, admission, caller, time limit,
//! problem, log line), then one handler. The OpenAPI document is generated from
//! the handlers.

mod auth;
pub mod cloudevents;
mod config;
mod detach;
mod edge;
mod error;
mod event_json;
mod extract;
mod linger;
mod meter;
mod openapi;
mod problem;
mod readiness;
mod request_id;
mod router;
mod routes;
mod serve;
mod time;
mod version_headers;

#[cfg(test)]
mod tests;

pub use config::{ApiConfig, ConfigError, KeyConfig};
pub use openapi::document;
pub use problem::Problem;
pub use readiness::{HostPhase, Readiness};
pub use router::{Api, router};
pub use serve::{Drained, serve};
