//! The audit log in PostgreSQL: one sequence without gaps over all hosts.

mod append;
mod batch;
pub(super) mod find;
pub(super) mod marks;

pub(super) use append::append_on;

use crate::postgres::{Postgres, from_sql, map_error};
use async_trait::async_trait;
use aws_lc_rs::hmac;
use batch::Batcher;
use plinth_capability::{
    Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, Receipt, StoredRecord},
};
use sqlx::PgPool;

pub struct PostgresAudit {
    postgres: Postgres,
    batcher: Batcher,
    pub(super) cursor_key: hmac::Key,
}

impl PostgresAudit {
    pub(super) fn pool(&self) -> &PgPool {
        self.postgres.pool()
    }

    pub async fn open(postgres: Postgres) -> Result<Self> {
        let key: sqlx::Result<Vec<u8>> = sqlx::query_scalar("SELECT cursor_key FROM plinth.settings").fetch_one(postgres.pool()).await;
        let key = key.map_err(|e| map_error("audit.open", e))?;
        let batcher = Batcher::start(postgres.pool());
        Ok(Self { postgres, batcher, cursor_key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// Stores what was accepted and takes nothing more; the server is closed apart.
    pub async fn close(&self) {
        self.batcher.close().await;
    }
}

#[async_trait]
impl AuditLog for PostgresAudit {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        let encoded = super::encode(records)?;
        if encoded.is_empty() {
            return Ok(Vec::new());
        }
        self.batcher.append(encoded).await
    }

    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        super::search::find(self, None, filter, cursor, limit).await
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        find::record(self.postgres.pool(), id).await
    }

    async fn count(&self) -> Result<u64> {
        let next: sqlx::Result<i64> = sqlx::query_scalar("SELECT next FROM plinth.audit_end").fetch_one(self.postgres.pool()).await;
        next.map(from_sql).map_err(|e| map_error("audit.count", e))
    }

    async fn health(&self) -> Result<()> {
        self.postgres.health("audit.health").await
    }
}
