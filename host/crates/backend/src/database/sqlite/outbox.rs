//! The outbox in a SQLite file: rows written in a guest's transaction, read by the relay.

use super::{conn::Conn, pool::Pool};
use crate::{
    Durability,
    database::{
        draft::{Draft, Load, Times, read, unwritable},
        outbox::{OutboxStore, Parcel},
    },
    sqlite::{SqliteFile, from_sql, map_error, to_sql},
};
use async_trait::async_trait;
use plinth_capability::{Error, ErrorKind, Result, now_ms};
use sqlx::{Arguments, Row, SqliteConnection, sqlite::SqliteArguments, sqlite::SqliteRow};
use std::time::Duration;
use tokio::sync::Mutex;

pub(super) const SCHEMA: &str = include_str!("outbox.sql");

/// How long settling waits for the writers before it.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

/// What one transaction has put into the outbox so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    load: Load,
    /// The first row whose delay or expiry counts from the commit.
    timed_from: Option<i64>,
}

impl Tally {
    pub(super) fn is_empty(&self) -> bool {
        self.load.is_empty()
    }

    pub(super) fn count(&mut self, draft: &Draft) -> Result<()> {
        self.load.add(draft)
    }

    pub(super) async fn insert(&mut self, conn: &mut Conn, draft: Draft) -> Result<()> {
        const SQL: &str = "INSERT INTO _plinth_outbox (lane, id, head, body, delay_ms, expires_ms) VALUES ($1, $2, $3, $4, $5, $6)";
        let timed = draft.is_timed();
        let mut row = SqliteArguments::default();
        let bound = row.add(draft.lane).and_then(|()| row.add(draft.id)).and_then(|()| row.add(draft.head));
        let bound =
            bound.and_then(|()| row.add(draft.body)).and_then(|()| row.add(draft.delay_ms)).and_then(|()| row.add(draft.expires_ms));
        bound.map_err(|e| unwritable("outbox.publish").with_source(e))?;
        let done = conn.host("outbox.publish", SQL, row).await?;
        if timed {
            self.timed_from = self.timed_from.or(done.last_insert_id);
        }
        Ok(())
    }

    /// Called last before the commit: delays count from there.
    pub(super) async fn stamp(&self, conn: &mut Conn) -> Result<()> {
        const SQL: &str = "UPDATE _plinth_outbox SET committed_at_ms = $1 WHERE sequence >= $2";
        let Some(first) = self.timed_from else { return Ok(()) };
        let mut row = SqliteArguments::default();
        row.add(to_sql(now_ms())).and_then(|()| row.add(first)).map_err(|e| unwritable("outbox.publish").with_source(e))?;
        conn.host("outbox.publish", SQL, row).await.map(drop)
    }
}

/// The relay's view. It has a connection of its own whose commits do not wait
/// for the disk: a row that comes back after a loss of power is delivered again
/// under its id, and a write for each delivery would halve the guests' commits.
pub(super) struct SqliteOutbox {
    file: SqliteFile,
    /// Held while settling, so that the relay waits in line with the guests.
    writer: Pool,
    conn: Mutex<Option<SqliteConnection>>,
}

impl SqliteOutbox {
    pub(super) async fn open(file: &SqliteFile, writer: Pool) -> Result<Self> {
        let file = SqliteFile::open(file.path(), Durability::Process).await?;
        Ok(Self { file, writer, conn: Mutex::default() })
    }

    pub(super) async fn pending(readers: &Pool, wait: Duration) -> Result<u64> {
        let mut lease = readers.acquire(wait).await?;
        let conn = lease.conn()?;
        let count = sqlx::query_scalar("SELECT count(*) FROM _plinth_outbox").fetch_one(&mut conn.raw).await;
        count.map(from_sql).map_err(|e| map_error("outbox.pending", e))
    }

    /// A connection that failed is opened again.
    async fn connection<'a>(&self, slot: &'a mut Option<SqliteConnection>) -> Result<&'a mut SqliteConnection> {
        if slot.is_none() {
            *slot = Some(self.file.writer_connection().await?);
        }
        slot.as_mut().ok_or_else(|| Error::new(ErrorKind::Internal, "outbox.open", "no connection"))
    }
}

#[async_trait]
impl OutboxStore for SqliteOutbox {
    async fn waiting(&self, skip: &[String], most: u32) -> Result<Vec<Parcel>> {
        const SQL: &str = "SELECT sequence, lane, head, body, delay_ms, expires_ms, committed_at_ms FROM _plinth_outbox
            WHERE lane NOT IN (SELECT value FROM json_each($1)) ORDER BY sequence LIMIT $2";
        let skip = serde_json::to_string(skip).map_err(|e| unwritable("outbox.read").with_source(e))?;
        let mut slot = self.conn.lock().await;
        let rows = sqlx::query(SQL).bind(skip).bind(most).fetch_all(self.connection(&mut slot).await?).await;
        let rows = rows.inspect_err(|_| *slot = None).map_err(|e| map_error("outbox.read", e))?;
        let now = now_ms();
        rows.iter().map(|row| parcel(row, now).map_err(|e| map_error("outbox.read", e))).collect()
    }

    async fn settle(&self, delivered: &[i64], dead: &[(i64, String)]) -> Result<()> {
        let mut slot = self.conn.lock().await;
        let line = self.writer.acquire_writer(SETTLE_WAIT).await?;
        let settled = settle(self.connection(&mut slot).await?, delivered, dead).await;
        drop(line);
        settled.inspect_err(|_| *slot = None).map_err(|e| map_error("outbox.settle", e))
    }
}

async fn settle(conn: &mut SqliteConnection, delivered: &[i64], dead: &[(i64, String)]) -> sqlx::Result<()> {
    const FORGET: &str = "DELETE FROM _plinth_outbox WHERE sequence IN (SELECT value FROM json_each($1))";
    const BURY: &str = "INSERT INTO _plinth_outbox_dead (lane, id, head, body, reason, died_at_ms)
        SELECT lane, id, head, body, $2, $3 FROM _plinth_outbox WHERE sequence = $1";
    let mut transaction = sqlx::Connection::begin_with(conn, "BEGIN IMMEDIATE").await?;
    for (sequence, reason) in dead {
        sqlx::query(BURY).bind(sequence).bind(reason).bind(to_sql(now_ms())).execute(&mut *transaction).await?;
    }
    let gone: Vec<i64> = delivered.iter().copied().chain(dead.iter().map(|(sequence, _)| *sequence)).collect();
    let gone = serde_json::to_string(&gone).map_err(|e| sqlx::Error::Encode(e.into()))?;
    sqlx::query(FORGET).bind(gone).execute(&mut *transaction).await?;
    transaction.commit().await
}

fn parcel(row: &SqliteRow, now: u64) -> sqlx::Result<Parcel> {
    let lane: String = row.try_get("lane")?;
    let times = Times {
        delay: from_sql(row.try_get("delay_ms")?),
        expires: row.try_get::<Option<i64>, _>("expires_ms")?.map(from_sql),
        gone: now.saturating_sub(from_sql(row.try_get("committed_at_ms")?)),
    };
    let content = read(&lane, row.try_get("head")?, row.try_get("body")?, times);
    Ok(Parcel { sequence: row.try_get("sequence")?, lane, content })
}
