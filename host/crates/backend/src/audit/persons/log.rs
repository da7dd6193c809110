//! The log as those who append see it: what they say of persons is sealed before anything stores it.

use async_trait::async_trait;
use plinth_capability::{
    Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, Deferred, Receipt, StoredRecord},
    persons::Persons,
};
use std::sync::Arc;

/// The outermost of an audit log's layers: whatever is below it may write down what it is given.
pub struct PseudonymousAudit {
    log: Arc<dyn AuditLog>,
    persons: Arc<dyn Persons>,
}

impl PseudonymousAudit {
    #[must_use]
    pub fn new(log: Arc<dyn AuditLog>, persons: Arc<dyn Persons>) -> Self {
        Self { log, persons }
    }

    async fn sealed(&self, records: Vec<AuditRecord>) -> Result<Vec<AuditRecord>> {
        let mut sealed = Vec::with_capacity(records.len());
        for record in records {
            sealed.push(self.persons.seal(record).await?);
        }
        Ok(sealed)
    }
}

#[async_trait]
impl AuditLog for PseudonymousAudit {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        self.log.append(self.sealed(records).await?).await
    }

    async fn defer(&self, records: Vec<AuditRecord>) -> Result<Vec<Deferred>> {
        self.log.defer(self.sealed(records).await?).await
    }

    /// An actor is found under both names: in records from before actors were pseudonymous, too.
    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        match filter.actor.as_deref().and_then(|actor| self.persons.pseudonymous(actor)) {
            None => self.log.find(filter, cursor, limit).await,
            also => self.log.find(&AuditFilter { or_actor: also, ..filter.clone() }, cursor, limit).await,
        }
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        self.log.record(id).await
    }

    async fn count(&self) -> Result<u64> {
        self.log.count().await
    }

    async fn health(&self) -> Result<()> {
        self.log.health().await
    }
}
