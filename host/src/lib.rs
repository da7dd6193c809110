//! The Plinth host: `start` a host, or run the command line.

mod audit_watch;
pub mod cli;
mod config;
mod consumer;
mod host_key;
mod inbox_keeper;
mod offline;
mod scheduler;
mod start;
mod telemetry;
mod trial;
mod wiring;

pub use config::{ConfigError, HostConfig};
pub use plinth_api::ApiConfig;
pub use plinth_runtime as runtime;
pub use start::{Overrides, RunningHost, StartError, start};
