//! Storing records at the end of the log.

use crate::{
    audit::Encoded,
    sqlite::{from_sql, map_error, to_sql, writer::Fault},
};
use plinth_capability::{Result, audit::Receipt};
use sqlx::{Row, SqliteConnection};

const STORED: &str = "SELECT sequence, recorded_at_ms FROM records WHERE id = ?1";

// Numbered and checked for a repeat in one statement, inside the write lock.
const INSERT: &str = "
    INSERT INTO records (sequence, id, recorded_at_ms, actor, plugin_id, subject_kind, subject_id, action, outcome, bytes)
    SELECT (SELECT coalesce(max(sequence) + 1, 0) FROM records), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
    WHERE NOT EXISTS (SELECT 1 FROM records WHERE id = ?1)
    RETURNING sequence";

/// The records are checked already, so that only the storage can fail here, and
/// that takes back the whole transaction: all or none.
pub(super) async fn append(connection: &mut SqliteConnection, encoded: Vec<Encoded>) -> Result<Vec<Receipt>, Fault> {
    let mut receipts = Vec::with_capacity(encoded.len());
    for one in encoded {
        receipts.push(append_one(connection, one).await.map_err(|e| Fault::Broken(map_error("audit.append", e)))?);
    }
    Ok(receipts)
}

pub(in crate::audit) async fn append_one(
    connection: &mut SqliteConnection,
    Encoded { record, bytes }: Encoded,
) -> Result<Receipt, sqlx::Error> {
    let sequence: Option<i64> = sqlx::query_scalar(INSERT)
        .bind(&record.id)
        .bind(to_sql(record.recorded_at_ms))
        .bind(&record.actor)
        .bind(&record.plugin_id)
        .bind(&record.entry.subject.kind)
        .bind(&record.entry.subject.id)
        .bind(&record.entry.action)
        .bind(record.entry.outcome.code())
        .bind(bytes)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(sequence) = sequence {
        return Ok(Receipt { id: record.id, sequence: from_sql(sequence), recorded_at_ms: record.recorded_at_ms });
    }
    let stored = sqlx::query(STORED).bind(&record.id).fetch_one(connection).await?;
    Ok(Receipt {
        id: record.id,
        sequence: from_sql(stored.try_get("sequence")?),
        recorded_at_ms: from_sql(stored.try_get("recorded_at_ms")?),
    })
}
