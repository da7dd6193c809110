//! What went wrong in PostgreSQL, in the words of the capabilities.

use plinth_capability::{ConstraintKind, Error, ErrorKind, SqlDetail};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Classifies by SQLSTATE, never by text. Texts about statements and
/// constraints go to the caller; texts about the server stay in the source.
pub(crate) fn map_error(operation: &'static str, error: sqlx::Error) -> Error {
    let (kind, message, sql) = match &error {
        sqlx::Error::Database(e) => match e.try_downcast_ref::<PgDatabaseError>() {
            Some(e) => from_database(e),
            None => (ErrorKind::Failed, "the database failed".to_owned(), None),
        },
        sqlx::Error::PoolTimedOut => (ErrorKind::Unavailable, "no connection became free in time".to_owned(), None),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => (ErrorKind::Unavailable, "the database is closed".to_owned(), None),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::BeginFailed => {
            (ErrorKind::Unavailable, "the database does not answer".to_owned(), None)
        }
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

/// Whether the connection can answer nothing more: it was cut, or the server said goodbye.
pub(crate) fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(e) => {
            e.try_downcast_ref::<PgDatabaseError>().is_some_and(|e| matches!(e.severity(), PgSeverity::Fatal | PgSeverity::Panic))
        }
        _ => false,
    }
}

fn from_database(error: &PgDatabaseError) -> (ErrorKind, String, Option<SqlDetail>) {
    let kind = kind_of(error.code());
    let text = || error.message().to_owned();
    match kind {
        ErrorKind::Constraint(_) => (kind, text(), Some(detail(error))),
        ErrorKind::InvalidStatement | ErrorKind::InvalidInput | ErrorKind::LimitExceeded | ErrorKind::Denied | ErrorKind::WrongType => {
            (kind, text(), Some(SqlDetail { sqlstate: Some(error.code().to_owned()), ..SqlDetail::default() }))
        }
        ErrorKind::Conflict => (kind, "somebody else was faster, or holds what the statement needs".to_owned(), Some(detail(error))),
        ErrorKind::Timeout => (kind, "the statement took too long".to_owned(), None),
        ErrorKind::Closed => (kind, "the transaction has failed before: go back to a savepoint, or roll back".to_owned(), None),
        ErrorKind::Unavailable => (kind, "the database cannot be used now".to_owned(), None),
        _ => (kind, "the database failed".to_owned(), None),
    }
}

/// The first two characters are the class: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn kind_of(sqlstate: &str) -> ErrorKind {
    match sqlstate {
        "23502" => return ErrorKind::Constraint(ConstraintKind::NotNull),
        "23503" => return ErrorKind::Constraint(ConstraintKind::ForeignKey),
        "23505" => return ErrorKind::Constraint(ConstraintKind::Unique),
        "23514" => return ErrorKind::Constraint(ConstraintKind::Check),
        // lock_not_available, object_in_use.
        "55P03" | "55006" => return ErrorKind::Conflict,
        "57014" => return ErrorKind::Timeout,
        // read_only_sql_transaction, insufficient_privilege.
        "25006" | "42501" => return ErrorKind::Denied,
        // in_failed_sql_transaction; the two ends of an idle transaction.
        "25P02" | "25P03" | "25P04" => return ErrorKind::Closed,
        // datatype_mismatch and its kin are about the statement; a value that does not fit is about the input.
        "42804" | "42846" => return ErrorKind::InvalidStatement,
        "0A000" => return ErrorKind::InvalidStatement,
        _ => {}
    }
    match sqlstate.get(..2).unwrap_or_default() {
        "08" | "57" | "58" => ErrorKind::Unavailable,
        "22" => ErrorKind::InvalidInput,
        "23" => ErrorKind::Constraint(ConstraintKind::Other),
        // Rights of the host's own role: the operator's to mend.
        "28" => ErrorKind::Unavailable,
        // serialization_failure, deadlock_detected.
        "40" => ErrorKind::Conflict,
        "42" | "26" | "34" => ErrorKind::InvalidStatement,
        // disk_full, out_of_memory, too_many_connections.
        "53" => ErrorKind::Unavailable,
        "54" => ErrorKind::LimitExceeded,
        _ => ErrorKind::Failed,
    }
}

fn detail(error: &PgDatabaseError) -> SqlDetail {
    let own = |text: Option<&str>| text.map(str::to_owned);
    SqlDetail {
        sqlstate: Some(error.code().to_owned()),
        constraint: own(error.constraint()),
        table: own(error.table()),
        column: own(error.column()),
        detail: own(error.detail()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_their_kinds() {
        let cases = [
            ("23505", ErrorKind::Constraint(ConstraintKind::Unique)),
            ("23P01", ErrorKind::Constraint(ConstraintKind::Other)),
            ("40001", ErrorKind::Conflict),
            ("40P01", ErrorKind::Conflict),
            ("55P03", ErrorKind::Conflict),
            ("57014", ErrorKind::Timeout),
            ("57P01", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("08006", ErrorKind::Unavailable),
            ("25006", ErrorKind::Denied),
            ("42501", ErrorKind::Denied),
            ("42601", ErrorKind::InvalidStatement),
            ("42P01", ErrorKind::InvalidStatement),
            ("22P02", ErrorKind::InvalidInput),
            ("25P02", ErrorKind::Closed),
            ("XX000", ErrorKind::Failed),
        ];
        for (sqlstate, kind) in cases {
            assert_eq!(kind_of(sqlstate), kind, "{sqlstate}");
        }
    }
}
