//! What is known of the archive beside the log in its SQLite file.

use super::shelf::{Archived, Cut, Page, Pruned, PrunedRow, Shelf};
use crate::{
    audit::{
        Encoded, SqliteAudit,
        sqlite::{append_one, find},
    },
    sqlite::{from_sql, map_error, to_sql},
};
use async_trait::async_trait;
use aws_lc_rs::hmac;
use futures::FutureExt;
use plinth_capability::{Result, audit::AuditFilter};
use sqlx::{Row, sqlite::SqliteRow};
use std::ops::Range;

fn failed(error: sqlx::Error) -> plinth_capability::Error {
    map_error("audit.archive", error)
}

fn archived(row: &SqliteRow) -> sqlx::Result<Archived> {
    Ok(Archived {
        epoch: from_sql(row.try_get("epoch")?),
        segment: from_sql(row.try_get("segment")?),
        manifest: row.try_get("manifest")?,
        frontier: row.try_get("frontier")?,
        from_ms: from_sql(row.try_get("from_ms")?),
        until_ms: from_sql(row.try_get("until_ms")?),
        least_id: row.try_get("least_id")?,
        greatest_id: row.try_get("greatest_id")?,
    })
}

#[async_trait]
impl Shelf for SqliteAudit {
    /// One host works on a data folder.
    async fn turn(&self, _holder: &str, _for_ms: u64) -> Result<bool> {
        Ok(true)
    }

    async fn segment(&self, epoch: u64, segment: u64) -> Result<Option<Archived>> {
        let row = sqlx::query("SELECT * FROM segments WHERE epoch = ?1 AND segment = ?2").bind(to_sql(epoch)).bind(to_sql(segment));
        let row = row.fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|row| archived(&row).map_err(failed)).transpose()
    }

    async fn segments(&self, epoch: u64) -> Result<u64> {
        let count = sqlx::query_scalar("SELECT count(*) FROM segments WHERE epoch = ?1").bind(to_sql(epoch));
        count.fetch_one(&self.readers).await.map(from_sql).map_err(failed)
    }

    async fn shelve(&self, archived: &Archived) -> Result<bool> {
        let Archived { epoch, segment, manifest, frontier, from_ms, until_ms, least_id, greatest_id } = archived.clone();
        self.change(move |connection| {
            async move {
                let sql = "INSERT INTO segments (epoch, segment, manifest, frontier, from_ms, until_ms, least_id, greatest_id)
                SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?2 = (SELECT count(*) FROM segments WHERE epoch = ?1)";
                let put = sqlx::query(sql).bind(to_sql(epoch)).bind(to_sql(segment)).bind(manifest).bind(frontier);
                let put = put.bind(to_sql(from_ms)).bind(to_sql(until_ms)).bind(least_id).bind(greatest_id);
                Ok(put.execute(connection).await?.rows_affected() == 1)
            }
            .boxed()
        })
        .await
    }

    async fn among(&self, id: &str) -> Result<Vec<(u64, u64)>> {
        let sql = "SELECT epoch, segment FROM segments WHERE least_id <= ?1 AND greatest_id >= ?1 ORDER BY epoch, segment";
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(id).fetch_all(&self.readers).await.map_err(failed)?;
        Ok(rows.into_iter().map(|(epoch, segment)| (from_sql(epoch), from_sql(segment))).collect())
    }

    async fn pruned(&self) -> Result<Vec<Pruned>> {
        let rows: sqlx::Result<Vec<PrunedRow>> =
            sqlx::query_as("SELECT epoch, first, leaves, expired FROM pruned ORDER BY first").fetch_all(&self.readers).await;
        Ok(rows.map_err(failed)?.into_iter().map(|row| Pruned::read(row, from_sql)).collect())
    }

    async fn prune(&self, cut: Cut, record: Option<Encoded>) -> Result<bool> {
        let (epoch, first, from, to) = (to_sql(cut.epoch), to_sql(cut.first), to_sql(cut.from), to_sql(cut.to));
        self.change(move |connection| {
            async move {
                let begin = "INSERT INTO pruned (epoch, first, leaves, expired) VALUES (?1, ?2, 0, 0) ON CONFLICT DO NOTHING";
                sqlx::query(begin).bind(epoch).bind(first).execute(&mut *connection).await?;
                let sql = "UPDATE pruned SET leaves = ?3 WHERE epoch = ?1 AND leaves = ?2";
                let moved = sqlx::query(sql).bind(epoch).bind(from).bind(to).execute(&mut *connection).await?;
                if moved.rows_affected() == 0 {
                    return Ok(false);
                }
                let sql = "DELETE FROM records WHERE sequence >= ?1 AND sequence < ?2";
                sqlx::query(sql).bind(first + from).bind(first + to).execute(&mut *connection).await?;
                if let Some(record) = record {
                    append_one(connection, record).await?;
                }
                Ok(true)
            }
            .boxed()
        })
        .await
    }

    async fn expire(&self, epoch: u64, expired: u64, record: Encoded) -> Result<bool> {
        let (epoch, expired) = (to_sql(epoch), to_sql(expired));
        self.change(move |connection| {
            async move {
                let sql = "UPDATE pruned SET expired = ?2 + 1 WHERE epoch = ?1 AND expired = ?2";
                let moved = sqlx::query(sql).bind(epoch).bind(expired).execute(&mut *connection).await?;
                if moved.rows_affected() == 0 {
                    return Ok(false);
                }
                append_one(connection, record).await.map(|_| true)
            }
            .boxed()
        })
        .await
    }

    async fn page(&self, filter: &AuditFilter, sequences: Range<u64>, limit: u64) -> Result<Page> {
        let end = sequences.end;
        let records = find::matching(&self.readers, filter, sequences, limit).await?;
        let read = records.len() as u64;
        let until = if read < limit { end } else { records.last().map_or(end, |last| last.sequence + 1) };
        Ok(Page { records, until, read })
    }

    fn cursor_key(&self) -> &hmac::Key {
        &self.cursor_key
    }
}
