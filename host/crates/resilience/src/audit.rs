//! The audit log behind its policy.

use crate::{Guarded, gate::Repeat};
use async_trait::async_trait;
use plinth_capability::{
    Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, Receipt, StoredRecord},
};

#[async_trait]
impl AuditLog for Guarded<dyn AuditLog> {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        self.gate.run("audit.append", Repeat::Unsafe, self.inner.append(records)).await
    }

    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        self.gate.run("audit.find", Repeat::Safe, self.inner.find(filter, cursor, limit)).await
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        self.gate.run("audit.record", Repeat::Safe, self.inner.record(id)).await
    }

    async fn count(&self) -> Result<u64> {
        self.gate.run("audit.count", Repeat::Safe, self.inner.count()).await
    }

    async fn health(&self) -> Result<()> {
        self.gate.probe("audit.health", self.inner.health()).await
    }
}
