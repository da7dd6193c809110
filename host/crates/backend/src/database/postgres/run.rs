//! A guest's statements on a connection: prepared once, run within their time, stopped where they answer too much.

use super::{
    conn::{Conn, IntoUnknown, silent},
    decode::{Reader, Source},
    encode::{self, Target},
    gate::{Statement, Verb},
    timeouts::lock_timeout,
};
use futures::TryStreamExt;
use plinth_capability::{
    Error, ErrorKind, Result,
    database::{Column, Execution, QueryLimits, RowSet, Value},
};
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor, Postgres, SqlSafeStr, SqlStr, Statement as _,
    postgres::{PgArguments, PgDatabaseError, PgRow},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Statements whose types and columns a connection remembers.
pub(super) const STATEMENTS_MAX: usize = 100;
/// How much longer than its deadline a statement is waited for: the server
/// keeps the deadline, unless it cannot be reached.
const GRACE: Duration = Duration::from_millis(250);
/// How long the rest of an answer that was too large is waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);

/// What the server said about a statement.
#[derive(Debug)]
pub(super) struct Prepared {
    targets: Vec<Target>,
    pub(super) columns: Vec<Column>,
    pub(super) sources: Vec<Source>,
}

impl Conn {
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
        let changes = !self.transaction && statement.verb() != Verb::Read;
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
                let unknown = sent && changes && matches!(error, sqlx::Error::Io(_));
                let error = self.failed(operation, error);
                Err(if unknown { error.into_unknown() } else { error })
            }
            // The server did not even say that the time is up.
            Err(_) if sent && changes => Err(silent(operation).into_unknown()),
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
}

/// The one place where text of a guest becomes SQL: only what passed the gate.
fn guest_sql(statement: &Statement) -> SqlStr {
    AssertSqlSafe(Arc::clone(statement.text())).into_sql_str()
}

pub(super) fn statement_timeout(limits: &QueryLimits) -> Duration {
    Duration::from_millis(u64::from(limits.statement_timeout_ms.max(1)))
}

/// A remembered plan answers other columns than before, because a table was changed.
pub(super) fn is_stale(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>());
    error.is_some_and(|e| e.code() == "0A000" && e.routine() == Some("RevalidateCachedQuery"))
}

/// Why a statement did not run to its end.
enum Halt {
    Sql(sqlx::Error),
    /// By us: a parameter does not fit, or a row was not taken.
    Refused(Error),
}
