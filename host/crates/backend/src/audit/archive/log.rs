//! The log as one: records in the database, and those that are in the archive only.

use super::read::Shelved;
use crate::audit::{search, tree::AuditTree};
use async_trait::async_trait;
use plinth_capability::{
    Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, Receipt, StoredRecord},
};
use std::sync::Arc;

/// An audit log whose old records may have been taken out of its database.
pub struct ArchivedAudit {
    log: Arc<dyn AuditLog>,
    shelved: Arc<Shelved>,
}

impl ArchivedAudit {
    /// `log` is what `tree` was opened over.
    pub fn new(log: Arc<dyn AuditLog>, tree: &AuditTree) -> Self {
        Self { log, shelved: tree.shelved() }
    }
}

#[async_trait]
impl AuditLog for ArchivedAudit {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        self.log.append(records).await
    }

    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        search::find(self.shelved.shelf(), Some(&self.shelved), filter, cursor, limit).await
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        match self.log.record(id).await? {
            Some(found) => Ok(Some(found)),
            None => self.shelved.find(id).await?.map(|found| search::read(found.sequence, &found.bytes)).transpose(),
        }
    }

    async fn count(&self) -> Result<u64> {
        self.log.count().await
    }

    async fn health(&self) -> Result<()> {
        self.log.health().await
    }
}
