//! Backends of the inbox, for brokers that cannot tell a repeat.

mod sqlite;

pub use sqlite::SqliteInbox;
