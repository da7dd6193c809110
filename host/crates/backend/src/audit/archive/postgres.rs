//! What is known of the archive beside the log in PostgreSQL.

use super::shelf::{Archived, Cut, Page, Pruned, PrunedRow, Shelf};
use crate::{
    audit::{
        Encoded, PostgresAudit,
        postgres::{append_on, find},
    },
    postgres::{from_sql, map_error, to_sql},
};
use async_trait::async_trait;
use aws_lc_rs::hmac;
use plinth_capability::{Result, audit::AuditFilter};
use sqlx::{Row, postgres::PgRow};
use std::ops::Range;

fn failed(error: sqlx::Error) -> plinth_capability::Error {
    map_error("audit.archive", error)
}

fn archived(row: &PgRow) -> sqlx::Result<Archived> {
    let number = |name| row.try_get(name).map(from_sql);
    Ok(Archived {
        epoch: number("epoch")?,
        segment: number("segment")?,
        manifest: row.try_get("manifest")?,
        frontier: row.try_get("frontier")?,
        from_ms: number("from_ms")?,
        until_ms: number("until_ms")?,
        least_id: row.try_get("least_id")?,
        greatest_id: row.try_get("greatest_id")?,
    })
}

#[async_trait]
impl Shelf for PostgresAudit {
    async fn turn(&self, holder: &str, for_ms: u64) -> Result<bool> {
        // By the server's clock, the one that all hosts have in common.
        let sql = "UPDATE plinth.audit_archive_turn SET holder = $1, until = now() + $2 * interval '1 millisecond'
            WHERE holder = $1 OR until < now()";
        let taken = sqlx::query(sql).bind(holder).bind(to_sql(for_ms)).execute(self.pool()).await;
        Ok(taken.map_err(failed)?.rows_affected() == 1)
    }

    async fn segment(&self, epoch: u64, segment: u64) -> Result<Option<Archived>> {
        let row = sqlx::query("SELECT * FROM plinth.audit_segments WHERE epoch = $1 AND segment = $2");
        let row = row.bind(to_sql(epoch)).bind(to_sql(segment)).fetch_optional(self.pool()).await.map_err(failed)?;
        row.map(|row| archived(&row).map_err(failed)).transpose()
    }

    async fn segments(&self, epoch: u64) -> Result<u64> {
        let count = sqlx::query_scalar("SELECT count(*) FROM plinth.audit_segments WHERE epoch = $1").bind(to_sql(epoch));
        count.fetch_one(self.pool()).await.map(from_sql).map_err(failed)
    }

    async fn shelve(&self, archived: &Archived) -> Result<bool> {
        let sql = "INSERT INTO plinth.audit_segments (epoch, segment, manifest, frontier, from_ms, until_ms, least_id, greatest_id)
            SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE $2 = (SELECT count(*) FROM plinth.audit_segments WHERE epoch = $1)
            ON CONFLICT DO NOTHING";
        let put = sqlx::query(sql).bind(to_sql(archived.epoch)).bind(to_sql(archived.segment)).bind(&archived.manifest);
        let put = put.bind(&archived.frontier).bind(to_sql(archived.from_ms)).bind(to_sql(archived.until_ms));
        let put = put.bind(&archived.least_id).bind(&archived.greatest_id).execute(self.pool()).await;
        Ok(put.map_err(failed)?.rows_affected() == 1)
    }

    async fn among(&self, id: &str) -> Result<Vec<(u64, u64)>> {
        let sql = "SELECT epoch, segment FROM plinth.audit_segments WHERE least_id <= $1 AND greatest_id >= $1 ORDER BY epoch, segment";
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(id).fetch_all(self.pool()).await.map_err(failed)?;
        Ok(rows.into_iter().map(|(epoch, segment)| (from_sql(epoch), from_sql(segment))).collect())
    }

    async fn pruned(&self) -> Result<Vec<Pruned>> {
        let sql = "SELECT epoch, first, leaves, expired FROM plinth.audit_pruned ORDER BY first";
        let rows: Vec<PrunedRow> = sqlx::query_as(sql).fetch_all(self.pool()).await.map_err(failed)?;
        Ok(rows.into_iter().map(|row| Pruned::read(row, from_sql)).collect())
    }

    async fn prune(&self, cut: Cut, record: Option<Encoded>) -> Result<bool> {
        let (epoch, first, from, to) = (to_sql(cut.epoch), to_sql(cut.first), to_sql(cut.from), to_sql(cut.to));
        let mut transaction = self.pool().begin().await.map_err(failed)?;
        let begin = "INSERT INTO plinth.audit_pruned (epoch, first, leaves, expired) VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING";
        sqlx::query(begin).bind(epoch).bind(first).execute(&mut *transaction).await.map_err(failed)?;
        let sql = "UPDATE plinth.audit_pruned SET leaves = $3 WHERE epoch = $1 AND leaves = $2";
        let moved = sqlx::query(sql).bind(epoch).bind(from).bind(to).execute(&mut *transaction).await.map_err(failed)?;
        if moved.rows_affected() == 0 {
            return Ok(false);
        }
        let sql = "DELETE FROM plinth.audit WHERE sequence >= $1 AND sequence < $2";
        sqlx::query(sql).bind(first + from).bind(first + to).execute(&mut *transaction).await.map_err(failed)?;
        if let Some(record) = record {
            append_on(&mut transaction, vec![record]).await?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn expire(&self, epoch: u64, expired: u64, record: Encoded) -> Result<bool> {
        let mut transaction = self.pool().begin().await.map_err(failed)?;
        let sql = "UPDATE plinth.audit_pruned SET expired = $2 + 1 WHERE epoch = $1 AND expired = $2";
        let moved = sqlx::query(sql).bind(to_sql(epoch)).bind(to_sql(expired)).execute(&mut *transaction).await.map_err(failed)?;
        if moved.rows_affected() == 0 {
            return Ok(false);
        }
        append_on(&mut transaction, vec![record]).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn page(&self, filter: &AuditFilter, sequences: Range<u64>, limit: u64) -> Result<Page> {
        find::page(self.pool(), filter, sequences, limit).await
    }

    async fn skip(&self, filter: &AuditFilter, sequences: Range<u64>) -> Result<u64> {
        find::skip(self.pool(), filter, sequences).await
    }

    fn cursor_key(&self) -> &hmac::Key {
        &self.cursor_key
    }
}
