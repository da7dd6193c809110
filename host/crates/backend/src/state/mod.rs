//! Backends of the host's own state: slots, components, job runs.

mod postgres;
mod sqlite;

pub use postgres::{CHANNEL, PostgresState};
pub use sqlite::SqliteState;
