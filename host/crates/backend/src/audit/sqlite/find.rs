//! Reading the log: by condition in pages, and by id.

use crate::{
    audit::leaf_digest,
    sqlite::{from_sql, map_error, to_sql},
};
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{AuditFilter, StoredRecord},
};
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool, sqlite::SqliteRow};
use std::ops::Range;

/// At most `limit` matching records of these sequences, in order.
pub(in crate::audit) async fn matching(
    readers: &SqlitePool,
    filter: &AuditFilter,
    sequences: Range<u64>,
    limit: u64,
) -> Result<Vec<StoredRecord>> {
    let mut query = QueryBuilder::new("SELECT sequence, bytes FROM records WHERE sequence >= ");
    query.push_bind(to_sql(sequences.start));
    if sequences.end < u64::MAX {
        query.push(" AND sequence < ").push_bind(to_sql(sequences.end));
    }
    narrow(&mut query, filter);
    query.push(" ORDER BY sequence LIMIT ").push_bind(to_sql(limit));
    let rows = query.build().fetch_all(readers).await.map_err(|e| map_error("audit.find", e))?;
    rows.iter().map(|row| stored("audit.find", row)).collect()
}

fn narrow(query: &mut QueryBuilder<Sqlite>, filter: &AuditFilter) {
    let equal = [
        (" AND subject_kind = ", &filter.subject_kind),
        (" AND subject_id = ", &filter.subject_id),
        (" AND plugin_id = ", &filter.plugin_id),
        (" AND outcome = ", &filter.outcome),
    ];
    for (condition, value) in equal {
        if let Some(value) = value {
            query.push(condition).push_bind(value.clone());
        }
    }
    if let Some(actor) = &filter.actor {
        let mut list = query.push(" AND actor IN (").separated(", ");
        for name in [Some(actor), filter.or_actor.as_ref()].into_iter().flatten() {
            list.push_bind(name.clone());
        }
        query.push(")");
    }
    if let Some(from) = filter.from_ms {
        query.push(" AND recorded_at_ms >= ").push_bind(to_sql(from));
    }
    if let Some(until) = filter.until_ms {
        query.push(" AND recorded_at_ms < ").push_bind(to_sql(until));
    }
    if let Some(prefix) = &filter.action_prefix {
        // `/` is the character after `.`, so the range is what starts with the prefix and a dot.
        query.push(" AND (action = ").push_bind(prefix.clone());
        query.push(" OR (action > ").push_bind(format!("{prefix}.")).push(" AND action < ").push_bind(format!("{prefix}/")).push("))");
    }
}

pub(super) async fn record(readers: &SqlitePool, id: &str) -> Result<Option<StoredRecord>> {
    let row = sqlx::query("SELECT sequence, bytes FROM records WHERE id = ?1")
        .bind(id)
        .fetch_optional(readers)
        .await
        .map_err(|e| map_error("audit.record", e))?;
    row.map(|row| stored("audit.record", &row)).transpose()
}

fn stored(operation: &'static str, row: &SqliteRow) -> Result<StoredRecord> {
    let read = || Ok((row.try_get("sequence")?, row.try_get("bytes")?));
    let (sequence, bytes): (i64, Vec<u8>) = read().map_err(|e| map_error(operation, e))?;
    let record = serde_json::from_slice(&bytes)
        .map_err(|e| Error::new(ErrorKind::Failed, operation, "a stored record is damaged").with_source(e))?;
    Ok(StoredRecord { sequence: from_sql(sequence), record, digest: leaf_digest(&bytes) })
}
