//! Glue for `plinth:database`: databases, transactions and cursors as resources of one call.

use super::{no_extensions, wit_error};
use crate::{
    bindings::plinth::database::{
        sql,
        sql_types::{self, Column as WitColumn, ConstraintFailure, ConstraintKind as WitKind, Execution as WitExecution},
        sql_types::{
            Isolation as WitIsolation, Page as WitPage, RowSet as WitRows, SqlFailure, TransactionOptions as WitOptions, Value as WitValue,
        },
    },
    choke::Operation,
    manifest::GrantedAccess,
    state::CallState,
};
use plinth_capability::{
    ConstraintKind, Error, Result,
    database::{
        Access, Column, Cursor, Database, Dialect, Execution, Isolation, QueryLimits, RowSet, Transaction, TransactionOptions, Value,
    },
};
use std::{sync::Arc, time::Duration};
use wasmtime::component::Resource;

#[derive(Clone)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OpenDatabase {
    database: Arc<dyn Database>,
}

/// Dropped with the call at the latest: rolled back.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OpenTransaction(pub(super) Box<dyn Transaction>);

#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OpenCursor(Box<dyn Cursor>);

type Answer<T> = wasmtime::Result<std::result::Result<T, sql_types::Error>>;

const OPEN: Operation = Operation::new("database", "open");
const QUERY: Operation = Operation::new("database", "query");
const PAGE: Operation = Operation::new("database", "page");
const EXECUTE: Operation = Operation::new("database", "execute");
const BEGIN: Operation = Operation::new("database", "begin");
const SAVEPOINT: Operation = Operation::new("database", "savepoint");
const COMMIT: Operation = Operation::new("database", "commit");
const ROLLBACK: Operation = Operation::new("database", "rollback");

/// How much later than the call's deadline the database gives up by itself.
const PAST_DEADLINE: Duration = Duration::from_millis(100);

pub(super) fn wit(error: Error) -> sql_types::Error {
    wit_error!(crate::bindings::plinth::database::sql_types, error;
        Kind::NotFound => |e: &Error| types::Error::NoSuchDatabase(e.message().to_owned()),
        Kind::InvalidStatement => |e: &Error| types::Error::InvalidStatement(failure(e)),
        Kind::Constraint(kind) => |e: &Error| types::Error::ConstraintViolation(constraint(kind, e)),
        Kind::Conflict => |e: &Error| types::Error::Conflict(failure(e)),
        Kind::Closed => |_: &Error| types::Error::TransactionClosed,
        Kind::OutcomeUnknown => |e: &Error| types::Error::OutcomeUnknown(e.message().to_owned()),
        Kind::Failed => |e: &Error| types::Error::Failed(failure(e)),
    )
}

fn failure(error: &Error) -> SqlFailure {
    let sql = error.sql();
    SqlFailure {
        sqlstate: sql.and_then(|s| s.sqlstate.clone()),
        message: error.message().to_owned(),
        detail: sql.and_then(|s| s.detail.clone()),
    }
}

fn constraint(kind: ConstraintKind, error: &Error) -> ConstraintFailure {
    let sql = error.sql().cloned().unwrap_or_default();
    let kind = match kind {
        ConstraintKind::Unique => WitKind::Unique,
        ConstraintKind::ForeignKey => WitKind::ForeignKey,
        ConstraintKind::NotNull => WitKind::NotNull,
        ConstraintKind::Check => WitKind::Check,
        ConstraintKind::Other => WitKind::Other(error.message().to_owned()),
    };
    ConstraintFailure { kind, constraint: sql.constraint, table: sql.table, column: sql.column, message: error.message().to_owned() }
}

fn value_in(value: WitValue) -> Value {
    match value {
        WitValue::Null => Value::Null,
        WitValue::Boolean(v) => Value::Boolean(v),
        WitValue::Integer(v) => Value::Integer(v),
        WitValue::Real(v) => Value::Real(v),
        WitValue::Text(v) => Value::Text(v),
        WitValue::Blob(v) => Value::Blob(v),
        WitValue::Decimal(v) => Value::Decimal(v),
        WitValue::Date(v) => Value::Date(v),
        WitValue::Time(v) => Value::Time(v),
        WitValue::Timestamp(v) => Value::Timestamp(v),
        WitValue::LocalTimestamp(v) => Value::LocalTimestamp(v),
        WitValue::Uuid(v) => Value::Uuid(v),
        WitValue::Json(v) => Value::Json(v),
        WitValue::IntegerArray(v) => Value::IntegerArray(v),
        WitValue::TextArray(v) => Value::TextArray(v),
        WitValue::Other(v) => Value::Other { type_name: v.type_name, text: v.text },
    }
}

fn value_out(value: Value) -> WitValue {
    match value {
        Value::Null => WitValue::Null,
        Value::Boolean(v) => WitValue::Boolean(v),
        Value::Integer(v) => WitValue::Integer(v),
        Value::Real(v) => WitValue::Real(v),
        Value::Text(v) => WitValue::Text(v),
        Value::Blob(v) => WitValue::Blob(v),
        Value::Decimal(v) => WitValue::Decimal(v),
        Value::Date(v) => WitValue::Date(v),
        Value::Time(v) => WitValue::Time(v),
        Value::Timestamp(v) => WitValue::Timestamp(v),
        Value::LocalTimestamp(v) => WitValue::LocalTimestamp(v),
        Value::Uuid(v) => WitValue::Uuid(v),
        Value::Json(v) => WitValue::Json(v),
        Value::IntegerArray(v) => WitValue::IntegerArray(v),
        Value::TextArray(v) => WitValue::TextArray(v),
        Value::Other { type_name, text } => WitValue::Other(sql_types::TypedText { type_name, text }),
    }
}

fn values_in(values: Vec<WitValue>) -> Vec<Value> {
    values.into_iter().map(value_in).collect()
}

fn rows_out(rows: Vec<Vec<Value>>) -> Vec<Vec<WitValue>> {
    rows.into_iter().map(|row| row.into_iter().map(value_out).collect()).collect()
}

fn columns_out(columns: &[Column]) -> Vec<WitColumn> {
    columns.iter().map(|c| WitColumn { name: c.name.clone(), type_name: c.type_name.clone() }).collect()
}

fn row_set_out(set: RowSet) -> WitRows {
    WitRows { columns: columns_out(&set.columns), rows: rows_out(set.rows) }
}

fn execution_out(done: Execution) -> WitExecution {
    WitExecution { rows_affected: done.rows_affected, last_insert_id: done.last_insert_id, attributes: Vec::new() }
}

fn options_in(options: Option<WitOptions>) -> Result<TransactionOptions> {
    let Some(options) = options else { return Ok(TransactionOptions::default()) };
    no_extensions("database.begin", &options.extensions)?;
    Ok(TransactionOptions {
        isolation: match options.isolation {
            WitIsolation::BackendDefault => Isolation::BackendDefault,
            WitIsolation::ReadCommitted => Isolation::ReadCommitted,
            WitIsolation::RepeatableRead => Isolation::RepeatableRead,
            WitIsolation::Serializable => Isolation::Serializable,
        },
        read_only: options.read_only,
        timeout: options.timeout_ms.map(|ms| Duration::from_millis(ms.into())),
    })
}

impl CallState {
    fn opened(&self, database: &Resource<OpenDatabase>) -> wasmtime::Result<OpenDatabase> {
        Ok(self.table.get(database)?.clone())
    }

    /// What is left of this call, and a little more: it is the call's deadline
    /// that ends a call, and not an error that the plugin answers just before.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(tokio::time::Instant::now()) + PAST_DEADLINE
    }

    /// The host's limits, shortened to what is left of this call.
    fn query_limits(&self) -> QueryLimits {
        let limits = QueryLimits::default();
        let left = u32::try_from(self.left().as_millis()).unwrap_or(u32::MAX);
        QueryLimits { statement_timeout_ms: limits.statement_timeout_ms.min(left), ..limits }
    }

    fn keep_cursor(&mut self, cursor: Result<Box<dyn Cursor>>) -> std::result::Result<Resource<OpenCursor>, sql_types::Error> {
        cursor.and_then(|cursor| self.keep("database.query", OpenCursor(cursor))).map_err(wit)
    }
}

impl sql_types::Host for CallState {}
impl sql::Host for CallState {}

impl sql::HostDatabase for CallState {
    async fn open(&mut self, name: String) -> Answer<Resource<OpenDatabase>> {
        let granted = self.version.grants.database(&name).cloned();
        let databases = self.capabilities.databases.clone();
        let work = async move {
            let (name, access) = granted?;
            let access = match access {
                GrantedAccess::ReadOnly => Access::ReadOnly,
                GrantedAccess::ReadWrite => Access::ReadWrite,
            };
            databases.open(&name, access).await
        };
        let opened = self.choke(OPEN, work).await?;
        Ok(opened.and_then(|database| self.keep("database.open", OpenDatabase { database })).map_err(wit))
    }

    fn dialect(&mut self, database: Resource<OpenDatabase>) -> wasmtime::Result<sql_types::Dialect> {
        Ok(match self.opened(&database)?.database.dialect() {
            Dialect::Postgres => sql_types::Dialect::Postgres,
            Dialect::Sqlite => sql_types::Dialect::Sqlite,
        })
    }

    async fn query(&mut self, database: Resource<OpenDatabase>, statement: String, params: Vec<WitValue>) -> Answer<WitRows> {
        let (open, limits) = (self.opened(&database)?, self.query_limits());
        let work = async move { open.database.query(&statement, values_in(params), limits).await };
        Ok(self.choke(QUERY, work).await?.map(row_set_out).map_err(wit))
    }

    async fn query_paged(
        &mut self,
        database: Resource<OpenDatabase>,
        statement: String,
        params: Vec<WitValue>,
        page_size: u32,
    ) -> Answer<Resource<OpenCursor>> {
        let (open, limits) = (self.opened(&database)?, self.query_limits());
        let work = async move { open.database.query_paged(&statement, values_in(params), page_size, limits).await };
        let cursor = self.choke(QUERY, work).await?;
        Ok(self.keep_cursor(cursor))
    }

    async fn execute(&mut self, database: Resource<OpenDatabase>, statement: String, params: Vec<WitValue>) -> Answer<WitExecution> {
        let (open, limits) = (self.opened(&database)?, self.query_limits());
        let work = async move { open.database.execute(&statement, values_in(params), limits).await };
        Ok(self.choke(EXECUTE, work).await?.map(execution_out).map_err(wit))
    }

    async fn execute_many(
        &mut self,
        database: Resource<OpenDatabase>,
        statement: String,
        params: Vec<Vec<WitValue>>,
    ) -> Answer<WitExecution> {
        let (open, limits) = (self.opened(&database)?, self.query_limits());
        let params = params.into_iter().map(values_in).collect();
        let work = async move { open.database.execute_many(&statement, params, limits).await };
        Ok(self.choke(EXECUTE, work).await?.map(execution_out).map_err(wit))
    }

    async fn begin(&mut self, database: Resource<OpenDatabase>, options: Option<WitOptions>) -> Answer<Resource<OpenTransaction>> {
        let (open, limits) = (self.opened(&database)?, self.query_limits());
        let left = self.left();
        let work = async move {
            let mut options = options_in(options)?;
            options.timeout = Some(options.timeout.map_or(left, |timeout| timeout.min(left)));
            open.database.begin(options, limits).await
        };
        let begun = self.choke(BEGIN, work).await?;
        Ok(begun.and_then(|tx| self.keep("database.begin", OpenTransaction(tx))).map_err(wit))
    }

    async fn drop(&mut self, database: Resource<OpenDatabase>) -> wasmtime::Result<()> {
        self.table.delete(database)?;
        Ok(())
    }
}

impl sql::HostTransaction for CallState {
    async fn query(&mut self, tx: Resource<OpenTransaction>, statement: String, params: Vec<WitValue>) -> Answer<WitRows> {
        let params = values_in(params);
        let answer = self.choke_on(QUERY, &tx, async |tx| tx.0.query(&statement, params).await).await?;
        Ok(answer.map(row_set_out).map_err(wit))
    }

    async fn query_paged(
        &mut self,
        tx: Resource<OpenTransaction>,
        statement: String,
        params: Vec<WitValue>,
        page_size: u32,
    ) -> Answer<Resource<OpenCursor>> {
        let params = values_in(params);
        let cursor = self.choke_on(QUERY, &tx, async |tx| tx.0.query_paged(&statement, params, page_size).await).await?;
        Ok(self.keep_cursor(cursor))
    }

    async fn execute(&mut self, tx: Resource<OpenTransaction>, statement: String, params: Vec<WitValue>) -> Answer<WitExecution> {
        let params = values_in(params);
        let answer = self.choke_on(EXECUTE, &tx, async |tx| tx.0.execute(&statement, params).await).await?;
        Ok(answer.map(execution_out).map_err(wit))
    }

    async fn execute_many(&mut self, tx: Resource<OpenTransaction>, statement: String, params: Vec<Vec<WitValue>>) -> Answer<WitExecution> {
        let params = params.into_iter().map(values_in).collect();
        let answer = self.choke_on(EXECUTE, &tx, async |tx| tx.0.execute_many(&statement, params).await).await?;
        Ok(answer.map(execution_out).map_err(wit))
    }

    async fn savepoint(&mut self, tx: Resource<OpenTransaction>, name: String) -> Answer<()> {
        Ok(self.choke_on(SAVEPOINT, &tx, async |tx| tx.0.savepoint(&name).await).await?.map_err(wit))
    }

    async fn rollback_to(&mut self, tx: Resource<OpenTransaction>, name: String) -> Answer<()> {
        Ok(self.choke_on(SAVEPOINT, &tx, async |tx| tx.0.rollback_to(&name).await).await?.map_err(wit))
    }

    async fn commit(&mut self, tx: Resource<OpenTransaction>) -> Answer<()> {
        Ok(self.choke_on(COMMIT, &tx, async |tx| tx.0.commit().await).await?.map_err(wit))
    }

    async fn rollback(&mut self, tx: Resource<OpenTransaction>) -> Answer<()> {
        Ok(self.choke_on(ROLLBACK, &tx, async |tx| tx.0.rollback().await).await?.map_err(wit))
    }

    async fn drop(&mut self, tx: Resource<OpenTransaction>) -> wasmtime::Result<()> {
        self.table.delete(tx)?;
        Ok(())
    }
}

impl sql::HostCursor for CallState {
    fn columns(&mut self, cursor: Resource<OpenCursor>) -> wasmtime::Result<Vec<WitColumn>> {
        Ok(columns_out(self.table.get(&cursor)?.0.columns()))
    }

    async fn next(&mut self, cursor: Resource<OpenCursor>) -> Answer<WitPage> {
        let answer = self.choke_on(PAGE, &cursor, async |cursor| cursor.0.next().await).await?;
        Ok(answer.map(|page| WitPage { rows: rows_out(page.rows), done: page.done }).map_err(wit))
    }

    async fn drop(&mut self, cursor: Resource<OpenCursor>) -> wasmtime::Result<()> {
        self.table.delete(cursor)?;
        Ok(())
    }
}
