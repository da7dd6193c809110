//! Values on their way back: what has a kind of its own, arrays, and the text of the rest.

use super::{super::limit_exceeded, numeric, time};
use plinth_capability::{
    Error, ErrorKind, Result,
    database::{QueryLimits, Row, Value},
};
use sqlx::{
    Row as _, TypeInfo,
    postgres::{PgRow, PgTypeInfo, PgTypeKind},
};

/// How the values of one column are read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    shape: Shape,
    name: String,
}

#[derive(Debug, Clone)]
enum Shape {
    Boolean,
    Integer,
    /// An unsigned number of four bytes.
    Oid,
    Float,
    Text,
    Json,
    JsonB,
    Bytes,
    Numeric,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Interval,
    Void,
    Array(Box<Source>),
    Unknown,
}

impl Source {
    pub(super) fn new(info: &PgTypeInfo) -> Self {
        Self { shape: shape(info), name: info.name().to_ascii_lowercase() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

fn shape(info: &PgTypeInfo) -> Shape {
    match info.kind() {
        PgTypeKind::Domain(base) => return shape(base),
        PgTypeKind::Enum(_) => return Shape::Text,
        PgTypeKind::Array(element) => return Shape::Array(Box::new(Source::new(element))),
        PgTypeKind::Simple | PgTypeKind::Pseudo | PgTypeKind::Composite(_) | PgTypeKind::Range(_) => {}
    }
    match info.oid().map_or(0, |oid| oid.0) {
        16 => Shape::Boolean,
        17 => Shape::Bytes,
        20 | 21 | 23 => Shape::Integer,
        26 => Shape::Oid,
        // char, name, text, xml, unknown, bpchar, varchar.
        18 | 19 | 25 | 142 | 705 | 1042 | 1043 => Shape::Text,
        114 => Shape::Json,
        700 | 701 => Shape::Float,
        1082 => Shape::Date,
        1083 => Shape::Time,
        1114 => Shape::Timestamp,
        1184 => Shape::TimestampTz,
        1186 => Shape::Interval,
        1700 => Shape::Numeric,
        2278 => Shape::Void,
        2950 => Shape::Uuid,
        3802 => Shape::JsonB,
        _ => Shape::Unknown,
    }
}

/// Takes rows as long as they are within the limits of one answer.
#[derive(Debug)]
pub(super) struct Reader {
    max_rows: usize,
    max_bytes: usize,
    rows: usize,
    bytes: usize,
}

impl Reader {
    pub(super) fn new(limits: &QueryLimits) -> Self {
        Self { max_rows: limits.max_rows as usize, max_bytes: limits.max_bytes as usize, rows: 0, bytes: 0 }
    }

    pub(super) fn read(&mut self, row: &PgRow, sources: &[Source]) -> Result<Row> {
        self.rows += 1;
        if self.rows > self.max_rows {
            return Err(limit_exceeded(format!("the answer has more than {} rows", self.max_rows)));
        }
        let mut values = Row::with_capacity(sources.len());
        for (index, source) in sources.iter().enumerate() {
            let raw = row.try_get_raw(index).map_err(|e| crate::postgres::map_error("database.query", e))?;
            let value = match raw.as_bytes() {
                Ok(bytes) => decode(bytes, source)?,
                // The one error there is: it is null.
                Err(_) => Value::Null,
            };
            self.bytes += value.weight();
            if self.bytes > self.max_bytes {
                return Err(limit_exceeded(format!("the answer has more than {} bytes", self.max_bytes)));
            }
            values.push(value);
        }
        Ok(values)
    }
}

fn decode(bytes: &[u8], source: &Source) -> Result<Value> {
    let unknown = |shape: &Shape| matches!(shape, Shape::Unknown);
    if unknown(&source.shape) || matches!(&source.shape, Shape::Array(element) if unknown(&element.shape)) {
        let why = format!("a value of type {} cannot be read: ask for it as text, with `::text`", source.name);
        return Err(Error::new(ErrorKind::WrongType, "database.query", why));
    }
    read(bytes, source)
        .ok_or_else(|| Error::new(ErrorKind::Failed, "database.query", format!("a value of type {} cannot be read", source.name)))
}

fn read(bytes: &[u8], source: &Source) -> Option<Value> {
    let text = || std::str::from_utf8(bytes).ok().map(str::to_owned);
    Some(match &source.shape {
        Shape::Boolean => Value::Boolean(*bytes.first()? != 0),
        Shape::Integer => Value::Integer(integer(bytes)?),
        Shape::Oid => Value::Integer(i64::from(u32::from_be_bytes(bytes.try_into().ok()?))),
        Shape::Float if bytes.len() == 4 => Value::Real(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        Shape::Float => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        Shape::Text => Value::Text(text()?),
        Shape::Json => Value::Json(text()?),
        Shape::JsonB => Value::Json(std::str::from_utf8(bytes.get(1..)?).ok()?.to_owned()),
        Shape::Bytes => Value::Blob(bytes.to_vec()),
        Shape::Numeric => Value::Decimal(numeric::decode(bytes)?),
        Shape::Date => Value::Date(time::read_date(i32::from_be_bytes(bytes.try_into().ok()?))?),
        Shape::Time => Value::Time(time::read_time(integer(bytes)?)?),
        Shape::Timestamp => Value::LocalTimestamp(time::read_local(integer(bytes)?)?),
        Shape::TimestampTz => Value::Timestamp(time::read_timestamp(integer(bytes)?)?),
        Shape::Uuid => Value::Uuid(uuid::Uuid::from_slice(bytes).ok()?.to_string()),
        Shape::Interval => Value::Other { type_name: source.name.clone(), text: interval(bytes)? },
        Shape::Void => Value::Null,
        Shape::Array(element) => array(bytes, source, element)?,
        Shape::Unknown => return None,
    })
}

fn integer(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        2 => Some(i64::from(i16::from_be_bytes(bytes.try_into().ok()?))),
        4 => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
        _ => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
    }
}

/// ISO 8601: months, days and time each have their own sign.
fn interval(bytes: &[u8]) -> Option<String> {
    let (micros, rest) = bytes.split_at_checked(8)?;
    let (days, months) = rest.split_at_checked(4)?;
    let (micros, days, months) = (integer(micros)?, integer(days)?, integer(months)?);
    let (seconds, rest) = (micros / 1_000_000, (micros % 1_000_000).unsigned_abs());
    let sign = if micros < 0 && seconds == 0 { "-" } else { "" };
    Some(format!("P{months}M{days}DT{sign}{seconds}.{rest:06}S"))
}

/// A list of one dimension without nulls is one; every other array is its text.
fn array(bytes: &[u8], source: &Source, element: &Source) -> Option<Value> {
    let mut rest = bytes;
    let mut number = || {
        let (head, tail) = rest.split_at_checked(4)?;
        rest = tail;
        Some(i32::from_be_bytes(head.try_into().ok()?))
    };
    let (dimensions, _nulls, _oid) = (number()?, number()?, number()?);
    let mut sizes = Vec::new();
    for _ in 0..dimensions {
        sizes.push(usize::try_from(number()?).ok()?);
        number()?;
    }
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4)?;
        let length = i32::from_be_bytes(head.try_into().ok()?);
        let (item, tail) = tail.split_at_checked(usize::try_from(length.max(0)).ok()?)?;
        items.push(if length < 0 { Value::Null } else { read(item, element)? });
        rest = tail;
    }
    if sizes.len() <= 1 {
        let integers: Option<Vec<i64>> = items.iter().map(|v| if let Value::Integer(i) = v { Some(*i) } else { None }).collect();
        if let (Some(list), Shape::Integer | Shape::Oid) = (integers, &element.shape) {
            return Some(Value::IntegerArray(list));
        }
        let texts: Option<Vec<String>> = items.iter().map(|v| if let Value::Text(t) = v { Some(t.clone()) } else { None }).collect();
        if let (Some(list), Shape::Text) = (texts, &element.shape) {
            return Some(Value::TextArray(list));
        }
    }
    let mut items = items.into_iter();
    Some(Value::Other { type_name: source.name.clone(), text: literal(&sizes, &mut items)? })
}

/// `{{1,2},{3,null}}`
fn literal(sizes: &[usize], items: &mut impl Iterator<Item = Value>) -> Option<String> {
    let Some((size, inner)) = sizes.split_first() else { return Some("{}".to_owned()) };
    let mut parts = Vec::new();
    for _ in 0..*size {
        parts.push(if inner.is_empty() { item(items.next()?)? } else { literal(inner, items)? });
    }
    Some(format!("{{{}}}", parts.join(",")))
}

fn item(value: Value) -> Option<String> {
    let text = match value {
        Value::Null => return Some("NULL".to_owned()),
        Value::Boolean(b) => return Some(if b { "t" } else { "f" }.to_owned()),
        Value::Integer(i) => return Some(i.to_string()),
        Value::Real(r) => return Some(r.to_string()),
        Value::Decimal(t) => return Some(t),
        Value::Blob(bytes) => format!("\\x{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        Value::Text(t) | Value::Date(t) | Value::Time(t) | Value::Timestamp(t) | Value::LocalTimestamp(t) => t,
        Value::Uuid(t) | Value::Json(t) | Value::Other { text: t, .. } => t,
        Value::IntegerArray(_) | Value::TextArray(_) => return None,
    };
    Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
