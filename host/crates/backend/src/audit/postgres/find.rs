//! Reading the log: by condition in pages, and by id.

use super::marks;
use crate::{
    audit::{
        archive::Page,
        search::{meets, read},
        tree::STRETCH,
    },
    postgres::{from_sql, map_error, to_sql},
};
use plinth_capability::{
    Result,
    audit::{AuditFilter, StoredRecord},
};
use sqlx::PgPool;
use std::ops::Range;

/// Stretches that are read at once, if so many may have what is looked for.
const CANDIDATES: u64 = 4;
/// Marks that are looked at for one page, and for how many of them a page counts as having read one record.
const MARKS: u64 = 65_536;
const MARKS_PER_RECORD: u64 = 16;

/// Some of the matching records of these sequences, in order.
pub(in crate::audit) async fn page(pool: &PgPool, filter: &AuditFilter, sequences: Range<u64>, limit: u64) -> Result<Page> {
    let (next, marked) = marks::state(pool).await?;
    let end = sequences.end.min(next);
    let start = sequences.start;
    // Up to the end as it is now there is nothing more: that is all of what was asked for.
    let until = |reached: u64| if reached >= end { sequences.end } else { reached };
    if start >= end {
        return Ok(Page { until: sequences.end, ..Page::default() });
    }
    if !marks::narrows(filter) || start / STRETCH >= marked {
        let wanted = if marks::narrows(filter) { STRETCH * CANDIDATES } else { limit };
        let rows = rows(pool, start..end, wanted).await?;
        let reached = if (rows.len() as u64) < wanted { end } else { rows.last().map_or(end, |(last, _)| last + 1) };
        return matching(filter, rows, limit, until(reached));
    }
    let looked = start / STRETCH..marked.min(end.div_ceil(STRETCH)).min(start / STRETCH + MARKS);
    let candidates = marks::candidates(pool, filter, looked.clone(), CANDIDATES).await?;
    let reached = match candidates.last() {
        Some(last) if candidates.len() as u64 == CANDIDATES => last + 1,
        _ => looked.end,
    };
    let rows = rows_of(pool, &candidates, start..end).await?;
    let mut page = matching(filter, rows, limit, until(reached * STRETCH))?;
    page.read += (reached - looked.start) / MARKS_PER_RECORD;
    Ok(page)
}

/// Where the first of these sequences is that may have what is looked for, by the marks alone.
pub(in crate::audit) async fn skip(pool: &PgPool, filter: &AuditFilter, sequences: Range<u64>) -> Result<u64> {
    let Range { start, end } = sequences;
    if !marks::narrows(filter) {
        return Ok(start);
    }
    let (_, marked) = marks::state(pool).await?;
    let looked = start / STRETCH..marked.min(end.div_ceil(STRETCH)).min(start / STRETCH + MARKS);
    if looked.is_empty() {
        return Ok(start);
    }
    let first = marks::candidates(pool, filter, looked.clone(), 1).await?.pop().unwrap_or(looked.end);
    Ok((first * STRETCH).clamp(start, end))
}

fn matching(filter: &AuditFilter, rows: Vec<(u64, Vec<u8>)>, limit: u64, until: u64) -> Result<Page> {
    let mut page = Page { records: Vec::new(), until, read: rows.len() as u64 };
    for (sequence, bytes) in rows {
        let stored = read(sequence, &bytes)?;
        if meets(filter, &stored.record) {
            page.records.push(stored);
        }
        if page.records.len() as u64 == limit {
            page.until = sequence + 1;
            break;
        }
    }
    Ok(page)
}

type Row = (i64, Vec<u8>);

fn numbered(rows: Vec<Row>) -> Vec<(u64, Vec<u8>)> {
    rows.into_iter().map(|(sequence, bytes)| (from_sql(sequence), bytes)).collect()
}

/// The first of these sequences and their bytes, in order.
pub(in crate::audit) async fn rows(pool: &PgPool, sequences: Range<u64>, limit: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let sql = "SELECT sequence, bytes FROM plinth.audit WHERE sequence >= $1 AND sequence < $2 ORDER BY sequence LIMIT $3";
    let rows = sqlx::query_as(sql).bind(to_sql(sequences.start)).bind(to_sql(sequences.end)).bind(to_sql(limit));
    Ok(numbered(rows.fetch_all(pool).await.map_err(|e| map_error("audit.find", e))?))
}

/// What of these sequences is in the given stretches.
async fn rows_of(pool: &PgPool, stretches: &[u64], sequences: Range<u64>) -> Result<Vec<(u64, Vec<u8>)>> {
    if stretches.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT sequence, bytes FROM unnest($1::bigint[]) AS s (first)
        JOIN plinth.audit ON sequence >= first AND sequence < first + $2
        WHERE sequence >= $3 AND sequence < $4 ORDER BY sequence";
    let firsts: Vec<i64> = stretches.iter().map(|stretch| to_sql(stretch * STRETCH)).collect();
    let rows = sqlx::query_as(sql).bind(firsts).bind(to_sql(STRETCH));
    let rows = rows.bind(to_sql(sequences.start)).bind(to_sql(sequences.end)).fetch_all(pool).await;
    Ok(numbered(rows.map_err(|e| map_error("audit.find", e))?))
}

/// Where the record of an id is, and its bytes.
pub(in crate::audit) async fn by_id(pool: &PgPool, id: &str) -> Result<Option<(u64, Vec<u8>)>> {
    let Ok(id) = uuid::Uuid::try_parse(id) else { return Ok(None) };
    let sql = "SELECT sequence, bytes FROM plinth.audit WHERE id = $1::uuid";
    let row = sqlx::query_as(sql).bind(id.to_string()).fetch_optional(pool).await.map_err(|e| map_error("audit.record", e))?;
    Ok(row.map(|(sequence, bytes): Row| (from_sql(sequence), bytes)))
}

pub(super) async fn record(pool: &PgPool, id: &str) -> Result<Option<StoredRecord>> {
    by_id(pool, id).await?.map(|(sequence, bytes)| read(sequence, &bytes)).transpose()
}
