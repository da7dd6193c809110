//! The embedded audit log: one SQLite file that only grows.

mod append;
pub(super) mod find;

pub(super) use append::append_one;

use crate::sqlite::{
    Durability, SqliteFile, from_sql, map_error, migrate,
    writer::{Fault, Memory, Writer},
};
use async_trait::async_trait;
use aws_lc_rs::hmac;
use futures::FutureExt;
use plinth_capability::{
    Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, Receipt, StoredRecord},
};
use sqlx::SqlitePool;
use std::path::Path;

/// Connections for finding and counting.
const READERS: u32 = 4;

pub struct SqliteAudit {
    pub(super) writer: Writer<Nothing>,
    pub(super) readers: SqlitePool,
    pub(super) cursor_key: hmac::Key,
}

/// The next sequence is asked of the file each time: the end of an index is
/// cheap, and another process may have appended.
pub(super) struct Nothing;

impl Memory for Nothing {
    fn ended(&mut self, _committed: bool) {}
}

impl SqliteAudit {
    pub async fn open(path: &Path, durability: Durability) -> Result<Self> {
        let file = SqliteFile::open(path, durability).await?;
        let mut connection = file.writer_connection().await?;
        let steps = [include_str!("schema.sql"), include_str!("tree.sql"), include_str!("archive.sql"), include_str!("persons.sql")];
        migrate(&mut connection, &steps).await?;
        let readers = file.readers(READERS).await?;
        let key: Vec<u8> =
            sqlx::query_scalar("SELECT key FROM cursor_key").fetch_one(&readers).await.map_err(|e| map_error("audit.open", e))?;
        let cursor_key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(Self { writer: Writer::start(file, connection, Nothing), readers, cursor_key })
    }

    /// Stores what was accepted, then closes the file.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

#[async_trait]
impl AuditLog for SqliteAudit {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        let encoded = super::encode(records)?;
        self.writer.run("audit.append", move |_, connection| append::append(connection, encoded).boxed()).await
    }

    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        super::search::find(self, None, filter, cursor, limit).await
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        find::record(&self.readers, id).await
    }

    async fn count(&self) -> Result<u64> {
        // Without gaps from 0, so the last number tells how many.
        let count: i64 = sqlx::query_scalar("SELECT coalesce(max(sequence) + 1, 0) FROM records")
            .fetch_one(&self.readers)
            .await
            .map_err(|e| map_error("audit.count", e))?;
        Ok(from_sql(count))
    }

    async fn health(&self) -> Result<()> {
        // An empty unit takes the write lock and the whole way through the task.
        self.writer.run("audit.health", |_, _| async { Ok::<(), Fault>(()) }.boxed()).await
    }
}
