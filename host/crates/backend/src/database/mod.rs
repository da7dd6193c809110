//! Backends of the database, and the outbox all of them relay the same way.

mod outbox;
mod sqlite;

pub use sqlite::{SqliteDatabases, SqliteDatabasesConfig};

use plinth_capability::{Error, ErrorKind};

fn limit_exceeded(why: String) -> Error {
    Error::new(ErrorKind::LimitExceeded, "database.query", why)
}
