//! What operators do with queues: declare, bind, count and list.

use super::{deliver, memory::QueueMemory};
use crate::{
    queue::check_spec,
    sqlite::{from_sql, map_error, to_sql, writer::Fault},
};
use plinth_capability::{
    Error, ErrorKind, Result,
    name::{QueueName, TopicPattern},
    now_ms,
    queue::{DeadLetter, DeadLetterPage, Depth, QueueSpec},
};
use sqlx::{Row, SqliteConnection, SqlitePool, sqlite::SqliteRow};

/// Operator-controlled: dead letters of one page.
const PAGE_MAX: u32 = 1_000;

pub(super) async fn declare(
    memory: &mut QueueMemory,
    connection: &mut SqliteConnection,
    queue: QueueName,
    spec: QueueSpec,
) -> Result<(), Fault> {
    check_spec(&spec).map_err(Fault::Refused)?;
    sqlx::query(
        "INSERT INTO queues (name, max_attempts, backoff_ms, backoff_max_ms, lease_ms, max_depth) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET max_attempts = ?2, backoff_ms = ?3, backoff_max_ms = ?4, lease_ms = ?5, max_depth = ?6",
    )
    .bind(queue.as_str())
    .bind(spec.max_attempts)
    .bind(spec.backoff_ms)
    .bind(spec.backoff_max_ms)
    .bind(spec.lease_ms)
    .bind(to_sql(spec.max_depth))
    .execute(&mut *connection)
    .await
    .map_err(|e| Fault::Broken(map_error("queue.declare", e)))?;
    memory.forget_catalog();
    // A shorter lease changes when its consumers must look again.
    let entry = memory.entry(connection, &queue, "queue.declare").await?;
    memory.touch(entry.id);
    Ok(())
}

pub(super) async fn bind(
    memory: &mut QueueMemory,
    connection: &mut SqliteConnection,
    queue: QueueName,
    patterns: Vec<TopicPattern>,
) -> Result<(), Fault> {
    let broken = |e| Fault::Broken(map_error("queue.bind", e));
    let entry = memory.entry(connection, &queue, "queue.bind").await?;
    sqlx::query("DELETE FROM bindings WHERE queue = ?1").bind(entry.id).execute(&mut *connection).await.map_err(broken)?;
    for pattern in patterns {
        let insert = sqlx::query("INSERT OR IGNORE INTO bindings (queue, pattern) VALUES (?1, ?2)");
        insert.bind(entry.id).bind(pattern.as_str()).execute(&mut *connection).await.map_err(broken)?;
    }
    memory.forget_catalog();
    Ok(())
}

/// Before reading a queue: takes back what has ended, and answers the queue's rowid.
pub(super) async fn refresh(
    memory: &mut QueueMemory,
    connection: &mut SqliteConnection,
    queue: QueueName,
    operation: &'static str,
) -> Result<i64, Fault> {
    let entry = memory.entry(connection, &queue, operation).await?;
    if deliver::sweep(connection, &entry, now_ms()).await? > 0 {
        memory.touch(entry.id);
    }
    Ok(entry.id)
}

pub(super) async fn depth(readers: &SqlitePool, queue: i64) -> Result<Depth> {
    // The total is kept by triggers, the few exceptions are counted by their own
    // indexes, and what remains is ready: a million ready messages are not walked.
    let row = sqlx::query(
        "SELECT depth,
            (SELECT count(*) FROM messages WHERE queue = ?1 AND state = 0 AND priority IN (0, 1, 2, 3, 4, 5, 6, 7, 8, 9) AND due_ms > ?2) AS delayed,
            (SELECT count(*) FROM messages WHERE queue = ?1 AND state = 1) AS in_flight,
            (SELECT count(*) FROM messages WHERE queue = ?1 AND state = 2) AS dead
         FROM queues WHERE id = ?1",
    )
    .bind(queue)
    .bind(to_sql(now_ms()))
    .fetch_one(readers)
    .await;
    let read = |row: SqliteRow| {
        let count = |name| row.try_get::<i64, _>(name).map(from_sql);
        let (delayed, in_flight) = (count("delayed")?, count("in_flight")?);
        let ready = count("depth")?.saturating_sub(delayed + in_flight);
        Ok(Depth { ready, delayed, in_flight, dead: count("dead")? })
    };
    row.and_then(read).map_err(|e| map_error("queue.depth", e))
}

pub(super) async fn queues(readers: &SqlitePool) -> Result<Vec<QueueName>> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM queues ORDER BY name").fetch_all(readers).await.map_err(|e| map_error("queue.queues", e))?;
    names.iter().map(|name| QueueName::new(name)).collect()
}

/// Oldest first; the cursor is the place of the last one given.
pub(super) async fn dead_letters(
    readers: &SqlitePool,
    queue: (i64, QueueName),
    cursor: Option<(i64, i64)>,
    limit: u32,
) -> Result<DeadLetterPage> {
    let limit = limit.clamp(1, PAGE_MAX);
    let (died, id) = cursor.unwrap_or((i64::MIN, 0));
    let rows = sqlx::query(
        "SELECT id, message_id, destination, content_type, body, headers, attempts, reason, last_error, enqueued_ms, died_ms
         FROM messages WHERE queue = ?1 AND state = 2 AND (died_ms, id) > (?2, ?3) ORDER BY died_ms, id LIMIT ?4",
    )
    .bind(queue.0)
    .bind(died)
    .bind(id)
    .bind(i64::from(limit) + 1)
    .fetch_all(readers)
    .await
    .map_err(|e| map_error("queue.dead-letters", e))?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX).min(rows.len());
    let (page, rest) = rows.split_at(shown);
    let letters = page.iter().map(|row| dead_letter(&queue.1, row)).collect::<Result<Vec<_>>>()?;
    let next = match (page.last(), rest.is_empty()) {
        (Some(last), false) => Some(write_cursor(last).map_err(|e| map_error("queue.dead-letters", e))?),
        _ => None,
    };
    Ok(DeadLetterPage { letters, next })
}

fn write_cursor(row: &SqliteRow) -> Result<String, sqlx::Error> {
    Ok(format!("{:x}-{:x}", row.try_get::<i64, _>("died_ms")?, row.try_get::<i64, _>("id")?))
}

pub(super) fn read_cursor(text: &str) -> Result<(i64, i64)> {
    let part = |text: &str| i64::from_str_radix(text, 16).ok().filter(|n| *n >= 0);
    text.split_once('-')
        .and_then(|(died, id)| Some((part(died)?, part(id)?)))
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "queue.dead-letters", "this queue did not give that cursor"))
}

fn dead_letter(queue: &QueueName, row: &SqliteRow) -> Result<DeadLetter> {
    let headers = row.try_get::<String, _>("headers").map_err(|e| map_error("queue.dead-letters", e))?;
    let headers = serde_json::from_str(&headers)
        .map_err(|e| Error::new(ErrorKind::Failed, "queue.dead-letters", "a stored message is damaged").with_source(e))?;
    let read = || {
        Ok(DeadLetter {
            message_id: row.try_get("message_id")?,
            queue: queue.clone(),
            destination: row.try_get("destination")?,
            content_type: row.try_get("content_type")?,
            body: row.try_get("body")?,
            headers,
            attempts: row.try_get("attempts")?,
            reason: row.try_get("reason")?,
            last_error: row.try_get::<Option<String>, _>("last_error")?.unwrap_or_default(),
            enqueued_at_ms: from_sql(row.try_get("enqueued_ms")?),
            died_at_ms: from_sql(row.try_get("died_ms")?),
        })
    };
    read().map_err(|e| map_error("queue.dead-letters", e))
}
