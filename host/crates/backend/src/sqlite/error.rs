//! What went wrong in SQLite, in the words of the capabilities.

use plinth_capability::{ConstraintKind, Error, ErrorKind, SqlDetail};
use sqlx::error::DatabaseError;

/// Classifies by SQLite's result code, never by text. Texts about statements
/// and constraints go to the caller; texts about files stay in the source.
pub(crate) fn map_error(operation: &'static str, error: sqlx::Error) -> Error {
    let (kind, message, sql) = match &error {
        sqlx::Error::Database(e) => from_database(e.as_ref()),
        sqlx::Error::PoolTimedOut => (ErrorKind::Unavailable, "no connection became free in time".to_owned(), None),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => (ErrorKind::Unavailable, "the database is closed".to_owned(), None),
        sqlx::Error::Io(_) => (ErrorKind::Unavailable, "the storage does not answer".to_owned(), None),
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => {
            (ErrorKind::InvalidInput, "a value cannot be given to the database".to_owned(), None)
        }
        sqlx::Error::RowNotFound => (ErrorKind::NotFound, "no such row".to_owned(), None),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (ErrorKind::WrongType, "a stored value has another type than expected".to_owned(), None)
        }
        _ => (ErrorKind::Failed, "the database failed".to_owned(), None),
    };
    let mapped = Error::new(kind, operation, message).with_source(error);
    match sql {
        Some(sql) => mapped.with_sql(sql),
        None => mapped,
    }
}

fn from_database(error: &dyn DatabaseError) -> (ErrorKind, String, Option<SqlDetail>) {
    let extended: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    let kind = kind_of(extended);
    match kind {
        ErrorKind::Constraint(_) => (kind, error.message().to_owned(), Some(constraint_detail(error.message()))),
        ErrorKind::InvalidStatement | ErrorKind::InvalidInput | ErrorKind::LimitExceeded => (kind, error.message().to_owned(), None),
        ErrorKind::Conflict => (kind, "the database is busy".to_owned(), None),
        ErrorKind::Denied => (kind, "the database does not allow this here".to_owned(), None),
        ErrorKind::Timeout => (kind, "the statement was interrupted".to_owned(), None),
        ErrorKind::Unavailable => (kind, "the storage cannot be used now".to_owned(), None),
        _ => (kind, "the database failed".to_owned(), None),
    }
}

/// The low byte is the class, the rest refines it: https://sqlite.org/rescode.html
fn kind_of(extended: i32) -> ErrorKind {
    match extended & 0xff {
        // Syntax, an unknown name, a bind index out of range.
        1 | 25 => ErrorKind::InvalidStatement,
        // PERM, READONLY, AUTH.
        3 | 8 | 23 => ErrorKind::Denied,
        // BUSY, LOCKED, PROTOCOL, SCHEMA: whoever runs the whole unit again may succeed.
        5 | 6 | 15 | 17 => ErrorKind::Conflict,
        // NOMEM, IOERR, FULL, CANTOPEN.
        7 | 10 | 13 | 14 => ErrorKind::Unavailable,
        9 => ErrorKind::Timeout,
        18 => ErrorKind::LimitExceeded,
        19 => ErrorKind::Constraint(constraint_of(extended)),
        20 => ErrorKind::InvalidInput,
        // CORRUPT, NOTADB, MISUSE and what may come.
        _ => ErrorKind::Failed,
    }
}

fn constraint_of(extended: i32) -> ConstraintKind {
    match extended >> 8 {
        1 => ConstraintKind::Check,
        3 => ConstraintKind::ForeignKey,
        5 => ConstraintKind::NotNull,
        // PRIMARYKEY, UNIQUE, ROWID.
        6 | 8 | 10 => ConstraintKind::Unique,
        _ => ConstraintKind::Other,
    }
}

/// `UNIQUE constraint failed: orders.tenant, orders.number` names table and columns;
/// `CHECK constraint failed: positive` names the constraint.
fn constraint_detail(message: &str) -> SqlDetail {
    let mut detail = SqlDetail { detail: Some(message.to_owned()), ..SqlDetail::default() };
    let Some((what, names)) = message.split_once(" constraint failed: ") else { return detail };
    if what == "CHECK" {
        detail.constraint = Some(names.to_owned());
        return detail;
    }
    if let Some((table, column)) = names.split(", ").next().and_then(|first| first.split_once('.')) {
        detail.table = Some(table.to_owned());
        detail.column = Some(column.to_owned());
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection, SqliteConnection};

    #[tokio::test]
    async fn sqlite_errors_have_their_kinds() {
        let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let schema = "PRAGMA foreign_keys=ON; CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, n INTEGER CONSTRAINT small CHECK(n < 10));
            CREATE TABLE c(p INTEGER REFERENCES p(id)); INSERT INTO p VALUES (1,'a',1)";
        sqlx::raw_sql(schema).execute(&mut db).await.unwrap();
        let cases = [
            ("INSERT INTO p VALUES (1,'b',1)", ErrorKind::Constraint(ConstraintKind::Unique)),
            ("INSERT INTO p VALUES (2,'a',1)", ErrorKind::Constraint(ConstraintKind::Unique)),
            ("INSERT INTO p VALUES (2,NULL,1)", ErrorKind::Constraint(ConstraintKind::NotNull)),
            ("INSERT INTO p VALUES (2,'b',11)", ErrorKind::Constraint(ConstraintKind::Check)),
            ("INSERT INTO c VALUES (7)", ErrorKind::Constraint(ConstraintKind::ForeignKey)),
            ("INSERT INTO p VALUES ('x','b',1)", ErrorKind::InvalidInput),
            ("SELEKT 1", ErrorKind::InvalidStatement),
            ("SELECT * FROM nowhere", ErrorKind::InvalidStatement),
            ("SELECT nothing FROM p", ErrorKind::InvalidStatement),
        ];
        for (sql, kind) in cases {
            let error = sqlx::query(sql).execute(&mut db).await.unwrap_err();
            assert_eq!(map_error("database.execute", error).kind(), kind, "{sql}");
        }
        sqlx::raw_sql("PRAGMA query_only=ON").execute(&mut db).await.unwrap();
        let error = sqlx::query("DELETE FROM p").execute(&mut db).await.unwrap_err();
        assert_eq!(map_error("database.execute", error).kind(), ErrorKind::Denied);
    }

    #[test]
    fn codes_without_a_cheap_cause_have_their_kinds() {
        assert_eq!([5, 517, 6].map(kind_of), [ErrorKind::Conflict; 3]);
        assert_eq!([10, 778, 13, 14].map(kind_of), [ErrorKind::Unavailable; 4]);
        assert_eq!([11, 26].map(kind_of), [ErrorKind::Failed; 2]);
        assert_eq!(kind_of(9), ErrorKind::Timeout);
    }

    #[test]
    fn a_constraint_names_what_it_guards() {
        let unique = constraint_detail("UNIQUE constraint failed: orders.tenant, orders.number");
        assert_eq!((unique.table.as_deref(), unique.column.as_deref()), (Some("orders"), Some("tenant")));
        assert_eq!(constraint_detail("CHECK constraint failed: small").constraint.as_deref(), Some("small"));
        assert_eq!(constraint_detail("FOREIGN KEY constraint failed").table, None);
    }
}
