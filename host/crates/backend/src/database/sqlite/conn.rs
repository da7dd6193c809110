//! One connection: guarded statements with a deadline, and the knowledge
//! whether it is fit for the next caller.

use super::{
    control::Control,
    gate::{Statement, Verb},
    guard, outbox,
    value::{self, Reader},
};
use crate::sqlite::{gentle, map_error};
use futures::TryStreamExt;
use plinth_capability::{
    Error, ErrorKind, Result,
    database::{Column, Execution, QueryLimits, RowSet, Value},
};
use sqlx::{
    AssertSqlSafe, Column as _, ColumnOrigin, Either, Executor, SqlSafeStr, SqlStr, Sqlite, SqliteConnection, Statement as _,
    sqlite::{SqliteArguments, SqliteColumn, SqliteConnectOptions, SqliteRow},
};
use std::{collections::HashMap, ffi::CString, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedRwLockWriteGuard, RwLock},
    time::timeout,
};

/// Statements whose plan and columns a connection remembers.
pub(super) const STATEMENTS_MAX: usize = 64;
/// How much longer than its deadline a statement is waited for: SQLite looks at
/// the deadline between steps, and one step can be slow.
const GRACE: Duration = Duration::from_millis(250);

/// How long a change of the schema waits for statements that run.
const SCHEMA_WAIT: Duration = Duration::from_secs(5);

/// Counts changes of the schema. Held for reading from the check of a plan
/// until its first step, for writing while a change becomes visible: SQLx keeps
/// the number of columns of a prepared statement and its thread panics when
/// SQLite, told by the file that the schema changed, quietly finds more.
pub(super) type Schema = Arc<RwLock<u64>>;

/// Reads the schema and nothing else.
const LOOK: &str = "SELECT 1 FROM sqlite_schema LIMIT 1";

pub(super) struct Conn {
    pub(super) raw: SqliteConnection,
    pub(super) control: Arc<Control>,
    columns: HashMap<Arc<str>, Arc<[Column]>>,
    schema: Schema,
    /// The count at which this connection last forgot its plans.
    seen: u64,
    /// A command was sent whose end was not seen.
    pub(super) busy: bool,
    /// A transaction was begun here and not ended.
    transaction: bool,
    /// The schema was changed and nobody was told yet.
    reshaped: bool,
}

impl Conn {
    pub(super) async fn open(options: &SqliteConnectOptions, value_bytes: u32, schema: Schema, seen: u64) -> Result<Self> {
        let opened = async {
            let mut raw = gentle::connect(options).await?;
            let control = Arc::new(Control::new());
            guard::harden(&mut raw, &control, value_bytes).await?;
            Ok((raw, control))
        };
        let (raw, control) = opened.await.map_err(|e| map_error("database.open", e))?;
        Ok(Self { raw, control, columns: HashMap::new(), schema, seen, busy: false, transaction: false, reshaped: false })
    }

    pub(super) fn is_clean(&self) -> bool {
        !self.busy && !self.transaction
    }

    /// Stops what runs, ends what is open. After an error the connection is to be closed.
    pub(super) async fn reset(&mut self) -> sqlx::Result<()> {
        self.control.cancel();
        // Answered once the statement before it has ended.
        sqlx::Connection::ping(&mut self.raw).await?;
        self.control.rest();
        if guard::in_transaction(&mut self.raw).await? {
            self.raw.execute("ROLLBACK").await?;
        }
        if std::mem::take(&mut self.reshaped) {
            // Undone or not: all plan anew, this connection too.
            *self.schema.write().await += 1;
        }
        (self.busy, self.transaction) = (false, false);
        Ok(())
    }

    /// Plans anew if the schema changed; `now` is the count of the schema.
    pub(super) async fn refresh(&mut self, now: u64) -> Result<()> {
        if self.seen != now {
            self.forget().await?;
            // Makes SQLite itself look at the schema in the file.
            self.step("database.refresh", LOOK).await?;
            self.seen = now;
        }
        Ok(())
    }

    async fn forget(&mut self) -> Result<()> {
        self.columns.clear();
        sqlx::Connection::clear_cached_statements(&mut self.raw).await.map_err(|e| map_error("database.refresh", e))
    }

    /// Back to a savepoint, and to the schema of that time.
    pub(super) async fn rolled_back_to_savepoint(&mut self) -> Result<()> {
        if self.reshaped { self.forget().await } else { Ok(()) }
    }

    /// Waits until no statement is between its plan and its first step, and
    /// makes all plan anew that come later.
    async fn announce(&mut self) -> Result<OwnedRwLockWriteGuard<u64>> {
        let busy = |_| Error::new(ErrorKind::Conflict, "database.execute", "the database is busy");
        let mut schema = timeout(SCHEMA_WAIT, Arc::clone(&self.schema).write_owned()).await.map_err(busy)?;
        *schema += 1;
        Ok(schema)
    }

    /// Runs one of the host's own statements.
    pub(super) async fn host(&mut self, operation: &'static str, sql: &'static str, arguments: SqliteArguments) -> Result<Execution> {
        self.busy = true;
        let done = sqlx::query_with::<Sqlite, _>(sql, arguments).execute(&mut self.raw).await;
        let done = done.map_err(|e| self.failed(operation, e))?;
        self.busy = false;
        Ok(Execution { rows_affected: done.rows_affected(), last_insert_id: Some(done.last_insert_rowid()) })
    }

    /// Readers see the state of this moment.
    pub(super) async fn begin_reading(&mut self) -> Result<()> {
        self.begin("BEGIN DEFERRED").await?;
        // SQLite fixes the state at the first look.
        self.step("database.begin", LOOK).await
    }

    pub(super) async fn begin_writing(&mut self) -> Result<()> {
        self.begin("BEGIN IMMEDIATE").await
    }

    async fn begin(&mut self, sql: &'static str) -> Result<()> {
        self.transaction = true;
        let begun = self.step("database.begin", sql).await;
        self.transaction = begun.is_ok();
        begun
    }

    /// One of the host's statements that takes and answers nothing.
    pub(super) async fn step(&mut self, operation: &'static str, sql: &'static str) -> Result<()> {
        self.host(operation, sql, SqliteArguments::default()).await.map(drop)
    }

    pub(super) async fn prepare_outbox(&mut self) -> Result<()> {
        self.raw.execute(outbox::SCHEMA).await.map(drop).map_err(|e| map_error("database.open", e))
    }

    pub(super) async fn rollback(&mut self) -> Result<()> {
        // What was reshaped in secret is forgotten by `reset`.
        self.step("transaction.rollback", "ROLLBACK").await?;
        self.transaction = self.reshaped;
        Ok(())
    }

    /// On an error the transaction may still be open; `reset` ends it.
    pub(super) async fn commit(&mut self) -> Result<()> {
        let announced = if self.reshaped { Some(self.announce().await?) } else { None };
        self.step("database.commit", "COMMIT").await?;
        (self.transaction, self.reshaped) = (false, false);
        drop(announced);
        Ok(())
    }

    /// False if an error ended the transaction behind our back.
    pub(super) async fn transaction_lives(&mut self) -> bool {
        !self.busy && guard::in_transaction(&mut self.raw).await.unwrap_or(false)
    }

    pub(super) async fn query(&mut self, statement: &Statement, params: Vec<Value>, limits: &QueryLimits) -> Result<RowSet> {
        let columns = self.columns(statement, limits).await?;
        let (mut reader, mut rows) = (Reader::new(&columns, limits), Vec::new());
        let take = |row: SqliteRow| {
            rows.push(reader.read(&row)?);
            Ok(())
        };
        self.run("database.query", statement, params, limits, take).await?;
        Ok(RowSet { columns: columns.to_vec(), rows })
    }

    pub(super) async fn execute(&mut self, statement: &Statement, params: Vec<Value>, limits: &QueryLimits) -> Result<Execution> {
        let mut done = self.run("database.execute", statement, params, limits, |_| Ok(())).await?;
        // SQLite answers for the last change before a statement that changes no rows.
        if matches!(statement.verb(), Verb::Read | Verb::Schema) {
            done.rows_affected = 0;
        }
        if statement.verb() != Verb::Insert || done.rows_affected == 0 {
            done.last_insert_id = None;
        }
        Ok(done)
    }

    async fn run(
        &mut self,
        operation: &'static str,
        statement: &Statement,
        params: Vec<Value>,
        limits: &QueryLimits,
        mut take: impl FnMut(SqliteRow) -> Result<()>,
    ) -> Result<Execution> {
        let query = sqlx::query_with::<Sqlite, _>(guest_sql(statement), value::bind(params)?);
        let reshapes = statement.verb() == Verb::Schema;
        // Inside a transaction it becomes visible with the commit.
        let announced = if reshapes && !self.transaction { Some(self.announce().await?) } else { None };
        self.reshaped |= reshapes;
        let limit = statement_timeout(limits);
        self.control.arm(limit);
        self.busy = true;
        let work = async {
            let mut stream = self.raw.fetch_many(query);
            let mut done = Execution::default();
            while let Some(step) = stream.try_next().await.map_err(Halt::Sql)? {
                match step {
                    Either::Left(end) => {
                        done = Execution { rows_affected: end.rows_affected(), last_insert_id: Some(end.last_insert_rowid()) };
                    }
                    Either::Right(row) => take(row).map_err(Halt::Refused)?,
                }
            }
            Ok(done)
        };
        match timeout(limit + GRACE, work).await {
            // Still running: `busy` stays, and who drops the connection cleans up.
            Err(_) => {
                let unknown = statement.verb() != Verb::Read && !self.transaction;
                let kind = if unknown { ErrorKind::OutcomeUnknown } else { ErrorKind::Timeout };
                Err(Error::new(kind, operation, "the statement took too long"))
            }
            Ok(Err(Halt::Sql(error))) => Err(self.failed(operation, error)),
            // We stopped it early: wait until it has.
            Ok(Err(Halt::Refused(error))) => {
                self.control.cancel();
                sqlx::Connection::ping(&mut self.raw).await.map_err(|e| map_error(operation, e))?;
                self.quiet();
                Err(error)
            }
            Ok(Ok(done)) => {
                self.quiet();
                self.reshaped &= self.transaction;
                drop(announced);
                if reshapes {
                    self.forget().await?;
                }
                Ok(done)
            }
        }
    }

    /// A statement that SQLite ended with an error leaves the connection usable,
    /// unless the thread or the file behind it is gone: then it stays unclean.
    fn failed(&mut self, operation: &'static str, error: sqlx::Error) -> Error {
        let error = map_error(operation, error);
        if error.kind() != ErrorKind::Unavailable {
            self.quiet();
            self.reshaped &= self.transaction;
        }
        error
    }

    pub(super) fn quiet(&mut self) {
        self.busy = false;
        self.control.rest();
    }

    /// What the rows of a statement are made of; asked of SQLite once per statement.
    pub(super) async fn columns(&mut self, statement: &Statement, limits: &QueryLimits) -> Result<Arc<[Column]>> {
        if let Some(known) = self.columns.get(statement.text()) {
            return Ok(Arc::clone(known));
        }
        self.control.arm(statement_timeout(limits));
        self.busy = true;
        let described = self.describe(statement).await;
        let columns: Arc<[Column]> = described.map_err(|e| self.failed("database.prepare", e))?.into();
        self.quiet();
        if self.columns.len() >= STATEMENTS_MAX {
            self.columns.clear();
        }
        self.columns.insert(Arc::clone(statement.text()), Arc::clone(&columns));
        Ok(columns)
    }

    async fn describe(&mut self, statement: &Statement) -> sqlx::Result<Vec<Column>> {
        let prepared = (&mut self.raw).prepare(guest_sql(statement)).await?;
        let origins: Vec<_> = prepared.columns().iter().map(origin).collect();
        let types = guard::declared_types(&mut self.raw, &origins).await?;
        let columns = prepared.columns().iter().zip(types);
        Ok(columns
            .map(|(column, declared)| Column {
                name: column.name().to_owned(),
                // SQLite's own word for a column without a type, as all expressions are.
                type_name: declared.filter(|t| !t.is_empty()).unwrap_or_else(|| "ANY".to_owned()),
            })
            .collect())
    }
}

/// The table and column a result comes from; empty names find nothing.
fn origin(column: &SqliteColumn) -> (CString, CString) {
    match column.origin() {
        ColumnOrigin::Table(found) => (CString::new(&*found.table).unwrap_or_default(), CString::new(&*found.name).unwrap_or_default()),
        ColumnOrigin::Expression | ColumnOrigin::Unknown => Default::default(),
    }
}

/// The one place where text of a guest becomes SQL: only what passed the gate.
pub(super) fn guest_sql(statement: &Statement) -> SqlStr {
    AssertSqlSafe(Arc::clone(statement.text())).into_sql_str()
}

pub(super) fn statement_timeout(limits: &QueryLimits) -> Duration {
    Duration::from_millis(u64::from(limits.statement_timeout_ms.max(1)))
}

/// Why a statement did not run to its end.
enum Halt {
    Sql(sqlx::Error),
    /// By us: a row was not taken.
    Refused(Error),
}
