//! The database capability: SQL with parameters, cursors, transactions and the outbox.

use crate::{
    Result,
    audit::AuditRecord,
    name::DatabaseName,
    queue::{Destination, Message},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// What one call may use at most. Guest-controlled statements, host-set limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct QueryLimits {
    pub max_rows: u32,
    /// Bytes of all values of one answer.
    pub max_bytes: u32,
    pub statement_timeout_ms: u32,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { max_rows: 1_000, max_bytes: 4 << 20, statement_timeout_ms: 2_000 }
    }
}

/// Guest-controlled: parameter lists of one `execute_many`.
pub const EXECUTE_MANY_MAX: usize = 10_000;
/// Guest-controlled: bytes of one statement.
pub const STATEMENT_MAX: usize = 64 << 10;
/// Guest-controlled: parameters of one statement.
pub const PARAMS_MAX: usize = 1_000;
/// Statements that name a table with this prefix are `Denied`: the host's own.
pub const RESERVED_PREFIX: &str = "_plinth_";

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
    /// Exact decimal number in plain notation.
    Decimal(String),
    /// RFC 3339 `full-date`, `partial-time`, `date-time`; the last without offset.
    Date(String),
    Time(String),
    Timestamp(String),
    LocalTimestamp(String),
    Uuid(String),
    Json(String),
    IntegerArray(Vec<i64>),
    TextArray(Vec<String>),
    Other {
        type_name: String,
        text: String,
    },
}

impl Value {
    /// Bytes this value takes in an answer.
    pub fn weight(&self) -> usize {
        8 + match self {
            Self::Null | Self::Boolean(_) | Self::Integer(_) | Self::Real(_) => 0,
            Self::Blob(bytes) => bytes.len(),
            Self::IntegerArray(list) => list.len() * 8,
            Self::TextArray(list) => list.iter().map(|t| t.len() + 8).sum(),
            Self::Other { type_name, text } => type_name.len() + text.len(),
            Self::Text(t) | Self::Decimal(t) | Self::Date(t) | Self::Time(t) | Self::Timestamp(t) => t.len(),
            Self::LocalTimestamp(t) | Self::Uuid(t) | Self::Json(t) => t.len(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_name: String,
}

pub type Row = Vec<Value>;

#[derive(Debug, Clone, PartialEq)]
pub struct RowSet {
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Execution {
    pub rows_affected: u64,
    pub last_insert_id: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub rows: Vec<Row>,
    pub done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    #[default]
    BackendDefault,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransactionOptions {
    pub isolation: Isolation,
    pub read_only: bool,
    /// Ends the transaction after this time; at most the call's deadline.
    pub timeout: Option<Duration>,
}

/// Opens databases by name. Opening is local and cheap after the first time.
#[async_trait]
pub trait Databases: Send + Sync {
    async fn open(&self, name: &DatabaseName, access: Access) -> Result<Arc<dyn Database>>;
    /// Whether the backend answers; the reason if not.
    async fn health(&self) -> Result<()>;
}

/// # Contract
///
/// - `values_round_trip`: every kind of value comes back as it was bound, or as the text form the backend keeps.
/// - `placeholders_are_numbered`: `$1`, `$2` bind by number, also out of order and repeated.
/// - `one_statement_per_call`: a second statement in the text is `InvalidStatement`, and nothing of the first happens.
/// - `control_statements_are_refused`: begin, commit, savepoint, attach, detach, pragma, vacuum and reserved tables are refused as text, in any spelling and comment.
/// - `syntax_error_is_typed`: bad SQL or an unknown table or column is `InvalidStatement`.
/// - `wrong_parameter_count_is_refused`: too few or too many parameters is `InvalidInput`.
/// - `constraints_are_typed`: unique, foreign key, not null and check violations are `Constraint` of that kind.
/// - `rows_are_capped`: more rows than `max_rows` is `LimitExceeded`, never a silent cut.
/// - `bytes_are_capped`: more bytes than `max_bytes` is `LimitExceeded` before they are held.
/// - `statement_times_out`: a statement over its timeout is `Timeout`, and the connection serves the next call.
/// - `read_only_is_enforced`: a change through `ReadOnly` access, or in a read-only transaction, is `Denied`.
/// - `cursor_pages_through`: a cursor yields every row once in pages of the size asked, then `done`; it sees one state of the database.
/// - `execute_many_is_atomic`: one failing parameter list undoes all of them.
/// - `transaction_commits`: what a transaction did is visible to others after commit and not before; itself sees it at once.
/// - `dropped_transaction_rolls_back`: dropping without commit undoes everything, and the connection is clean for the next.
/// - `savepoint_returns`: `rollback_to` undoes what came after the savepoint and keeps the rest; an unknown name is `InvalidInput`.
/// - `closed_transaction_answers_closed`: any use after commit or rollback is `Closed`.
/// - `transaction_times_out`: a transaction over its timeout is rolled back and answers `Closed` or `Timeout`.
/// - `conflict_is_typed`: losing to a concurrent writer is `Conflict`, not a hang.
/// - `outbox_delivers_after_commit`: messages and records put into a transaction reach queue and audit log after commit.
/// - `outbox_forgets_rolled_back`: none of them after a rollback, a rollback to a savepoint before them, or a drop.
/// - `outbox_survives_a_kill`: those committed are delivered after a restart, once per id.
/// - `databases_are_apart`: a table of one database is unknown in another.
///
/// # Cancel safety
///
/// A dropped `query` or `execute` outside a transaction either happened whole
/// or not at all. A dropped call inside one ends the transaction (rollback).
#[async_trait]
pub trait Database: Send + Sync {
    fn dialect(&self) -> Dialect;
    async fn query(&self, statement: &str, params: Vec<Value>, limits: QueryLimits) -> Result<RowSet>;
    /// The cursor holds a connection until it is dropped.
    async fn query_paged(&self, statement: &str, params: Vec<Value>, page_size: u32, limits: QueryLimits) -> Result<Box<dyn Cursor>>;
    async fn execute(&self, statement: &str, params: Vec<Value>, limits: QueryLimits) -> Result<Execution>;
    async fn execute_many(&self, statement: &str, params: Vec<Vec<Value>>, limits: QueryLimits) -> Result<Execution>;
    async fn begin(&self, options: TransactionOptions, limits: QueryLimits) -> Result<Box<dyn Transaction>>;
}

/// Dropped without `commit`: rolled back.
#[async_trait]
pub trait Transaction: Send + Sync {
    async fn query(&mut self, statement: &str, params: Vec<Value>) -> Result<RowSet>;
    /// Reads the whole answer within the limits first: one connection, one statement at a time.
    async fn query_paged(&mut self, statement: &str, params: Vec<Value>, page_size: u32) -> Result<Box<dyn Cursor>>;
    async fn execute(&mut self, statement: &str, params: Vec<Value>) -> Result<Execution>;
    async fn execute_many(&mut self, statement: &str, params: Vec<Vec<Value>>) -> Result<Execution>;
    async fn savepoint(&mut self, name: &str) -> Result<()>;
    async fn rollback_to(&mut self, name: &str) -> Result<()>;
    /// Sent after commit, at least once, under the message's id.
    async fn outbox_publish(&mut self, destination: &Destination, message: Message) -> Result<()>;
    /// Appended after commit, exactly once, under the record's id.
    async fn outbox_audit(&mut self, record: AuditRecord) -> Result<()>;
    async fn commit(&mut self) -> Result<()>;
    async fn rollback(&mut self) -> Result<()>;
}

#[async_trait]
pub trait Cursor: Send + Sync {
    fn columns(&self) -> &[Column];
    async fn next(&mut self) -> Result<Page>;
}
