//! One connection: statements with a deadline, and the knowledge whether it is
//! fit for the next caller.

use super::{
    run::{Prepared, is_stale},
    timeouts::Timeouts,
};
use crate::postgres::{is_broken, map_error};
use plinth_capability::{Error, ErrorKind, Result};
use sqlx::{
    ConnectOptions, Executor, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgConnection},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// How long the host's own short statements may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) struct Conn {
    pub(super) raw: PgConnection,
    /// Of the server's process, to be cancelled by.
    pub(super) pid: i32,
    pub(super) prepared: HashMap<Arc<str>, Arc<Prepared>>,
    pub(super) timeouts: Timeouts,
    /// A command was sent whose end was not seen.
    pub(super) busy: bool,
    /// A transaction was begun here and not ended.
    pub(super) transaction: bool,
    /// A statement of the transaction failed: the server takes no more of it.
    aborted: bool,
    /// The server is gone.
    pub(super) broken: bool,
    /// How often it came back in the middle of something.
    pub(super) resets: u32,
    /// One place among all connections of this host.
    _place: OwnedSemaphorePermit,
}

impl Conn {
    /// `statement_ms` is what `options` set the session to.
    pub(super) async fn open(options: &PgConnectOptions, statement_ms: u32, place: OwnedSemaphorePermit) -> sqlx::Result<Self> {
        let mut raw = options.connect().await?;
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut raw).await?;
        let timeouts = Timeouts { statement: Some(statement_ms), changed: false };
        let (busy, transaction, aborted, broken) = (false, false, false, false);
        Ok(Self { raw, pid, prepared: HashMap::new(), timeouts, busy, transaction, aborted, broken, resets: 0, _place: place })
    }

    pub(super) fn is_clean(&self) -> bool {
        !self.busy && !self.transaction && !self.broken
    }

    /// Waits for the end of what was running, ends what is open. After an error the connection is to be closed.
    pub(super) async fn reset(&mut self) -> sqlx::Result<()> {
        sqlx::Connection::ping(&mut self.raw).await?;
        if self.transaction {
            self.raw.execute("ROLLBACK").await?;
        }
        // Whether a setting that was under way was taken is not known.
        self.timeouts = Timeouts { statement: None, changed: false };
        (self.busy, self.transaction, self.aborted) = (false, false, false);
        self.resets += 1;
        Ok(())
    }

    pub(super) async fn forget(&mut self) -> Result<()> {
        self.prepared.clear();
        sqlx::Connection::clear_cached_statements(&mut self.raw).await.map_err(|e| map_error("database.prepare", e))
    }

    /// One of the host's statements that takes and answers nothing.
    pub(super) async fn step(&mut self, operation: &'static str, sql: &'static str) -> Result<()> {
        self.busy = true;
        match timeout(STEP_TIMEOUT, self.raw.execute(sql)).await {
            Ok(Ok(_)) => {
                self.busy = false;
                Ok(())
            }
            Ok(Err(error)) => Err(self.failed(operation, error)),
            Err(_) => Err(silent(operation)),
        }
    }

    /// One of the host's statements that answers one number, or null.
    pub(super) async fn ask(&mut self, operation: &'static str, sql: &'static str, arguments: PgArguments) -> Result<Option<i64>> {
        self.check_alive()?;
        self.busy = true;
        let answer = sqlx::query_scalar_with::<Postgres, Option<i64>, _>(sql, arguments).fetch_one(&mut self.raw);
        match timeout(STEP_TIMEOUT, answer).await {
            Ok(Ok(number)) => {
                self.busy = false;
                Ok(number)
            }
            Ok(Err(error)) => Err(self.failed(operation, error)),
            Err(_) => Err(silent(operation)),
        }
    }

    pub(super) async fn begin(&mut self, sql: &'static str) -> Result<()> {
        // Before it is sent: if nobody waits for the answer, it may have begun.
        self.transaction = true;
        self.step("database.begin", sql).await
    }

    pub(super) async fn rollback(&mut self) -> Result<()> {
        self.step("transaction.rollback", "ROLLBACK").await?;
        self.ended(true);
        Ok(())
    }

    /// After an error the transaction is gone or unknown; the lease cleans up.
    pub(super) async fn commit(&mut self) -> Result<()> {
        // The server answers a commit of a failed transaction with success, and rolls back.
        self.check_alive()?;
        self.step("transaction.commit", "COMMIT").await.map_err(|e| if self.broken || self.busy { e.into_unknown() } else { e })?;
        self.ended(false);
        Ok(())
    }

    fn ended(&mut self, undone: bool) {
        if undone && self.timeouts.changed {
            self.timeouts.statement = None;
        }
        (self.transaction, self.aborted, self.timeouts.changed) = (false, false, false);
    }

    /// Back to the newest savepoint: the transaction goes on from there.
    pub(super) async fn rollback_to_savepoint(&mut self, operation: &'static str, sql: &'static str) -> Result<()> {
        self.step(operation, sql).await?;
        if self.timeouts.changed {
            self.timeouts.statement = None;
        }
        self.aborted = false;
        Ok(())
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        match self.aborted {
            true => Err(Error::new(ErrorKind::Closed, "transaction.use", "a statement failed: go back to a savepoint, or roll back")),
            false => Ok(()),
        }
    }

    /// Notes what an error leaves of the connection.
    pub(super) fn failed(&mut self, operation: &'static str, error: sqlx::Error) -> Error {
        if is_broken(&error) {
            self.broken = true;
        } else if matches!(error, sqlx::Error::Database(_)) {
            // The server has answered: it waits for the next statement.
            self.busy = false;
            self.aborted = self.transaction;
        }
        if is_stale(&error) {
            return Error::new(ErrorKind::Conflict, operation, "the schema changed").with_source(error);
        }
        map_error(operation, error)
    }
}

pub(super) fn silent(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the database does not answer")
}

/// For what was sent, and its answer lost.
pub(super) trait IntoUnknown {
    fn into_unknown(self) -> Self;
}

impl IntoUnknown for Error {
    fn into_unknown(self) -> Self {
        Error::new(ErrorKind::OutcomeUnknown, self.operation(), "the connection was lost before the answer came").with_source(self)
    }
}
