//! Drivers: one implementation of a capability each, embedded or external.

pub mod audit;
pub mod cache;
pub mod database;
pub mod failpoint;
pub mod fleet;
pub mod http;
pub mod inbox;
pub mod metrics;
pub mod postgres;
pub mod queue;
pub mod secrets;
mod sqlite;
pub mod state;

pub use sqlite::Durability;
