//! SQL with numbered parameters (`$1`, `$2`, ...) and transactions. Nothing a
//! plugin opened outlives its call.

use crate::bindings::plinth::database::sql;
pub use crate::bindings::plinth::database::sql_types::{
    Column, ConstraintFailure, ConstraintKind, Dialect, Error, Execution, Failure, Isolation, Page, SqlFailure, TransactionOptions,
    TypedText, Value,
};
pub use sql::Cursor;

/// The result of a database call.
pub type Result<T> = std::result::Result<T, Error>;

/// An open database.
#[derive(Debug)]
pub struct Database(sql::Database);

impl Database {
    /// Opens a granted database by its logical name.
    pub fn open(name: &str) -> Result<Self> {
        sql::Database::open(name).map(Self)
    }

    /// Which SQL this database speaks.
    pub fn dialect(&self) -> Dialect {
        self.0.dialect()
    }

    /// All rows; more than the host's limit is an error, never a silent cut.
    pub fn query(&self, statement: &str, params: &[Value]) -> Result<Rows> {
        self.0.query(statement, params).map(Rows::from)
    }

    /// Rows in pages, for answers of any size.
    pub fn query_paged(&self, statement: &str, params: &[Value], page_size: u32) -> Result<Cursor> {
        self.0.query_paged(statement, params, page_size)
    }

    /// One change.
    pub fn execute(&self, statement: &str, params: &[Value]) -> Result<Execution> {
        self.0.execute(statement, params)
    }

    /// The same change once per parameter list, all or none.
    pub fn execute_many(&self, statement: &str, params: &[Vec<Value>]) -> Result<Execution> {
        self.0.execute_many(statement, params)
    }

    /// Begins a transaction with the backend's own isolation.
    pub fn begin(&self) -> Result<Transaction> {
        self.0.begin(None).map(Transaction)
    }

    /// Begins a transaction with chosen options.
    pub fn begin_with(&self, options: &TransactionOptions) -> Result<Transaction> {
        self.0.begin(Some(options)).map(Transaction)
    }
}

/// A unit of work. Dropped without [`commit`](Self::commit): rolled back.
#[derive(Debug)]
pub struct Transaction(sql::Transaction);

impl Transaction {
    pub(crate) fn raw(&self) -> &sql::Transaction {
        &self.0
    }

    /// All rows, seeing what this transaction did.
    pub fn query(&self, statement: &str, params: &[Value]) -> Result<Rows> {
        self.0.query(statement, params).map(Rows::from)
    }

    /// Rows in pages.
    pub fn query_paged(&self, statement: &str, params: &[Value], page_size: u32) -> Result<Cursor> {
        self.0.query_paged(statement, params, page_size)
    }

    /// One change.
    pub fn execute(&self, statement: &str, params: &[Value]) -> Result<Execution> {
        self.0.execute(statement, params)
    }

    /// The same change once per parameter list.
    pub fn execute_many(&self, statement: &str, params: &[Vec<Value>]) -> Result<Execution> {
        self.0.execute_many(statement, params)
    }

    /// Sets a point to return to.
    pub fn savepoint(&self, name: &str) -> Result<()> {
        self.0.savepoint(name)
    }

    /// Undoes what came after the savepoint.
    pub fn rollback_to(&self, name: &str) -> Result<()> {
        self.0.rollback_to(name)
    }

    /// Makes everything visible at once, outbox included.
    pub fn commit(self) -> Result<()> {
        self.0.commit()
    }

    /// Undoes everything.
    pub fn rollback(self) -> Result<()> {
        self.0.rollback()
    }
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self { isolation: Isolation::BackendDefault, read_only: false, timeout_ms: None, extensions: Vec::new() }
    }
}

/// The answer of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Names and backend types, in the order of the values.
    pub columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
}

impl From<sql::RowSet> for Rows {
    fn from(set: sql::RowSet) -> Self {
        Self { columns: set.columns, rows: set.rows }
    }
}

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The first row, if any.
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }
}

/// One row, read by column name.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [Column],
    values: &'a [Value],
}

impl<'a> Row<'a> {
    /// The value of a column.
    pub fn value(&self, column: &str) -> Result<&'a Value> {
        let mut pairs = self.columns.iter().zip(self.values);
        let found = pairs.find(|(c, _)| c.name == column).map(|(_, value)| value);
        found.ok_or_else(|| Error::InvalidArgument(format!("the answer has no column {column}")))
    }

    /// A text; also any value that travels as text.
    pub fn text(&self, column: &str) -> Result<&'a str> {
        match self.value(column)? {
            Value::Text(text) | Value::Decimal(text) | Value::Uuid(text) | Value::Json(text) => Ok(text),
            Value::Date(text) | Value::Time(text) | Value::Timestamp(text) | Value::LocalTimestamp(text) => Ok(text),
            _ => Err(mismatch(column, "text")),
        }
    }

    /// A whole number.
    pub fn integer(&self, column: &str) -> Result<i64> {
        match self.value(column)? {
            Value::Integer(number) => Ok(*number),
            _ => Err(mismatch(column, "an integer")),
        }
    }

    /// Bytes.
    pub fn blob(&self, column: &str) -> Result<&'a [u8]> {
        match self.value(column)? {
            Value::Blob(bytes) => Ok(bytes),
            _ => Err(mismatch(column, "bytes")),
        }
    }
}

/// Without the value found: it may be personal data, and errors are logged.
fn mismatch(column: &str, wanted: &str) -> Error {
    Error::InvalidArgument(format!("column {column} is not {wanted}"))
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
