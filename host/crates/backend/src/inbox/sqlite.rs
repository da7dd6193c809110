//! The inbox in one SQLite file: for a single host beside a broker.
//!
//! It forgets nothing by itself. Whoever owns it calls `forget` now and then
//! with a time one `DEDUPE_WINDOW` ago: by then a repeat is a new message.

use crate::sqlite::{
    Durability, SqliteFile, map_error, migrate, to_sql,
    writer::{Fault, Memory, Writer},
};
use async_trait::async_trait;
use futures::FutureExt;
use plinth_capability::{
    Error, ErrorKind, Result,
    inbox::{Arrival, Inbox},
    name::QueueName,
    now_ms,
};
use sqlx::SqliteConnection;
use std::path::Path;

const SCHEMA: &str = include_str!("sqlite.sql");
/// Caller-controlled: arrivals of one claim; a consumer asks a broker for fewer.
const ARRIVALS_MAX: usize = 10_000;
/// Publisher-controlled: bytes of an id or of a copy's name; four times what AMQP can carry.
const NAME_MAX: usize = 1_024;
/// Claims forgotten by one unit of work, so that claiming gets its turn.
const FORGET_STEP: u64 = 1_000;

// Claiming or renewing changes one row; a repeat changes none.
const CLAIM: &str = "
    INSERT INTO claims (queue, id, copy, renewed_ms) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (queue, id) DO UPDATE SET renewed_ms = max(renewed_ms, ?4) WHERE copy = ?3";
const FORGET: &str = "
    DELETE FROM claims WHERE (queue, id) IN (SELECT queue, id FROM claims WHERE renewed_ms < ?1 ORDER BY renewed_ms LIMIT ?2)";

/// Claims that wait at the same time share one commit.
pub struct SqliteInbox {
    writer: Writer<NoMemory>,
}

/// All is in the file.
struct NoMemory;

impl Memory for NoMemory {
    fn ended(&mut self, _: bool) {}
}

impl SqliteInbox {
    /// Opens or makes the file. `durability` says what an answered claim
    /// survives: with less than the broker's, a crash makes repeats new.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the file cannot be made or opened, `Failed` where a
    /// newer version of this program wrote it.
    pub async fn open(path: &Path, durability: Durability) -> Result<Self> {
        let file = SqliteFile::open(path, durability).await?;
        let mut connection = file.writer_connection().await?;
        migrate(&mut connection, &[SCHEMA]).await?;
        Ok(Self { writer: Writer::start(file, connection, NoMemory) })
    }

    /// Answers the claims it has accepted, then closes the file; later ones are `Unavailable`.
    pub async fn close(&self) {
        self.writer.close().await;
    }
}

#[async_trait]
impl Inbox for SqliteInbox {
    async fn claim(&self, queue: &QueueName, arrivals: &[Arrival]) -> Result<Vec<bool>> {
        if arrivals.is_empty() {
            return Ok(Vec::new());
        }
        check(arrivals)?;
        let (queue, arrivals) = (queue.clone(), arrivals.to_vec());
        self.writer.run("inbox.claim", move |_, connection| claim(connection, queue, arrivals).boxed()).await
    }

    async fn forget(&self, before_ms: u64) -> Result<u64> {
        let mut total = 0;
        loop {
            let forgotten = self.writer.run("inbox.forget", move |_, connection| forget(connection, before_ms).boxed()).await?;
            total += forgotten;
            if forgotten < FORGET_STEP {
                return Ok(total);
            }
        }
    }

    async fn health(&self) -> Result<()> {
        // An empty unit takes the write lock and the whole way through the task.
        self.writer.run("inbox.health", |_, _| async { Ok::<(), Fault>(()) }.boxed()).await
    }
}

fn check(arrivals: &[Arrival]) -> Result<()> {
    let refuse = |why| Err(Error::new(ErrorKind::LimitExceeded, "inbox.claim", why));
    if arrivals.len() > ARRIVALS_MAX {
        return refuse(format!("at most {ARRIVALS_MAX} arrivals in one call"));
    }
    if arrivals.iter().any(|arrival| arrival.id.len() > NAME_MAX || arrival.copy.len() > NAME_MAX) {
        return refuse(format!("an id and a copy have at most {NAME_MAX} bytes"));
    }
    Ok(())
}

/// One by one, so that two copies of one id in a batch are judged in their order.
async fn claim(connection: &mut SqliteConnection, queue: QueueName, arrivals: Vec<Arrival>) -> Result<Vec<bool>, Fault> {
    let now = to_sql(now_ms());
    let mut owners = Vec::with_capacity(arrivals.len());
    for Arrival { id, copy } in arrivals {
        let claim = sqlx::query(CLAIM).bind(queue.as_str()).bind(id).bind(copy).bind(now);
        let done = claim.execute(&mut *connection).await.map_err(|e| Fault::Broken(map_error("inbox.claim", e)))?;
        owners.push(done.rows_affected() == 1);
    }
    Ok(owners)
}

async fn forget(connection: &mut SqliteConnection, before_ms: u64) -> Result<u64, Fault> {
    let forget = sqlx::query(FORGET).bind(to_sql(before_ms)).bind(to_sql(FORGET_STEP));
    let done = forget.execute(connection).await.map_err(|e| Fault::Broken(map_error("inbox.forget", e)))?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection, Row, sqlite::SqliteConnectOptions};

    struct Opened {
        inbox: SqliteInbox,
        raw: SqliteConnection,
        queue: QueueName,
        _dir: tempfile::TempDir,
    }

    async fn open() -> Opened {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inbox.db");
        let inbox = SqliteInbox::open(&path, Durability::Process).await.unwrap();
        let raw = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
        Opened { inbox, raw, queue: QueueName::new("q").unwrap(), _dir: dir }
    }

    fn arrivals(count: usize) -> Vec<Arrival> {
        (0..count).map(|n| Arrival::new(n.to_string(), "1")).collect()
    }

    #[tokio::test]
    async fn a_claim_is_as_old_as_its_last_renewal() {
        let Opened { inbox, mut raw, queue, _dir } = open().await;
        inbox.claim(&queue, &arrivals(3)).await.unwrap();
        sqlx::raw_sql("UPDATE claims SET renewed_ms = 1000").execute(&mut raw).await.unwrap();
        // Its owner comes back for 0, somebody else for 1, nobody for 2.
        let again = [Arrival::new("0", "1"), Arrival::new("1", "2")];
        assert_eq!(inbox.claim(&queue, &again).await.unwrap(), [true, false]);
        assert_eq!(inbox.forget(1_000).await.unwrap(), 0, "renewed at that time is not before it");
        assert_eq!(inbox.forget(1_001).await.unwrap(), 2);
        let others = [Arrival::new("0", "2"), Arrival::new("1", "2"), Arrival::new("2", "2")];
        assert_eq!(inbox.claim(&queue, &others).await.unwrap(), [false, true, true]);
    }

    #[tokio::test]
    async fn forgetting_takes_as_many_steps_as_it_needs() {
        let Opened { inbox, mut raw, queue, _dir } = open().await;
        let many = usize::try_from(2 * FORGET_STEP + 1).unwrap();
        inbox.claim(&queue, &arrivals(many)).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {FORGET}"));
        let rows = sqlx::query(explain).bind(0).bind(1).fetch_all(&mut raw).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(plan.iter().any(|line| line.contains("USING COVERING INDEX ages (renewed_ms<?)")), "{plan:?}");
        assert!(!plan.iter().any(|line| line.starts_with("SCAN claims")), "{plan:?}");
        assert_eq!(inbox.forget(now_ms() + 1).await.unwrap(), 2 * FORGET_STEP + 1);
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused() {
        let Opened { inbox, queue, .. } = open().await;
        let long = "i".repeat(NAME_MAX + 1);
        for bad in [arrivals(ARRIVALS_MAX + 1), vec![Arrival::new(&long, "1")], vec![Arrival::new("1", &long)]] {
            assert_eq!(inbox.claim(&queue, &bad).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
        }
        let most = "i".repeat(NAME_MAX);
        assert_eq!(inbox.claim(&queue, &[Arrival::new(&most, &most)]).await.unwrap(), [true]);
    }

    #[tokio::test]
    async fn a_closed_inbox_has_stored_what_it_accepted_and_refuses() {
        let Opened { inbox, mut raw, queue, _dir } = open().await;
        let five = arrivals(5);
        let (accepted, ()) = tokio::join!(inbox.claim(&queue, &five), inbox.close());
        assert_eq!(accepted.unwrap(), [true; 5]);
        assert_eq!(inbox.claim(&queue, &five).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(inbox.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM claims").fetch_one(&mut raw).await.unwrap();
        assert_eq!(stored, 5);
    }
}
