//! The tree beside the log in its SQLite file.

use super::store::{Epoch, EpochRow, SignedHead, StoredTile, TreeStore};
use crate::{
    audit::{Encoded, SqliteAudit, sqlite::append_one},
    sqlite::{from_sql, map_error, to_sql, writer::Fault},
};
use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use plinth_capability::Result;
use sqlx::SqliteConnection;

const OPERATION: &str = "audit.tree";

fn failed(error: sqlx::Error) -> plinth_capability::Error {
    map_error(OPERATION, error)
}

impl SqliteAudit {
    /// One transaction of the file's writer.
    pub(in crate::audit) async fn change<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut SqliteConnection) -> BoxFuture<'a, sqlx::Result<T>> + Send + 'static,
    {
        self.writer
            .run(OPERATION, move |_, connection| async move { work(connection).await.map_err(|e| Fault::Broken(failed(e))) }.boxed())
            .await
    }
}

#[async_trait]
impl TreeStore for SqliteAudit {
    async fn epochs(&self) -> Result<Vec<Epoch>> {
        let sql = "SELECT epoch, origin, first, size, sealed FROM epochs ORDER BY epoch";
        let rows: Vec<EpochRow> = sqlx::query_as(sql).fetch_all(&self.readers).await.map_err(failed)?;
        Ok(rows.into_iter().map(|row| Epoch::read(row, from_sql)).collect())
    }

    async fn begin(&self, origin: &str) -> Result<bool> {
        let origin = origin.to_owned();
        self.change(move |connection| {
            async move {
                let sql = "INSERT INTO epochs (epoch, origin, first) VALUES (0, ?1, 0) ON CONFLICT DO NOTHING";
                Ok(sqlx::query(sql).bind(origin).execute(connection).await?.rows_affected() == 1)
            }
            .boxed()
        })
        .await
    }

    async fn records(&self, from: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>> {
        let sql = "SELECT sequence, bytes FROM records WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2";
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as(sql).bind(to_sql(from)).bind(limit).fetch_all(&self.readers).await.map_err(failed)?;
        Ok(rows.into_iter().map(|(sequence, bytes)| (from_sql(sequence), bytes)).collect())
    }

    async fn find(&self, id: &str) -> Result<Option<(u64, Vec<u8>)>> {
        let found = sqlx::query_as("SELECT sequence, bytes FROM records WHERE id = ?1").bind(id).fetch_optional(&self.readers).await;
        Ok(found.map_err(failed)?.map(|(sequence, bytes): (i64, Vec<u8>)| (from_sql(sequence), bytes)))
    }

    async fn tiles(&self, epoch: u64, wanted: &[(u8, u64)]) -> Result<Vec<StoredTile>> {
        let mut tiles = Vec::with_capacity(wanted.len());
        for (level, index) in wanted {
            let sql = "SELECT hashes FROM tiles WHERE epoch = ?1 AND level = ?2 AND tile = ?3";
            let found = sqlx::query_scalar(sql).bind(to_sql(epoch)).bind(level).bind(to_sql(*index));
            let found: Option<Vec<u8>> = found.fetch_optional(&self.readers).await.map_err(failed)?;
            tiles.extend(found.map(|hashes| StoredTile { level: *level, index: *index, hashes }));
        }
        Ok(tiles)
    }

    async fn grow(&self, from: &Epoch, size: u64, tiles: Vec<StoredTile>) -> Result<bool> {
        let (epoch, old) = (to_sql(from.number), to_sql(from.size));
        self.change(move |connection| {
            async move {
                let sql = "UPDATE epochs SET size = ?3 WHERE epoch = ?1 AND size = ?2 AND sealed IS NULL";
                let grown = sqlx::query(sql).bind(epoch).bind(old).bind(to_sql(size)).execute(&mut *connection).await?;
                if grown.rows_affected() == 0 {
                    return Ok(false);
                }
                for StoredTile { level, index, hashes } in tiles {
                    let sql = "INSERT INTO tiles (epoch, level, tile, hashes) VALUES (?1, ?2, ?3, ?4)
                    ON CONFLICT (epoch, level, tile) DO UPDATE SET hashes = excluded.hashes";
                    sqlx::query(sql).bind(epoch).bind(level).bind(to_sql(index)).bind(hashes).execute(&mut *connection).await?;
                }
                Ok(true)
            }
            .boxed()
        })
        .await
    }

    async fn signed(&self, epoch: u64) -> Result<Option<SignedHead>> {
        let sql = "SELECT size, note FROM checkpoints WHERE epoch = ?1 ORDER BY size DESC LIMIT 1";
        let head: Option<(i64, String)> = sqlx::query_as(sql).bind(to_sql(epoch)).fetch_optional(&self.readers).await.map_err(failed)?;
        Ok(head.map(|(size, note)| SignedHead { size: from_sql(size), note }))
    }

    async fn sign(&self, epoch: u64, head: &SignedHead) -> Result<bool> {
        let (epoch, size, note) = (to_sql(epoch), to_sql(head.size), head.note.clone());
        self.change(move |connection| {
            async move {
                let sql = "INSERT INTO checkpoints (epoch, size, note)
                SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM checkpoints WHERE epoch = ?1 AND size > ?2)
                ON CONFLICT (epoch, size) DO UPDATE SET note = excluded.note";
                Ok(sqlx::query(sql).bind(epoch).bind(size).bind(note).execute(connection).await?.rows_affected() == 1)
            }
            .boxed()
        })
        .await
    }

    async fn open_next(&self, from: &Epoch, number: u64, origin: &str, record: Encoded) -> Result<bool> {
        let (epoch, next, end, origin) = (to_sql(from.number), to_sql(number), to_sql(from.first + from.size), origin.to_owned());
        self.change(move |connection| {
            async move {
                let sql = "UPDATE epochs SET sealed = size WHERE epoch = ?1 AND first + size = ?2 AND sealed IS NULL
                AND ?2 = (SELECT coalesce(max(sequence) + 1, 0) FROM records)";
                if sqlx::query(sql).bind(epoch).bind(end).execute(&mut *connection).await?.rows_affected() == 0 {
                    return Ok(false);
                }
                let sql = "INSERT INTO epochs (epoch, origin, first) VALUES (?1, ?2, ?3)";
                sqlx::query(sql).bind(next).bind(origin).bind(end).execute(&mut *connection).await?;
                append_one(connection, record).await.map(|_| true)
            }
            .boxed()
        })
        .await
    }
}
