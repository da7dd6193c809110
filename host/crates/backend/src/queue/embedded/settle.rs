//! Ending a delivery.

use super::memory::{QueueId, QueueMemory};
use crate::{
    queue::policy::Step,
    sqlite::{map_error, to_sql, writer::Fault},
};
use plinth_capability::{
    Error, ErrorKind, Result, now_ms,
    queue::{Delivery, Settlement},
};
use sqlx::SqliteConnection;

/// One delivery of one message, as its token names it.
#[derive(Clone, Copy)]
struct Lease {
    queue: QueueId,
    message: i64,
    delivery: i64,
}

pub(super) async fn settle(
    memory: &mut QueueMemory,
    connection: &mut SqliteConnection,
    delivery: Delivery,
    settlement: Settlement,
) -> Result<(), Fault> {
    let entry = memory.entry(connection, &delivery.queue, "queue.settle").await?;
    let lease = parse(entry.id, &delivery.token).map_err(Fault::Refused)?;
    if settlement == Settlement::Ack {
        return forget(connection, lease).await;
    }
    let attempt: Option<u32> =
        sqlx::query_scalar("SELECT attempts FROM messages WHERE id = ?1 AND queue = ?2 AND state = 1 AND deliveries = ?3")
            .bind(lease.message)
            .bind(lease.queue)
            .bind(lease.delivery)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|e| Fault::Broken(map_error("queue.settle", e)))?;
    let attempt = attempt.ok_or_else(lost)?;
    let now = now_ms();
    match memory.step(&entry.spec, attempt, settlement) {
        Step::Forget => return forget(connection, lease).await,
        Step::PutBack => put_back(connection, lease).await?,
        Step::Retry { wait, error } => {
            let due = now.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            retry(connection, lease, due, &error).await?;
        }
        Step::Die { reason, error } => die(connection, lease, now, reason, &error).await?,
    }
    memory.touch(entry.id);
    Ok(())
}

async fn forget(connection: &mut SqliteConnection, lease: Lease) -> Result<(), Fault> {
    let deleted = sqlx::query("DELETE FROM messages WHERE id = ?1 AND queue = ?2 AND state = 1 AND deliveries = ?3")
        .bind(lease.message)
        .bind(lease.queue)
        .bind(lease.delivery)
        .execute(connection)
        .await
        .map_err(|e| Fault::Broken(map_error("queue.settle", e)))?;
    if deleted.rows_affected() == 0 { Err(lost()) } else { Ok(()) }
}

async fn put_back(connection: &mut SqliteConnection, lease: Lease) -> Result<(), Fault> {
    let sql = "UPDATE messages SET state = 0, lease_ms = NULL, attempts = attempts - 1 WHERE id = ?1";
    change(connection, sqlx::query(sql).bind(lease.message)).await
}

async fn retry(connection: &mut SqliteConnection, lease: Lease, due: u64, error: &str) -> Result<(), Fault> {
    let sql = "UPDATE messages SET state = 0, lease_ms = NULL, due_ms = ?2, last_error = ?3 WHERE id = ?1";
    change(connection, sqlx::query(sql).bind(lease.message).bind(to_sql(due)).bind(error)).await
}

async fn die(connection: &mut SqliteConnection, lease: Lease, now: u64, reason: &str, error: &str) -> Result<(), Fault> {
    let sql = "UPDATE messages SET state = 2, lease_ms = NULL, died_ms = ?2, reason = ?3, last_error = ?4 WHERE id = ?1";
    change(connection, sqlx::query(sql).bind(lease.message).bind(to_sql(now)).bind(reason).bind(error)).await
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

async fn change(connection: &mut SqliteConnection, query: Query<'_>) -> Result<(), Fault> {
    query.execute(connection).await.map_err(|e| Fault::Broken(map_error("queue.settle", e)))?;
    Ok(())
}

fn parse(queue: QueueId, token: &str) -> Result<Lease> {
    let parsed = token.split_once('-').and_then(|(message, delivery)| Some((message.parse().ok()?, delivery.parse().ok()?)));
    let Some((message, delivery)) = parsed else {
        return Err(Error::new(ErrorKind::InvalidInput, "queue.settle", "this queue did not give that token"));
    };
    Ok(Lease { queue, message, delivery })
}

fn lost() -> Fault {
    Fault::Refused(Error::new(ErrorKind::Conflict, "queue.settle", "the lease of this delivery has ended"))
}
