//! The outbox in PostgreSQL: rows written in a guest's transaction, read by the relays of all hosts.

use super::conn::Conn;
use crate::{
    database::{
        draft::{Draft, Load, Times, read, unwritable},
        outbox::{OutboxStore, Parcel},
    },
    postgres::{from_sql, map_error, to_sql},
};
use async_trait::async_trait;
use plinth_capability::{Error, ErrorKind, Result, now_ms};
use sqlx::{
    Arguments, ConnectOptions, Connection, PgConnection, PgPool, Row,
    postgres::{PgArguments, PgConnectOptions, PgRow},
};
use std::time::Duration;
use tokio::{sync::Mutex, time::timeout};

/// How long the relay waits for the server, each time.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lanes one relay holds at a time.
const LANES_MAX: i64 = 16;
/// The first half of a lane's advisory lock; the other is a hash of its name.
const LANE_LOCK: i32 = 0x706c_6e74;

/// What one transaction has put into the outbox so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    load: Load,
    /// The rows whose delay or expiry counts from the commit.
    timed: Vec<i64>,
}

impl Tally {
    pub(super) fn is_empty(&self) -> bool {
        self.load.is_empty()
    }

    pub(super) fn count(&mut self, draft: &Draft) -> Result<()> {
        self.load.add(draft)
    }

    pub(super) async fn insert(&mut self, conn: &mut Conn, token: &str, draft: Draft) -> Result<()> {
        const SQL: &str = "SELECT _plinth_door.put($1, $2, $3, $4, $5, $6, $7)";
        let timed = draft.is_timed();
        let mut row = PgArguments::default();
        let bound = row.add(token).and_then(|()| row.add(draft.lane)).and_then(|()| row.add(draft.id)).and_then(|()| row.add(draft.head));
        let bound =
            bound.and_then(|()| row.add(draft.body)).and_then(|()| row.add(draft.delay_ms)).and_then(|()| row.add(draft.expires_ms));
        bound.map_err(|e| unwritable("outbox.publish").with_source(e))?;
        let place = conn.ask("outbox.publish", SQL, row).await?;
        self.timed.extend(place.filter(|_| timed));
        Ok(())
    }

    /// Called last before the commit: delays count from there.
    pub(super) async fn stamp(&self, conn: &mut Conn, token: &str) -> Result<()> {
        const SQL: &str = "SELECT NULL::bigint FROM _plinth_door.stamp($1, $2, $3)";
        if self.timed.is_empty() {
            return Ok(());
        }
        let mut row = PgArguments::default();
        let bound = row.add(token).and_then(|()| row.add(&self.timed)).and_then(|()| row.add(to_sql(now_ms())));
        bound.map_err(|e| unwritable("outbox.publish").with_source(e))?;
        conn.ask("outbox.publish", SQL, row).await.map(drop)
    }
}

/// One relay's view. A lane is claimed by an advisory lock of the relay's own
/// connection, so that no two relays deliver it at once and the server frees
/// it when the relay is gone. Its commits do not wait for the disk: a row that
/// comes back after a crash is delivered again under its id.
pub(super) struct PostgresOutbox {
    options: PgConnectOptions,
    conn: Mutex<Option<PgConnection>>,
}

impl PostgresOutbox {
    pub(super) fn new(options: &PgConnectOptions) -> Self {
        let options = options.clone().options([
            ("synchronous_commit", "off"),
            ("statement_timeout", "10s"),
            // So that the lanes of a host whose network broke are free within a quarter of a minute.
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "3"),
            ("tcp_keepalives_count", "3"),
        ]);
        Self { options, conn: Mutex::default() }
    }

    pub(super) async fn pending(pool: &PgPool) -> Result<u64> {
        let count: sqlx::Result<i64> = sqlx::query_scalar("SELECT count(*) FROM plinth.outbox").fetch_one(pool).await;
        count.map(from_sql).map_err(|e| map_error("outbox.pending", e))
    }

    /// Runs `work` on the relay's connection; one that failed is opened again, without its claims.
    async fn with<T>(&self, operation: &'static str, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        let mut slot = self.conn.lock().await;
        // Taken out: if this is dropped in the middle, so is the connection.
        let taken = slot.take();
        let run = async {
            let mut conn = match taken {
                Some(conn) => conn,
                None => self.options.connect().await?,
            };
            let answer = work(&mut conn).await?;
            Ok((conn, answer))
        };
        let late = |_| Error::new(ErrorKind::Unavailable, operation, "the database does not answer");
        let (conn, answer) = timeout(PATIENCE, run).await.map_err(late)?.map_err(|e| map_error(operation, e))?;
        *slot = Some(conn);
        Ok(answer)
    }
}

#[async_trait]
impl OutboxStore for PostgresOutbox {
    async fn waiting(&self, skip: &[String], most: u32) -> Result<Vec<Parcel>> {
        let rows = self.with("outbox.read", async |conn| claim_and_read(conn, skip, i64::from(most)).await).await?;
        let now = now_ms();
        rows.iter().map(|row| parcel(row, now).map_err(|e| map_error("outbox.read", e))).collect()
    }

    async fn settle(&self, delivered: &[i64], dead: &[(i64, String)]) -> Result<()> {
        self.with("outbox.settle", async |conn| settle(conn, delivered, dead).await).await
    }
}

/// Steps from lane to lane along the index, however many rows each has.
const LANES: &str = "
    WITH RECURSIVE lanes(lane) AS (
        (SELECT lane FROM plinth.outbox ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT o.lane FROM plinth.outbox o WHERE o.lane > lanes.lane ORDER BY o.lane LIMIT 1) FROM lanes WHERE lanes.lane IS NOT NULL
    )
    SELECT lane FROM lanes WHERE lane IS NOT NULL AND lane <> ALL ($1)";

async fn claim_and_read(conn: &mut PgConnection, skip: &[String], most: i64) -> sqlx::Result<Vec<PgRow>> {
    // What was claimed for the batch before is settled by now.
    sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut *conn).await?;
    let lanes: Vec<String> = sqlx::query_scalar(LANES).bind(skip).fetch_all(&mut *conn).await?;
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    // Lanes in turn from anywhere, so that one of many is not always last.
    let claim = "SELECT lane FROM (SELECT lane FROM unnest($1::text[]) AS l(lane) ORDER BY random() LIMIT $3) AS picked
        WHERE pg_try_advisory_lock($2, hashtext(lane))";
    let claimed: Vec<String> = sqlx::query_scalar(claim).bind(&lanes).bind(LANE_LOCK).bind(LANES_MAX).fetch_all(&mut *conn).await?;
    // A statement of its own: it sees what the relay before had settled when it let go.
    let sql = "SELECT sequence, lane, head, body, delay_ms, expires_ms, committed_at_ms FROM plinth.outbox
        WHERE lane = ANY ($1) ORDER BY sequence LIMIT $2";
    sqlx::query(sql).bind(&claimed).bind(most).fetch_all(conn).await
}

async fn settle(conn: &mut PgConnection, delivered: &[i64], dead: &[(i64, String)]) -> sqlx::Result<()> {
    const FORGET: &str = "DELETE FROM plinth.outbox WHERE sequence = ANY ($1)";
    const BURY: &str = "INSERT INTO plinth.outbox_dead (sequence, lane, database, id, head, body, reason, died_at_ms)
        SELECT sequence, lane, database, id, head, body, $2, $3 FROM plinth.outbox WHERE sequence = $1 ON CONFLICT DO NOTHING";
    if dead.is_empty() {
        return sqlx::query(FORGET).bind(delivered).execute(conn).await.map(drop);
    }
    let mut transaction = conn.begin().await?;
    for (sequence, reason) in dead {
        sqlx::query(BURY).bind(sequence).bind(reason).bind(to_sql(now_ms())).execute(&mut *transaction).await?;
    }
    let gone: Vec<i64> = delivered.iter().copied().chain(dead.iter().map(|(sequence, _)| *sequence)).collect();
    sqlx::query(FORGET).bind(gone).execute(&mut *transaction).await?;
    transaction.commit().await
}

fn parcel(row: &PgRow, now: u64) -> sqlx::Result<Parcel> {
    let lane: String = row.try_get("lane")?;
    let times = Times {
        delay: from_sql(row.try_get("delay_ms")?),
        expires: row.try_get::<Option<i64>, _>("expires_ms")?.map(from_sql),
        gone: now.saturating_sub(from_sql(row.try_get("committed_at_ms")?)),
    };
    let content = read(&lane, row.try_get("head")?, row.try_get("body")?, times);
    Ok(Parcel { sequence: row.try_get("sequence")?, lane, content })
}
