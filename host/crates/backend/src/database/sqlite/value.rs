//! Values on their way into SQLite and back.
//!
//! SQLite keeps integers, reals, texts and blobs. What it has no type for is
//! kept as the text it came as, arrays as JSON for `json_each`; a boolean comes
//! back as one from a column declared `boolean`.

use super::super::limit_exceeded;
use plinth_capability::{
    Error, ErrorKind, Result,
    database::{Column, QueryLimits, Row, Value},
};
use sqlx::{Arguments, Decode, Row as _, Sqlite, TypeInfo, ValueRef, sqlite::SqliteArguments, sqlite::SqliteRow, sqlite::SqliteValueRef};

pub(super) fn bind(params: Vec<Value>) -> Result<SqliteArguments> {
    let mut arguments = SqliteArguments::default();
    for value in params {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Boolean(b) => arguments.add(i64::from(b)),
            Value::Integer(i) => arguments.add(i),
            // SQLite would store null.
            Value::Real(r) if r.is_nan() => return Err(invalid("a real that is not a number cannot be stored")),
            Value::Real(r) => arguments.add(r),
            Value::Blob(bytes) => arguments.add(bytes),
            Value::IntegerArray(list) => arguments.add(json(&list)?),
            Value::TextArray(list) => arguments.add(json(&list)?),
            Value::Text(text) | Value::Decimal(text) | Value::Date(text) | Value::Time(text) | Value::Timestamp(text) => {
                arguments.add(text)
            }
            Value::LocalTimestamp(text) | Value::Uuid(text) | Value::Json(text) | Value::Other { text, .. } => arguments.add(text),
        };
        added.map_err(|e| invalid("a value cannot be given to the database").with_source(e))?;
    }
    Ok(arguments)
}

fn json<T: serde::Serialize>(list: &[T]) -> Result<String> {
    serde_json::to_string(list).map_err(|e| invalid("an array cannot be written as JSON").with_source(e))
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "database.bind", why)
}

/// Takes rows as long as they are within the limits of one answer.
#[derive(Debug)]
pub(super) struct Reader {
    booleans: Vec<bool>,
    max_rows: usize,
    max_bytes: usize,
    rows: usize,
    bytes: usize,
}

impl Reader {
    pub(super) fn new(columns: &[Column], limits: &QueryLimits) -> Self {
        let is_boolean = |c: &Column| c.type_name.eq_ignore_ascii_case("boolean") || c.type_name.eq_ignore_ascii_case("bool");
        Self {
            booleans: columns.iter().map(is_boolean).collect(),
            max_rows: limits.max_rows as usize,
            max_bytes: limits.max_bytes as usize,
            rows: 0,
            bytes: 0,
        }
    }

    /// Counts anew: the next row begins another answer.
    pub(super) fn restart(&mut self) {
        (self.rows, self.bytes) = (0, 0);
    }

    pub(super) fn read(&mut self, row: &SqliteRow) -> Result<Row> {
        self.rows += 1;
        if self.rows > self.max_rows {
            return Err(limit_exceeded(format!("the answer has more than {} rows", self.max_rows)));
        }
        if row.len() != self.booleans.len() {
            // A cached statement was prepared again under us.
            return Err(Error::new(ErrorKind::Conflict, "database.query", "the schema changed"));
        }
        let mut values = Row::with_capacity(row.len());
        for (index, boolean) in self.booleans.iter().enumerate() {
            let raw = row.try_get_raw(index).map_err(|e| crate::sqlite::map_error("database.query", e))?;
            let value = decode(raw, *boolean)?;
            self.bytes += value.weight();
            if self.bytes > self.max_bytes {
                return Err(limit_exceeded(format!("the answer has more than {} bytes", self.max_bytes)));
            }
            values.push(value);
        }
        Ok(values)
    }
}

fn decode(raw: SqliteValueRef<'_>, boolean: bool) -> Result<Value> {
    let kind = raw.type_info().into_owned();
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let value = match kind.name() {
        "INTEGER" => <i64 as Decode<'_, Sqlite>>::decode(raw).map(|i| match (boolean, i) {
            (true, 0 | 1) => Value::Boolean(i == 1),
            _ => Value::Integer(i),
        }),
        "REAL" => <f64 as Decode<'_, Sqlite>>::decode(raw).map(Value::Real),
        // A text that a statement made of other bytes comes back as those.
        "TEXT" => <Vec<u8> as Decode<'_, Sqlite>>::decode(raw)
            .map(|bytes| String::from_utf8(bytes).map_or_else(|e| Value::Blob(e.into_bytes()), Value::Text)),
        _ => <Vec<u8> as Decode<'_, Sqlite>>::decode(raw).map(Value::Blob),
    };
    value.map_err(|e| Error::new(ErrorKind::Failed, "database.query", "a stored value cannot be read").with_source(e))
}
