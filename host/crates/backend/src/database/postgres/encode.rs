//! Values on their way into PostgreSQL, as the types its statement asks for.
//!
//! The server says which type each parameter has; what fits is written in that
//! type's binary form, and what does not is refused before it is sent.

use super::{numeric, time};
use plinth_capability::{Error, ErrorKind, Result, database::Value};
use sqlx::{
    Arguments, Encode, Postgres, Type, TypeInfo,
    encode::IsNull,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, PgTypeKind},
};

/// What a parameter is written as.
#[derive(Debug, Clone)]
pub(super) struct Target {
    info: PgTypeInfo,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Boolean,
    /// Bytes of it.
    Integer(usize),
    Float4,
    Float8,
    Text,
    /// `jsonb`, whose text has a version before it.
    Json,
    Bytes,
    Numeric,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    /// Its elements' number and shape.
    Array(u32, Box<Shape>),
    Unknown,
}

impl Target {
    pub(super) fn new(info: PgTypeInfo) -> Self {
        Self { shape: shape(&info), info }
    }
}

fn shape(info: &PgTypeInfo) -> Shape {
    match info.kind() {
        PgTypeKind::Domain(base) => return shape(base),
        PgTypeKind::Enum(_) => return Shape::Text,
        PgTypeKind::Array(element) => {
            return element.oid().map_or(Shape::Unknown, |oid| Shape::Array(oid.0, Box::new(shape(element))));
        }
        PgTypeKind::Simple | PgTypeKind::Pseudo | PgTypeKind::Composite(_) | PgTypeKind::Range(_) => {}
    }
    match info.oid().map_or(0, |oid| oid.0) {
        16 => Shape::Boolean,
        17 => Shape::Bytes,
        20 => Shape::Integer(8),
        21 => Shape::Integer(2),
        23 => Shape::Integer(4),
        // name, text, json, xml, unknown, bpchar, varchar, citext has no fixed number.
        19 | 25 | 114 | 142 | 705 | 1042 | 1043 => Shape::Text,
        700 => Shape::Float4,
        701 => Shape::Float8,
        1082 => Shape::Date,
        1083 => Shape::Time,
        1114 => Shape::Timestamp,
        1184 => Shape::TimestampTz,
        1700 => Shape::Numeric,
        2950 => Shape::Uuid,
        3802 => Shape::Json,
        _ => Shape::Unknown,
    }
}

/// One value for each target, which the caller has counted.
pub(super) fn bind(params: &[Value], targets: &[Target]) -> Result<PgArguments> {
    if params.len() != targets.len() {
        let why = format!("the statement has {} parameters, {} were given", targets.len(), params.len());
        return Err(Error::new(ErrorKind::InvalidInput, "database.bind", why));
    }
    let mut arguments = PgArguments::default();
    for (number, (value, target)) in params.iter().zip(targets).enumerate() {
        let bytes = match value {
            Value::Null => None,
            value => Some(write(value, &target.shape).map_err(|why| refuse(number + 1, value, target, why))?),
        };
        let raw = Raw { bytes, info: target.info.clone() };
        arguments.add(raw).map_err(|e| Error::new(ErrorKind::InvalidInput, "database.bind", "a value is too large").with_source(e))?;
    }
    Ok(arguments)
}

fn refuse(number: usize, value: &Value, target: &Target, why: &str) -> Error {
    let name = target.info.name().to_ascii_lowercase();
    let text = match target.shape {
        Shape::Unknown => {
            format!("parameter ${number} is {name}, which values are not written as: ask for text with `${number}::text::{name}`")
        }
        _ => format!("parameter ${number} is {name}, which {} is not: {why}", article(value)),
    };
    Error::new(ErrorKind::InvalidInput, "database.bind", text)
}

fn article(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "an integer",
        Value::Real(_) => "a real",
        Value::Text(_) => "a text",
        Value::Blob(_) => "a blob",
        Value::Decimal(_) => "a decimal",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::Timestamp(_) => "a timestamp",
        Value::LocalTimestamp(_) => "a local timestamp",
        Value::Uuid(_) => "a uuid",
        Value::Json(_) => "JSON",
        Value::IntegerArray(_) | Value::TextArray(_) => "an array",
        Value::Other { .. } => "another type's text",
    }
}

type Written = Result<Vec<u8>, &'static str>;

const MISMATCH: &str = "another kind of value was given";
const RANGE: &str = "it is out of range";

fn write(value: &Value, shape: &Shape) -> Written {
    match (shape, value) {
        (Shape::Boolean, Value::Boolean(b)) => Ok(vec![u8::from(*b)]),
        (Shape::Integer(size), Value::Integer(i)) => integer(*i, *size),
        (Shape::Float8, Value::Real(r)) => Ok(r.to_be_bytes().to_vec()),
        (Shape::Float8, Value::Integer(i)) => exact(*i).map(|r| r.to_be_bytes().to_vec()),
        (Shape::Float4, Value::Real(r)) => single(*r).map(|r| r.to_be_bytes().to_vec()),
        (Shape::Float4, Value::Integer(i)) => exact(*i).and_then(single).map(|r| r.to_be_bytes().to_vec()),
        (Shape::Bytes, Value::Blob(bytes)) => Ok(bytes.clone()),
        (Shape::Text, value) => text(value).map(String::into_bytes),
        (Shape::Json, Value::Blob(_)) => Err(MISMATCH),
        (Shape::Json, value) => text(value).map(|text| [&[1], text.as_bytes()].concat()),
        (Shape::Numeric, Value::Integer(_) | Value::Real(_)) => numeric::encode(&text(value)?),
        (Shape::Numeric, value) => numeric::encode(spelled(value)?),
        (Shape::Date, value) => time::date(spelled(value)?),
        (Shape::Time, value) => time::time(spelled(value)?),
        (Shape::Timestamp, value) => time::local(spelled(value)?),
        (Shape::TimestampTz, value) => time::timestamp(spelled(value)?),
        (Shape::Uuid, value) => uuid::Uuid::try_parse(spelled(value)?).map(|u| u.into_bytes().to_vec()).map_err(|_| "it is not a UUID"),
        (Shape::Array(oid, element), Value::IntegerArray(list)) => array(*oid, list.iter().map(|i| write(&Value::Integer(*i), element))),
        (Shape::Array(oid, element), Value::TextArray(list)) => array(*oid, list.iter().map(|t| write(&Value::Text(t.clone()), element))),
        _ => Err(MISMATCH),
    }
}

fn integer(i: i64, size: usize) -> Written {
    let bytes = match size {
        2 => i16::try_from(i).ok().map(|i| i.to_be_bytes().to_vec()),
        4 => i32::try_from(i).ok().map(|i| i.to_be_bytes().to_vec()),
        _ => Some(i.to_be_bytes().to_vec()),
    };
    bytes.ok_or(RANGE)
}

#[expect(clippy::cast_precision_loss, reason = "checked: only what comes back the same is taken")]
fn exact(i: i64) -> Result<f64, &'static str> {
    // 2^53: up to here a real counts in ones.
    if i.unsigned_abs() <= 1 << 53 { Ok(i as f64) } else { Err(RANGE) }
}

#[expect(clippy::cast_possible_truncation, reason = "a shorter real is what the column keeps")]
fn single(r: f64) -> Result<f32, &'static str> {
    let short = r as f32;
    if r.is_finite() && short.is_infinite() { Err(RANGE) } else { Ok(short) }
}

/// Values that are kept as text anyway.
fn spelled(value: &Value) -> Result<&str, &'static str> {
    match value {
        Value::Text(t) | Value::Decimal(t) | Value::Date(t) | Value::Time(t) | Value::Timestamp(t) => Ok(t),
        Value::LocalTimestamp(t) | Value::Uuid(t) | Value::Json(t) | Value::Other { text: t, .. } => Ok(t),
        _ => Err(MISMATCH),
    }
}

fn text(value: &Value) -> Result<String, &'static str> {
    let text = match value {
        Value::Boolean(b) => b.to_string(),
        Value::Integer(i) => i.to_string(),
        Value::Real(r) => r.to_string(),
        other => spelled(other)?.to_owned(),
    };
    if text.contains('\0') { Err("a text has no zero character") } else { Ok(text) }
}

/// One dimension, counted from 1, without nulls.
fn array(element: u32, items: impl ExactSizeIterator<Item = Written>) -> Written {
    let count = i32::try_from(items.len()).map_err(|_| RANGE)?;
    let dimensions = i32::from(count > 0);
    let mut out = [dimensions.to_be_bytes(), 0_i32.to_be_bytes(), element.to_be_bytes()].concat();
    if count > 0 {
        out.extend([count.to_be_bytes(), 1_i32.to_be_bytes()].concat());
    }
    for item in items {
        let item = item?;
        out.extend(i32::try_from(item.len()).map_err(|_| RANGE)?.to_be_bytes());
        out.extend(item);
    }
    Ok(out)
}

/// A value already in the binary form of its type.
struct Raw {
    bytes: Option<Vec<u8>>,
    info: PgTypeInfo,
}

impl Type<Postgres> for Raw {
    fn type_info() -> PgTypeInfo {
        // Never asked: `produces` says more.
        <String as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Raw {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, sqlx::error::BoxDynError> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        buf.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.info.clone())
    }
}
