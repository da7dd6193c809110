//! Handing out messages, and taking back what was not settled in time.

use super::memory::{Entry, QueueMemory};
use crate::{
    queue::policy::{ATTEMPTS_EXHAUSTED, EXPIRED},
    sqlite::{from_sql, map_error, to_sql, writer::Fault},
};
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    name::QueueName,
    now_ms,
    queue::{Delivery, Message},
};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use std::time::Duration;
use tokio::sync::futures::OwnedNotified;

/// Messages taken back by one unit of work.
const SWEEP_MAX: i64 = 1_000;

// `priority IN` over all ten levels lets SQLite jump from level to level by the
// index: messages of a high level that are not due yet are not walked over.
pub(super) const LEASE: &str = "
    UPDATE messages SET state = 1, attempts = attempts + 1, deliveries = deliveries + 1, lease_ms = ?3
    WHERE id IN (
        SELECT id FROM messages
        WHERE queue = ?1 AND state = 0 AND priority IN (0, 1, 2, 3, 4, 5, 6, 7, 8, 9) AND due_ms <= ?2
              AND (expires_ms IS NULL OR expires_ms > ?2)
        ORDER BY priority DESC, due_ms, id LIMIT ?4)
    RETURNING id, deliveries, attempts, due_ms, message_id, destination, content_type, headers, routing_key,
              correlation_id, priority, delay_ms, enqueued_ms, expires_ms, body";

// A waiting message past its expiry dies; a leased one whose lease has ended
// waits again, or dies if it was its last attempt.
const SWEEP: &str = "
    UPDATE messages SET
        state = iif(state = 0 OR attempts >= ?3, 2, 0),
        reason = iif(state = 0, ?4, iif(attempts >= ?3, ?5, NULL)),
        last_error = iif(state = 1, 'the lease ended before the delivery was settled', last_error),
        died_ms = iif(state = 0 OR attempts >= ?3, ?2, NULL),
        lease_ms = NULL
    WHERE id IN (
        SELECT id FROM messages WHERE queue = ?1 AND state = 1 AND lease_ms <= ?2
        UNION ALL
        SELECT id FROM messages WHERE queue = ?1 AND state = 0 AND expires_ms <= ?2
        LIMIT ?6)";

// The next instant at which there may be something to do. A level's earliest
// is the first row of its part of the index.
pub(super) const NEXT: &str = "
    SELECT min(at) FROM (
        SELECT (SELECT due_ms FROM messages WHERE queue = ?1 AND state = 0 AND priority = level.column1 ORDER BY due_ms LIMIT 1) AS at
        FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS level
        UNION ALL SELECT min(expires_ms) FROM messages WHERE queue = ?1 AND state = 0 AND expires_ms IS NOT NULL
        UNION ALL SELECT min(lease_ms) FROM messages WHERE queue = ?1 AND state = 1)";

/// What a consumer got; with nothing, how to wait for more.
pub(super) enum Leased {
    Some(Vec<Delivery>),
    None { changed: OwnedNotified, look_again: Duration },
}

pub(super) async fn lease(
    memory: &mut QueueMemory,
    connection: &mut SqliteConnection,
    queue: QueueName,
    max: u32,
) -> Result<Leased, Fault> {
    let broken = |e| Fault::Broken(map_error("queue.consume", e));
    let entry = memory.entry(connection, &queue, "queue.consume").await?;
    let now = now_ms();
    sweep(connection, &entry, now).await?;
    let rows = sqlx::query(LEASE)
        .bind(entry.id)
        .bind(to_sql(now))
        .bind(to_sql(now.saturating_add(u64::from(entry.spec.lease_ms))))
        .bind(max)
        .fetch_all(&mut *connection)
        .await
        .map_err(broken)?;
    if !rows.is_empty() {
        return Ok(Leased::Some(deliveries(&queue, &rows)?));
    }
    let next: Option<i64> = sqlx::query_scalar(NEXT).bind(entry.id).fetch_one(connection).await.map_err(broken)?;
    // Whoever leases a message from now on does so for `lease_ms`, without
    // telling the others: looking again after that time covers it.
    let lease = u64::from(entry.spec.lease_ms);
    let look_again = next.map_or(lease, |at| from_sql(at).saturating_sub(now).min(lease));
    Ok(Leased::None { changed: memory.changed(entry.id), look_again: Duration::from_millis(look_again) })
}

/// Brings the queue to what it is `now`, and answers how many messages that moved.
pub(super) async fn sweep(connection: &mut SqliteConnection, entry: &Entry, now: u64) -> Result<u64, Fault> {
    let swept = sqlx::query(SWEEP)
        .bind(entry.id)
        .bind(to_sql(now))
        .bind(entry.spec.max_attempts)
        .bind(EXPIRED)
        .bind(ATTEMPTS_EXHAUSTED)
        .bind(SWEEP_MAX)
        .execute(connection)
        .await
        .map_err(|e| Fault::Broken(map_error("queue.sweep", e)))?;
    Ok(swept.rows_affected())
}

/// In the order of delivery, which `RETURNING` does not promise.
fn deliveries(queue: &QueueName, rows: &[SqliteRow]) -> Result<Vec<Delivery>, Fault> {
    let mut ordered = Vec::with_capacity(rows.len());
    for row in rows {
        let (due, id) = read::<(i64, i64)>(|| Ok((row.try_get("due_ms")?, row.try_get("id")?)))?;
        let delivery = delivery(queue, row)?;
        ordered.push(((std::cmp::Reverse(delivery.message.priority), due, id), delivery));
    }
    ordered.sort_by_key(|(place, _)| *place);
    Ok(ordered.into_iter().map(|(_, delivery)| delivery).collect())
}

fn delivery(queue: &QueueName, row: &SqliteRow) -> Result<Delivery, Fault> {
    let headers: String = read(|| row.try_get("headers"))?;
    let headers = serde_json::from_str(&headers)
        .map_err(|e| Fault::Broken(Error::new(ErrorKind::Failed, "queue.consume", "a stored message is damaged").with_source(e)))?;
    read(|| {
        let enqueued: i64 = row.try_get("enqueued_ms")?;
        let expires: Option<i64> = row.try_get("expires_ms")?;
        let message = Message {
            id: row.try_get("message_id")?,
            body: Bytes::from(row.try_get::<Vec<u8>, _>("body")?),
            content_type: row.try_get("content_type")?,
            headers,
            routing_key: row.try_get("routing_key")?,
            correlation_id: row.try_get("correlation_id")?,
            priority: row.try_get("priority")?,
            delay: Duration::from_millis(from_sql(row.try_get("delay_ms")?)),
            expires: expires.map(|at| Duration::from_millis(from_sql(at - enqueued))),
        };
        Ok(Delivery {
            queue: queue.clone(),
            message,
            destination: row.try_get("destination")?,
            attempt: row.try_get("attempts")?,
            enqueued_at_ms: from_sql(enqueued),
            token: format!("{}-{}", row.try_get::<i64, _>("id")?, row.try_get::<i64, _>("deliveries")?),
        })
    })
}

fn read<T>(get: impl FnOnce() -> Result<T, sqlx::Error>) -> Result<T, Fault> {
    get().map_err(|e| Fault::Broken(map_error("queue.consume", e)))
}
