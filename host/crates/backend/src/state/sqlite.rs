//! The host's own state in one SQLite file: slots, components, job runs.

use crate::sqlite::{Durability, SqliteFile, from_sql, map_error, migrate, to_sql};
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    name::PluginName,
    now_ms,
    state::{HostState, RUNS_KEPT, StoredSlot},
};
use sqlx::SqlitePool;
use std::path::Path;

const SCHEMA: &str = include_str!("state.sql");

/// Changes are rare and each waits for the disk, whatever the queue is set to.
pub struct SqliteState {
    pool: SqlitePool,
}

impl SqliteState {
    pub async fn open(path: &Path) -> Result<Self> {
        let file = SqliteFile::open(path, Durability::Power).await?;
        let pool = file.writer().await?;
        let mut connection = pool.acquire().await.map_err(|e| map_error("state.open", e))?;
        migrate(&mut connection, &[SCHEMA]).await?;
        drop(connection);
        Ok(Self { pool })
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[async_trait]
impl HostState for SqliteState {
    async fn slots(&self) -> Result<Vec<StoredSlot>> {
        let failed = |e| map_error("state.slots", e);
        let rows: Vec<String> = sqlx::query_scalar("SELECT slot FROM slots ORDER BY plugin").fetch_all(&self.pool).await.map_err(failed)?;
        let damaged = |e| Error::new(ErrorKind::Failed, "state.slots", "a stored slot is damaged").with_source(e);
        rows.iter().map(|row| serde_json::from_str(row).map_err(damaged)).collect()
    }

    async fn save_slot(&self, slot: &StoredSlot) -> Result<()> {
        let failed = |e| map_error("state.save-slot", e);
        let encode = |e| Error::new(ErrorKind::Internal, "state.save-slot", "encoding failed").with_source(e);
        let json = serde_json::to_string(slot).map_err(encode)?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::query("INSERT INTO slots (plugin, slot) VALUES (?1, ?2) ON CONFLICT (plugin) DO UPDATE SET slot = ?2")
            .bind(slot.plugin.as_str())
            .bind(json)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query(RAISE_GENERATION).bind(to_sql(slot.generation)).execute(&mut *transaction).await.map_err(failed)?;
        sqlx::query(FORGET_COMPONENTS).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn remove_slot(&self, plugin: &PluginName, generation: u64) -> Result<()> {
        let failed = |e| map_error("state.remove-slot", e);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let delete = sqlx::query("DELETE FROM slots WHERE plugin = ?1").bind(plugin.as_str());
        delete.execute(&mut *transaction).await.map_err(failed)?;
        sqlx::query(RAISE_GENERATION).bind(to_sql(generation)).execute(&mut *transaction).await.map_err(failed)?;
        sqlx::query(FORGET_COMPONENTS).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn generation(&self) -> Result<u64> {
        let highest: i64 = sqlx::query_scalar("SELECT highest FROM generation")
            .fetch_one(&self.pool)
            .await
            .map_err(|e| map_error("state.generation", e))?;
        Ok(from_sql(highest))
    }

    async fn put_component(&self, digest: &str, bytes: &Bytes) -> Result<()> {
        // The digest names the bytes, so what is there already is the same.
        sqlx::query("INSERT INTO components (digest, bytes) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING")
            .bind(digest)
            .bind(bytes.as_ref())
            .execute(&self.pool)
            .await
            .map_err(|e| map_error("state.put-component", e))?;
        Ok(())
    }

    async fn component(&self, digest: &str) -> Result<Option<Bytes>> {
        let bytes: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytes FROM components WHERE digest = ?1")
            .bind(digest)
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| map_error("state.component", e))?;
        Ok(bytes.map(Bytes::from))
    }

    async fn claim_run(&self, plugin: &PluginName, job: &str, run_id: &str, lease_ms: u64) -> Result<bool> {
        let now = now_ms();
        // Inserting or taking over changes one row; losing changes none.
        let claimed = sqlx::query(
            "INSERT INTO runs (plugin, job, run_id, lease_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (plugin, job, run_id) DO UPDATE SET lease_ms = ?4 WHERE finished_ms IS NULL AND lease_ms <= ?5",
        )
        .bind(plugin.as_str())
        .bind(job)
        .bind(run_id)
        .bind(to_sql(now.saturating_add(lease_ms)))
        .bind(to_sql(now))
        .execute(&self.pool)
        .await
        .map_err(|e| map_error("state.claim-run", e))?;
        Ok(claimed.rows_affected() == 1)
    }

    async fn finish_run(&self, plugin: &PluginName, job: &str, run_id: &str, success: bool) -> Result<()> {
        let failed = |e| map_error("state.finish-run", e);
        let now = to_sql(now_ms());
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        // The first end of a run is its end.
        sqlx::query(
            "INSERT INTO runs (plugin, job, run_id, lease_ms, finished_ms, success) VALUES (?1, ?2, ?3, 0, ?4, ?5)
             ON CONFLICT (plugin, job, run_id) DO UPDATE SET finished_ms = ?4, success = ?5 WHERE finished_ms IS NULL",
        )
        .bind(plugin.as_str())
        .bind(job)
        .bind(run_id)
        .bind(now)
        .bind(success)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        let forget = sqlx::query(FORGET_RUNS).bind(plugin.as_str()).bind(job).bind(now).bind(RUNS_KEPT);
        forget.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn last_success_ms(&self, plugin: &PluginName, job: &str) -> Result<Option<u64>> {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(finished_ms) FROM runs WHERE plugin = ?1 AND job = ?2 AND success = 1")
            .bind(plugin.as_str())
            .bind(job)
            .fetch_one(&self.pool)
            .await
            .map_err(|e| map_error("state.last-success", e))?;
        Ok(last.map(from_sql))
    }

    async fn health(&self) -> Result<()> {
        sqlx::query("SELECT highest FROM generation").fetch_one(&self.pool).await.map_err(|e| map_error("state.health", e))?;
        Ok(())
    }
}

const RAISE_GENERATION: &str = "UPDATE generation SET highest = max(highest, ?1)";

/// Only where a slot changes: a component is put just before the slot that names it.
const FORGET_COMPONENTS: &str = "DELETE FROM components WHERE digest NOT IN (
    SELECT slot ->> '$.active.digest' FROM slots
    UNION ALL SELECT slot ->> '$.previous.digest' FROM slots WHERE slot ->> '$.previous.digest' IS NOT NULL)";

/// A lease that ended leaves its run as free as if it had never been claimed,
/// so that row says nothing either.
const FORGET_RUNS: &str = "DELETE FROM runs WHERE plugin = ?1 AND job = ?2 AND (
    (finished_ms IS NULL AND lease_ms <= ?3)
    OR (finished_ms IS NOT NULL
        AND run_id NOT IN (SELECT run_id FROM runs WHERE plugin = ?1 AND job = ?2 AND finished_ms IS NOT NULL
                           ORDER BY finished_ms DESC, run_id DESC LIMIT ?4)
        AND run_id IS NOT (SELECT run_id FROM runs WHERE plugin = ?1 AND job = ?2 AND success = 1
                           ORDER BY finished_ms DESC, run_id DESC LIMIT 1)))";
