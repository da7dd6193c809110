//! The host's own state in PostgreSQL, shared by any number of hosts.

use crate::postgres::{Postgres, from_sql, map_error, to_sql};
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    name::PluginName,
    now_ms,
    state::{HostState, RUNS_KEPT, StoredSlot},
};
use sqlx::{Connection, PgConnection, PgPool};

/// Told, after the commit, of each change of a slot; the payload is the highest generation.
pub const CHANNEL: &str = "plinth_fleet";

pub struct PostgresState {
    postgres: Postgres,
}

impl PostgresState {
    pub fn new(postgres: Postgres) -> Self {
        Self { postgres }
    }

    fn pool(&self) -> &PgPool {
        self.postgres.pool()
    }

    /// As [`HostState::save_slot`], in a transaction of the caller's, who commits.
    pub async fn save_slot_on(connection: &mut PgConnection, slot: &StoredSlot) -> Result<()> {
        let encode = |e| Error::new(ErrorKind::Internal, "state.save-slot", "encoding failed").with_source(e);
        let json = serde_json::to_string(slot).map_err(encode)?;
        save(connection, slot, json).await.map_err(|e| map_error("state.save-slot", e))
    }

    /// As [`HostState::remove_slot`], in a transaction of the caller's, who commits.
    pub async fn remove_slot_on(connection: &mut PgConnection, plugin: &PluginName, generation: u64) -> Result<()> {
        remove(connection, plugin, generation).await.map_err(|e| map_error("state.remove-slot", e))
    }

    /// As [`HostState::put_component`]; in one transaction with the slot that
    /// needs it, no other host's change can forget it in between.
    pub async fn put_component_on(connection: &mut PgConnection, digest: &str, bytes: &Bytes) -> Result<()> {
        // The digest names the bytes, so what is there already is the same.
        sqlx::query("INSERT INTO plinth.components (digest, bytes) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
            .bind(digest)
            .bind(bytes.as_ref())
            .execute(connection)
            .await
            .map(drop)
            .map_err(|e| map_error("state.put-component", e))
    }
}

async fn save(connection: &mut PgConnection, slot: &StoredSlot, json: String) -> sqlx::Result<()> {
    // First, because its row lock puts the changes of all hosts in order.
    raise_generation(connection, slot.generation).await?;
    sqlx::query(
        "INSERT INTO plinth.slots (plugin, active, previous, slot) VALUES ($1, $2, $3, $4)
         ON CONFLICT (plugin) DO UPDATE SET active = $2, previous = $3, slot = $4",
    )
    .bind(slot.plugin.as_str())
    .bind(&slot.active.digest)
    .bind(slot.previous.as_ref().map(|previous| &previous.digest))
    .bind(json)
    .execute(&mut *connection)
    .await?;
    sqlx::query(FORGET_COMPONENTS).execute(connection).await.map(drop)
}

async fn remove(connection: &mut PgConnection, plugin: &PluginName, generation: u64) -> sqlx::Result<()> {
    raise_generation(connection, generation).await?;
    sqlx::query("DELETE FROM plinth.slots WHERE plugin = $1").bind(plugin.as_str()).execute(&mut *connection).await?;
    sqlx::query(FORGET_COMPONENTS).execute(connection).await.map(drop)
}

async fn raise_generation(connection: &mut PgConnection, generation: u64) -> sqlx::Result<()> {
    let highest: i64 = sqlx::query_scalar("UPDATE plinth.generation SET highest = greatest(highest, $1) RETURNING highest")
        .bind(to_sql(generation))
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(highest.to_string()).execute(connection).await.map(drop)
}

#[async_trait]
impl HostState for PostgresState {
    async fn slots(&self) -> Result<Vec<StoredSlot>> {
        let rows: sqlx::Result<Vec<String>> =
            sqlx::query_scalar("SELECT slot FROM plinth.slots ORDER BY plugin").fetch_all(self.pool()).await;
        let damaged = |e| Error::new(ErrorKind::Failed, "state.slots", "a stored slot is damaged").with_source(e);
        rows.map_err(|e| map_error("state.slots", e))?.iter().map(|row| serde_json::from_str(row).map_err(damaged)).collect()
    }

    async fn save_slot(&self, slot: &StoredSlot) -> Result<()> {
        let failed = |e| map_error("state.save-slot", e);
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        Self::save_slot_on(&mut transaction, slot).await?;
        transaction.commit().await.map_err(failed)
    }

    async fn remove_slot(&self, plugin: &PluginName, generation: u64) -> Result<()> {
        let failed = |e| map_error("state.remove-slot", e);
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        Self::remove_slot_on(&mut transaction, plugin, generation).await?;
        transaction.commit().await.map_err(failed)
    }

    async fn generation(&self) -> Result<u64> {
        let highest: sqlx::Result<i64> = sqlx::query_scalar("SELECT highest FROM plinth.generation").fetch_one(self.pool()).await;
        highest.map(from_sql).map_err(|e| map_error("state.generation", e))
    }

    async fn put_component(&self, digest: &str, bytes: &Bytes) -> Result<()> {
        let mut connection = self.pool().acquire().await.map_err(|e| map_error("state.put-component", e))?;
        Self::put_component_on(&mut connection, digest, bytes).await
    }

    async fn component(&self, digest: &str) -> Result<Option<Bytes>> {
        let bytes: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytes FROM plinth.components WHERE digest = $1")
            .bind(digest)
            .fetch_optional(self.pool())
            .await
            .map_err(|e| map_error("state.component", e))?;
        Ok(bytes.map(Bytes::from))
    }

    async fn claim_run(&self, plugin: &PluginName, job: &str, run_id: &str, lease_ms: u64) -> Result<bool> {
        // Inserting or taking over changes one row; losing changes none. The
        // time is the server's: hosts' clocks may differ.
        let claimed = sqlx::query(
            "INSERT INTO plinth.runs AS r (plugin, job, run_id, lease_ms)
             SELECT $1, $2, $3, t.now + least($4, 9223372036854775807 - t.now) FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) t
             ON CONFLICT (plugin, job, run_id) DO UPDATE SET lease_ms = excluded.lease_ms
             WHERE r.finished_ms IS NULL AND r.lease_ms <= floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        )
        .bind(plugin.as_str())
        .bind(job)
        .bind(run_id)
        .bind(to_sql(lease_ms))
        .execute(self.pool())
        .await
        .map_err(|e| map_error("state.claim-run", e))?;
        Ok(claimed.rows_affected() == 1)
    }

    async fn finish_run(&self, plugin: &PluginName, job: &str, run_id: &str, success: bool) -> Result<()> {
        let failed = |e| map_error("state.finish-run", e);
        let now = to_sql(now_ms());
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        // The first end of a run is its end.
        sqlx::query(
            "INSERT INTO plinth.runs AS r (plugin, job, run_id, lease_ms, finished_ms, success) VALUES ($1, $2, $3, 0, $4, $5)
             ON CONFLICT (plugin, job, run_id) DO UPDATE SET finished_ms = $4, success = $5 WHERE r.finished_ms IS NULL",
        )
        .bind(plugin.as_str())
        .bind(job)
        .bind(run_id)
        .bind(now)
        .bind(success)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        let forget = sqlx::query(FORGET_RUNS).bind(plugin.as_str()).bind(job).bind(now).bind(i64::from(RUNS_KEPT));
        forget.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn last_success_ms(&self, plugin: &PluginName, job: &str) -> Result<Option<u64>> {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(finished_ms) FROM plinth.runs WHERE plugin = $1 AND job = $2 AND success")
            .bind(plugin.as_str())
            .bind(job)
            .fetch_one(self.pool())
            .await
            .map_err(|e| map_error("state.last-success", e))?;
        Ok(last.map(from_sql))
    }

    async fn health(&self) -> Result<()> {
        self.postgres.health("state.health").await
    }
}

/// Only where a slot changes: a component is put just before the slot, or with the proposal, that names it.
const FORGET_COMPONENTS: &str = "DELETE FROM plinth.components c WHERE NOT EXISTS (
    SELECT 1 FROM plinth.slots s WHERE s.active = c.digest OR s.previous = c.digest)
    AND NOT EXISTS (SELECT 1 FROM plinth.proposals p WHERE p.digest = c.digest)";

/// A lease that ended leaves its run as free as if it had never been claimed,
/// so that row says nothing either.
const FORGET_RUNS: &str = "DELETE FROM plinth.runs WHERE plugin = $1 AND job = $2 AND (
    (finished_ms IS NULL AND lease_ms <= $3)
    OR (finished_ms IS NOT NULL
        AND run_id NOT IN (SELECT run_id FROM plinth.runs WHERE plugin = $1 AND job = $2 AND finished_ms IS NOT NULL
                           ORDER BY finished_ms DESC, run_id COLLATE \"C\" DESC LIMIT $4)
        AND run_id IS DISTINCT FROM (SELECT run_id FROM plinth.runs WHERE plugin = $1 AND job = $2 AND success
                           ORDER BY finished_ms DESC, run_id COLLATE \"C\" DESC LIMIT 1)))";
