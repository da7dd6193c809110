//! The tree beside the log in PostgreSQL.

use super::store::{Epoch, EpochRow, SignedHead, StoredTile, TreeStore};
use crate::{
    audit::{
        Encoded, PostgresAudit,
        postgres::{append_on, find, marks},
    },
    postgres::{from_sql, map_error, to_sql},
};
use async_trait::async_trait;
use plinth_capability::Result;

const OPERATION: &str = "audit.tree";

fn failed(error: sqlx::Error) -> plinth_capability::Error {
    map_error(OPERATION, error)
}

#[async_trait]
impl TreeStore for PostgresAudit {
    async fn epochs(&self) -> Result<Vec<Epoch>> {
        let sql = "SELECT epoch, origin, first, size, sealed FROM plinth.audit_epochs ORDER BY epoch";
        let rows: Vec<EpochRow> = sqlx::query_as(sql).fetch_all(self.pool()).await.map_err(failed)?;
        Ok(rows.into_iter().map(|row| Epoch::read(row, from_sql)).collect())
    }

    async fn begin(&self, origin: &str) -> Result<bool> {
        let sql = "INSERT INTO plinth.audit_epochs (epoch, origin, first) VALUES (0, $1, 0) ON CONFLICT DO NOTHING";
        Ok(sqlx::query(sql).bind(origin).execute(self.pool()).await.map_err(failed)?.rows_affected() == 1)
    }

    async fn records(&self, from: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>> {
        find::rows(self.pool(), from..u64::MAX, u64::from(limit)).await
    }

    async fn find(&self, id: &str) -> Result<Option<(u64, Vec<u8>)>> {
        find::by_id(self.pool(), id).await
    }

    async fn mark(&self, records: &[(u64, Vec<u8>)]) -> Result<()> {
        marks::make(self.pool(), records).await
    }

    async fn tiles(&self, epoch: u64, wanted: &[(u8, u64)]) -> Result<Vec<StoredTile>> {
        let (levels, indices): (Vec<i16>, Vec<i64>) = wanted.iter().map(|(level, index)| (i16::from(*level), to_sql(*index))).unzip();
        let sql = "SELECT level, tile, hashes FROM unnest($2::smallint[], $3::bigint[]) AS w (level, tile)
            JOIN plinth.audit_tiles t USING (level, tile) WHERE t.epoch = $1";
        let rows: Vec<(i16, i64, Vec<u8>)> =
            sqlx::query_as(sql).bind(to_sql(epoch)).bind(levels).bind(indices).fetch_all(self.pool()).await.map_err(failed)?;
        let tile = |(level, index, hashes)| StoredTile { level: u8::try_from(level).unwrap_or(u8::MAX), index: from_sql(index), hashes };
        Ok(rows.into_iter().map(tile).collect())
    }

    async fn grow(&self, from: &Epoch, size: u64, tiles: Vec<StoredTile>) -> Result<bool> {
        let mut transaction = self.pool().begin().await.map_err(failed)?;
        let sql = "UPDATE plinth.audit_epochs SET size = $3 WHERE epoch = $1 AND size = $2 AND sealed IS NULL";
        let grown = sqlx::query(sql).bind(to_sql(from.number)).bind(to_sql(from.size)).bind(to_sql(size));
        if grown.execute(&mut *transaction).await.map_err(failed)?.rows_affected() == 0 {
            return Ok(false);
        }
        let (mut levels, mut indices, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        for tile in tiles {
            levels.push(i16::from(tile.level));
            indices.push(to_sql(tile.index));
            hashes.push(tile.hashes);
        }
        let sql = "INSERT INTO plinth.audit_tiles (epoch, level, tile, hashes) SELECT $1, * FROM unnest($2::smallint[], $3::bigint[], $4::bytea[])
            ON CONFLICT (epoch, level, tile) DO UPDATE SET hashes = excluded.hashes";
        let put = sqlx::query(sql).bind(to_sql(from.number)).bind(levels).bind(indices).bind(hashes);
        put.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn signed(&self, epoch: u64) -> Result<Option<SignedHead>> {
        let sql = "SELECT size, note FROM plinth.audit_checkpoints WHERE epoch = $1 ORDER BY size DESC LIMIT 1";
        let head: Option<(i64, String)> = sqlx::query_as(sql).bind(to_sql(epoch)).fetch_optional(self.pool()).await.map_err(failed)?;
        Ok(head.map(|(size, note)| SignedHead { size: from_sql(size), note }))
    }

    async fn sign(&self, epoch: u64, head: &SignedHead) -> Result<bool> {
        // The lock of the epoch puts two hosts that sign at once in order.
        let sql = "WITH held AS (SELECT epoch FROM plinth.audit_epochs WHERE epoch = $1 FOR UPDATE)
            INSERT INTO plinth.audit_checkpoints (epoch, size, note) SELECT epoch, $2, $3 FROM held
            WHERE NOT EXISTS (SELECT 1 FROM plinth.audit_checkpoints WHERE epoch = $1 AND size > $2)
            ON CONFLICT (epoch, size) DO UPDATE SET note = excluded.note";
        let signed = sqlx::query(sql).bind(to_sql(epoch)).bind(to_sql(head.size)).bind(&head.note).execute(self.pool()).await;
        Ok(signed.map_err(failed)?.rows_affected() == 1)
    }

    async fn open_next(&self, from: &Epoch, number: u64, origin: &str, record: Encoded) -> Result<bool> {
        let mut transaction = self.pool().begin().await.map_err(failed)?;
        let end: i64 =
            sqlx::query_scalar("SELECT next FROM plinth.audit_end FOR UPDATE").fetch_one(&mut *transaction).await.map_err(failed)?;
        let sql = "UPDATE plinth.audit_epochs SET sealed = size WHERE epoch = $1 AND first + size = $2 AND sealed IS NULL";
        let sealed = sqlx::query(sql).bind(to_sql(from.number)).bind(end).execute(&mut *transaction).await.map_err(failed)?;
        if from_sql(end) != from.first + from.size || sealed.rows_affected() == 0 {
            return Ok(false);
        }
        let sql = "INSERT INTO plinth.audit_epochs (epoch, origin, first) VALUES ($1, $2, $3)";
        let opened = sqlx::query(sql).bind(to_sql(number)).bind(origin).bind(end);
        opened.execute(&mut *transaction).await.map_err(failed)?;
        append_on(&mut transaction, vec![record]).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }
}
