//! Storing messages for the queues they go to.

use super::memory::{QueueId, QueueMemory};
use crate::{
    queue::check_message,
    sqlite::{map_error, to_sql, writer::Fault},
};
use plinth_capability::{
    Error, ErrorKind, Result, now_ms,
    queue::{DEDUPE_WINDOW, Destination, Message},
};
use sqlx::SqliteConnection;
use std::time::Duration;

/// How often ids older than the window are forgotten, and how many at once.
const PRUNE_EVERY_MS: u64 = 1_000;
const PRUNE_ROWS: i64 = 5_000;
/// SQLITE_CONSTRAINT_TRIGGER: our own trigger refused, the queue is full.
const REFUSED_BY_TRIGGER: &str = "1811";

// One statement for all queues of a topic: a full queue among them stores none.
const INSERT: &str = "
    INSERT INTO messages (queue, message_id, destination, content_type, headers, routing_key, correlation_id,
                          priority, delay_ms, enqueued_ms, due_ms, expires_ms, body)
    SELECT target.value, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 FROM json_each(?1) AS target
    WHERE NOT EXISTS (SELECT 1 FROM message_ids WHERE queue = target.value AND message_id = ?2 AND seen_ms > ?14)";

pub(super) async fn publish(
    memory: &mut QueueMemory,
    connection: &mut SqliteConnection,
    destination: Destination,
    messages: Vec<Message>,
) -> Result<Vec<Result<()>>, Fault> {
    let now = now_ms();
    prune(memory, connection, now).await?;
    let targets = memory.targets(connection, &destination).await?;
    let name = match &destination {
        Destination::Topic(topic) => topic.as_str(),
        Destination::Queue(queue) => queue.as_str(),
    };
    let mut outcomes = Vec::with_capacity(messages.len());
    for message in &messages {
        let outcome = match (check_message("queue.publish", message), &targets) {
            (Err(refused), _) => Err(refused),
            (Ok(()), None) => Err(Error::new(ErrorKind::Unroutable, "queue.publish", format!("no queue `{name}`"))),
            (Ok(()), Some(targets)) => insert(connection, targets, name, message, now).await?,
        };
        outcomes.push(outcome);
    }
    for target in targets.iter().flatten() {
        memory.touch(*target);
    }
    Ok(outcomes)
}

/// The inner result is this message's, the outer one the transaction's.
async fn insert(
    connection: &mut SqliteConnection,
    targets: &[QueueId],
    destination: &str,
    message: &Message,
    now: u64,
) -> Result<Result<()>, Fault> {
    if targets.is_empty() {
        return Ok(Ok(()));
    }
    let encode = |e| Fault::Refused(Error::new(ErrorKind::Internal, "queue.publish", "encoding failed").with_source(e));
    let inserted = sqlx::query(INSERT)
        .bind(serde_json::to_string(targets).map_err(encode)?)
        .bind(&message.id)
        .bind(destination)
        .bind(&message.content_type)
        .bind(serde_json::to_string(&message.headers).map_err(encode)?)
        .bind(&message.routing_key)
        .bind(&message.correlation_id)
        .bind(message.priority)
        .bind(millis(message.delay))
        .bind(to_sql(now))
        .bind(to_sql(now) + millis(message.delay))
        .bind(message.expires.map(|expires| to_sql(now) + millis(expires)))
        .bind(message.body.as_ref())
        .bind(to_sql(now) - millis(DEDUPE_WINDOW))
        .execute(connection)
        .await;
    match inserted {
        Ok(_) => Ok(Ok(())),
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(REFUSED_BY_TRIGGER) => {
            Ok(Err(Error::new(ErrorKind::LimitExceeded, "queue.publish", "the queue is full")))
        }
        Err(e) => Err(Fault::Broken(map_error("queue.publish", e))),
    }
}

async fn prune(memory: &mut QueueMemory, connection: &mut SqliteConnection, now: u64) -> Result<(), Fault> {
    if now < memory.pruned_ms.saturating_add(PRUNE_EVERY_MS) {
        return Ok(());
    }
    memory.pruned_ms = now;
    sqlx::query("DELETE FROM message_ids WHERE id IN (SELECT id FROM message_ids ORDER BY id LIMIT ?1) AND seen_ms <= ?2")
        .bind(PRUNE_ROWS)
        .bind(to_sql(now) - millis(DEDUPE_WINDOW))
        .execute(connection)
        .await
        .map_err(|e| Fault::Broken(map_error("queue.publish", e)))?;
    Ok(())
}

/// Checked to be far below SQLite's largest integer.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}
