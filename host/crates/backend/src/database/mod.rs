//! Backends of the database, and the outbox all of them relay the same way.

mod draft;
mod outbox;
mod paging;
mod postgres;
mod rules;
mod slot;
mod sqlite;

pub use postgres::{PostgresDatabases, PostgresDatabasesConfig};
pub use sqlite::{SqliteDatabases, SqliteDatabasesConfig};

use rules::limit_exceeded;
