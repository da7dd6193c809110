//! One connection: statements with a deadline, and the knowledge whether it is
//! fit for the next caller.

use super::{
    decode::{Reader, Source},
    encode::{self, Target},
    gate::{Statement, Verb},
};
use crate::postgres::{is_broken, map_error};
use futures::TryStreamExt;
use plinth_capability::{
    Error, ErrorKind, Result,
    database::{Column, Execution, QueryLimits, RowSet, Value},
};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Either, Executor, Postgres, SqlSafeStr, SqlStr, Statement as _,
    postgres::{PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgRow},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// Statements whose types and columns a connection remembers.
pub(super) const STATEMENTS_MAX: usize = 100;
/// How much longer than its deadline a statement is waited for: the server
/// keeps the deadline, unless it cannot be reached.
const GRACE: Duration = Duration::from_millis(250);
/// How long the host's own short statements may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the rest of an answer that was too large is waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);

/// What the server said about a statement.
#[derive(Debug)]
pub(super) struct Prepared {
    targets: Vec<Target>,
    pub(super) columns: Vec<Column>,
    pub(super) sources: Vec<Source>,
}

pub(super) struct Conn {
    pub(super) raw: PgConnection,
    /// Of the server's process, to be cancelled by.
    pub(super) pid: i32,
    prepared: HashMap<Arc<str>, Arc<Prepared>>,
    timeouts: Timeouts,
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

/// What the server's session is set to, in milliseconds.
struct Timeouts {
    /// `None`: not known.
    statement: Option<u32>,
    /// Set inside the transaction: a rollback takes it back.
    changed: bool,
}

impl Timeouts {
    /// What to set for a statement that may take `want`, if anything. What is
    /// set already is kept if it cuts off at most a fifth: the time left is a
    /// little less with each call, and each setting is a round trip.
    fn next(&self, want: u32) -> Option<u32> {
        let want = want.max(1);
        match self.statement {
            Some(set) if set <= want && u64::from(set) * 5 >= u64::from(want) * 4 => None,
            Some(set) if set > want => Some((want - want / 10).max(1)),
            _ => Some(want),
        }
    }
}

/// Less than the statement's, so that one that waits for a lock ends as a conflict.
pub(super) fn lock_timeout(statement_ms: u32) -> u32 {
    (statement_ms - statement_ms / 4).max(1)
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

    async fn forget(&mut self) -> Result<()> {
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
        self.step("transaction.commit", "COMMIT").await.map_err(|e| if self.broken { e.into_unknown() } else { e })?;
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

    pub(super) async fn query(&mut self, statement: &Statement, params: Vec<Value>, limits: &QueryLimits) -> Result<RowSet> {
        let mut rows = Vec::new();
        let mut reader = Reader::new(limits);
        let take = |row: PgRow, prepared: &Prepared| {
            rows.push(reader.read(&row, &prepared.sources)?);
            Ok(())
        };
        let (_, prepared) = self.run("database.query", statement, &params, limits, take).await?;
        Ok(RowSet { columns: prepared.columns.clone(), rows })
    }

    pub(super) async fn execute(&mut self, statement: &Statement, params: &[Value], limits: &QueryLimits) -> Result<Execution> {
        let (mut done, _) = self.run("database.execute", statement, params, limits, |_, _| Ok(())).await?;
        // The server counts the rows it answered, too.
        if statement.verb() != Verb::Change {
            done.rows_affected = 0;
        }
        Ok(done)
    }

    async fn run(
        &mut self,
        operation: &'static str,
        statement: &Statement,
        params: &[Value],
        limits: &QueryLimits,
        mut take: impl FnMut(PgRow, &Prepared) -> Result<()>,
    ) -> Result<(Execution, Arc<Prepared>)> {
        self.check_alive()?;
        self.busy = true;
        let limit = statement_timeout(limits);
        let mut sent = false;
        let ended = match timeout(limit + GRACE, self.attempt(statement, params, limits, &mut take, &mut sent)).await {
            Ok(Err(Halt::Sql(error))) if is_stale(&error) && !self.transaction => {
                // Nothing has happened: the plan was refused before it ran.
                self.forget().await?;
                timeout(limit + GRACE, self.attempt(statement, params, limits, &mut take, &mut sent)).await
            }
            first => first,
        };
        match ended {
            Ok(Ok(done)) => {
                self.busy = false;
                Ok(done)
            }
            Ok(Err(Halt::Refused(error))) => {
                self.busy = !matches!(timeout(DRAIN_TIMEOUT, sqlx::Connection::ping(&mut self.raw)).await, Ok(Ok(())));
                Err(error)
            }
            Ok(Err(Halt::Sql(error))) => {
                let unknown = sent && !self.transaction && statement.verb() != Verb::Read && matches!(error, sqlx::Error::Io(_));
                let error = self.failed(operation, error);
                Err(if unknown { error.into_unknown() } else { error })
            }
            Err(_) => Err(Error::new(ErrorKind::Timeout, operation, "the statement took too long")),
        }
    }

    async fn attempt(
        &mut self,
        statement: &Statement,
        params: &[Value],
        limits: &QueryLimits,
        take: &mut impl FnMut(PgRow, &Prepared) -> Result<()>,
        sent: &mut bool,
    ) -> Result<(Execution, Arc<Prepared>), Halt> {
        self.limit_time(limits).await.map_err(Halt::Sql)?;
        let prepared = self.prepared(statement).await.map_err(Halt::Sql)?;
        let arguments = encode::bind(params, &prepared.targets).map_err(Halt::Refused)?;
        *sent = true;
        let mut stream = self.raw.fetch_many(sqlx::query_with::<Postgres, _>(guest_sql(statement), arguments));
        let mut done = Execution::default();
        while let Some(step) = stream.try_next().await.map_err(Halt::Sql)? {
            match step {
                Either::Left(end) => done.rows_affected = end.rows_affected(),
                Either::Right(row) => take(row, &prepared).map_err(Halt::Refused)?,
            }
        }
        Ok((done, prepared))
    }

    /// Makes the server end what takes longer.
    async fn limit_time(&mut self, limits: &QueryLimits) -> sqlx::Result<()> {
        const SQL: &str = "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false)";
        let Some(next) = self.timeouts.next(limits.statement_timeout_ms) else { return Ok(()) };
        self.timeouts.statement = None;
        self.timeouts.changed |= self.transaction;
        sqlx::query(SQL).bind(next.to_string()).bind(lock_timeout(next).to_string()).execute(&mut self.raw).await?;
        self.timeouts.statement = Some(next);
        Ok(())
    }

    async fn prepared(&mut self, statement: &Statement) -> sqlx::Result<Arc<Prepared>> {
        if let Some(known) = self.prepared.get(statement.text()) {
            return Ok(Arc::clone(known));
        }
        let described = (&mut self.raw).prepare(guest_sql(statement)).await?;
        let sources: Vec<Source> = described.columns().iter().map(|column| Source::new(column.type_info())).collect();
        let named = described.columns().iter().zip(&sources);
        let columns = named.map(|(column, source)| Column { name: column.name().to_owned(), type_name: source.name().to_owned() });
        let targets = match described.parameters() {
            Some(Either::Left(types)) => types.iter().cloned().map(Target::new).collect(),
            Some(Either::Right(_)) | None => Vec::new(),
        };
        let prepared = Arc::new(Prepared { targets, columns: columns.collect(), sources });
        if self.prepared.len() >= STATEMENTS_MAX {
            self.prepared.clear();
        }
        self.prepared.insert(Arc::clone(statement.text()), Arc::clone(&prepared));
        Ok(prepared)
    }

    /// What the statement answers, without running it.
    pub(super) async fn describe(&mut self, statement: &Statement, limits: &QueryLimits) -> Result<Arc<Prepared>> {
        self.busy = true;
        match timeout(statement_timeout(limits) + GRACE, self.prepared(statement)).await {
            Ok(Ok(prepared)) => {
                self.busy = false;
                Ok(prepared)
            }
            Ok(Err(error)) => Err(self.failed("database.prepare", error)),
            Err(_) => Err(silent("database.prepare")),
        }
    }

    /// Takes the next rows of the connection's cursor, at most `count`; answers how many there were.
    pub(super) async fn fetch(&mut self, count: usize, limits: &QueryLimits, mut take: impl FnMut(PgRow) -> Result<()>) -> Result<usize> {
        self.busy = true;
        let work = async {
            self.limit_time(limits).await.map_err(Halt::Sql)?;
            // The number is ours. Not remembered: each cursor has columns of its own.
            let sql = AssertSqlSafe(format!("FETCH FORWARD {count} FROM _plinth_cursor"));
            let mut rows = sqlx::query_with::<Postgres, _>(sql, PgArguments::default()).persistent(false).fetch(&mut self.raw);
            let mut taken = 0;
            while let Some(row) = rows.try_next().await.map_err(Halt::Sql)? {
                take(row).map_err(Halt::Refused)?;
                taken += 1;
            }
            Ok(taken)
        };
        match timeout(statement_timeout(limits) + GRACE, work).await {
            Ok(Ok(taken)) => {
                self.busy = false;
                Ok(taken)
            }
            Ok(Err(Halt::Refused(error))) => Err(error),
            Ok(Err(Halt::Sql(error))) => Err(self.failed("cursor.next", error)),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "cursor.next", "the statement took too long")),
        }
    }

    /// Notes what an error leaves of the connection.
    fn failed(&mut self, operation: &'static str, error: sqlx::Error) -> Error {
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

/// The one place where text of a guest becomes SQL: only what passed the gate.
fn guest_sql(statement: &Statement) -> SqlStr {
    AssertSqlSafe(Arc::clone(statement.text())).into_sql_str()
}

pub(super) fn statement_timeout(limits: &QueryLimits) -> Duration {
    Duration::from_millis(u64::from(limits.statement_timeout_ms.max(1)))
}

/// A remembered plan answers other columns than before, because a table was changed.
fn is_stale(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>());
    error.is_some_and(|e| e.code() == "0A000" && e.routine() == Some("RevalidateCachedQuery"))
}

fn silent(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the database does not answer")
}

trait IntoUnknown {
    fn into_unknown(self) -> Self;
}

impl IntoUnknown for Error {
    fn into_unknown(self) -> Self {
        Error::new(ErrorKind::OutcomeUnknown, self.operation(), "the connection was lost before the answer came").with_source(self)
    }
}

/// Why a statement did not run to its end.
enum Halt {
    Sql(sqlx::Error),
    /// By us: a parameter does not fit, or a row was not taken.
    Refused(Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_set_seldom_and_never_too_long() {
        let mut timeouts = Timeouts { statement: Some(2_000), changed: false };
        let mut sets = 0;
        for want in (0..=2_000).rev().chain([2_000, 5, 2_000]) {
            if let Some(next) = timeouts.next(want) {
                timeouts.statement = Some(next);
                sets += 1;
            }
            let set = timeouts.statement.unwrap();
            assert!(set <= want.max(1) && set * 5 >= want * 4, "{set} for {want}");
        }
        assert!(sets < 60, "{sets}");
        assert!((1..100).all(|ms| lock_timeout(ms) <= ms && lock_timeout(ms) > 0));
    }
}
