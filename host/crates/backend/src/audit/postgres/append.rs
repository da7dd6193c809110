//! Storing records at the end of the log, many in one statement.

use crate::{
    audit::Encoded,
    postgres::{from_sql, map_error},
};
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{AuditRecord, Receipt},
};
use sqlx::PgConnection;

/// Whoever has moved the end of the log appends, and lets go with the commit.
const APPEND: &str = "
    WITH held AS (UPDATE plinth.audit_end SET next = next + cardinality($1) RETURNING next - cardinality($1) AS free),
    put AS (
        INSERT INTO plinth.audit (sequence, id, bytes)
        SELECT free + place - 1, id::uuid, bytes FROM held, unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS r (id, bytes, place)
    )
    SELECT free FROM held";
const APPEND_EACH: &str = "SELECT place, stored FROM plinth.audit_append_each($1::text[]::uuid[], $2)";

/// As a statement of its own: if an id is stored already, it is done once more, one record after the other.
pub(super) async fn append(connection: &mut PgConnection, encoded: &[Encoded]) -> Result<Vec<Receipt>> {
    let (ids, bodies) = columns(encoded)?;
    match sqlx::query_scalar(APPEND).bind(&ids).bind(&bodies).fetch_one(&mut *connection).await {
        Ok(free) => Ok(consecutive(encoded, from_sql(free))),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => each(connection, encoded, &ids, &bodies).await,
        Err(error) => Err(map_error("audit.append", error)),
    }
}

/// As a part of a transaction, under ids that are new.
pub(in crate::audit) async fn append_on(connection: &mut PgConnection, encoded: Vec<Encoded>) -> Result<Vec<Receipt>> {
    let (ids, bodies) = columns(&encoded)?;
    let free = sqlx::query_scalar(APPEND).bind(ids).bind(bodies).fetch_one(connection).await;
    Ok(consecutive(&encoded, from_sql(free.map_err(|e| map_error("audit.append", e))?)))
}

fn consecutive(encoded: &[Encoded], free: u64) -> Vec<Receipt> {
    let receipt = |(sequence, one): (u64, &Encoded)| receipt(one, sequence, one.record.recorded_at_ms);
    (free..).zip(encoded).map(receipt).collect()
}

async fn each(connection: &mut PgConnection, encoded: &[Encoded], ids: &[String], bodies: &[&[u8]]) -> Result<Vec<Receipt>> {
    let places = sqlx::query_as(APPEND_EACH).bind(ids).bind(bodies).fetch_all(connection).await;
    let places: Vec<(i64, Option<Vec<u8>>)> = places.map_err(|e| map_error("audit.append", e))?;
    let told = |(one, (place, stored)): (&Encoded, (i64, Option<Vec<u8>>))| {
        let at = stored.map_or(Ok(one.record.recorded_at_ms), |bytes| recorded_at(&bytes))?;
        Ok(receipt(one, from_sql(place), at))
    };
    encoded.iter().zip(places).map(told).collect()
}

fn receipt(one: &Encoded, sequence: u64, recorded_at_ms: u64) -> Receipt {
    Receipt { id: one.record.id.clone(), sequence, recorded_at_ms }
}

/// When the record that is stored under an id was.
fn recorded_at(bytes: &[u8]) -> Result<u64> {
    let damaged = |e| Error::new(ErrorKind::Failed, "audit.append", "a stored record is damaged").with_source(e);
    Ok(serde_json::from_slice::<AuditRecord>(bytes).map_err(damaged)?.recorded_at_ms)
}

/// Ids in one spelling, which the server reads too, and the bytes.
fn columns(encoded: &[Encoded]) -> Result<(Vec<String>, Vec<&[u8]>)> {
    let no_uuid = |e| Error::new(ErrorKind::Internal, "audit.append", "a record's id was not checked").with_source(e);
    let id = |one: &Encoded| uuid::Uuid::try_parse(&one.record.id).map(|id| id.to_string()).map_err(no_uuid);
    Ok((encoded.iter().map(id).collect::<Result<_>>()?, encoded.iter().map(|one| one.bytes.as_slice()).collect()))
}
