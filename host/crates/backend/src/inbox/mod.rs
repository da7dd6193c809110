//! Backends of the inbox, for brokers that cannot tell a repeat.

mod postgres;
mod sqlite;

pub use postgres::PostgresInbox;
pub use sqlite::SqliteInbox;
