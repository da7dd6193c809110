//! The suite over PostgreSQL.

use crate::postgres::Fresh;
use async_trait::async_trait;
use plinth_backend::{
    Durability,
    audit::SqliteAudit,
    database::{PostgresDatabases, PostgresDatabasesConfig},
    queue::EmbeddedQueue,
};
use plinth_capability::{
    audit::AuditLog,
    conformance::database::{DatabaseFixture, Switched},
    database::Databases,
    queue::Queue,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};
use tempfile::TempDir;

pub(super) struct Fixture {
    pub(super) databases: Arc<PostgresDatabases>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) audit: Arc<dyn AuditLog>,
    answering: Arc<AtomicBool>,
    pub(super) fresh: Fresh,
    _receivers: TempDir,
}

impl Fixture {
    /// One more host over the same server, queue and audit log.
    pub(super) async fn host(&self, config: PostgresDatabasesConfig) -> Arc<PostgresDatabases> {
        let postgres = self.fresh.open().await;
        Arc::new(PostgresDatabases::open(postgres, config, Arc::clone(&self.queue), Arc::clone(&self.audit)).await.unwrap())
    }
}

pub(super) async fn fixture() -> Fixture {
    fixture_on(Fresh::new().await).await
}

pub(super) async fn fixture_on(fresh: Fresh) -> Fixture {
    let receivers = tempfile::tempdir().unwrap();
    let queue = EmbeddedQueue::open(&receivers.path().join("queue.db"), Durability::Process).await.unwrap();
    let audit = SqliteAudit::open(&receivers.path().join("audit.db"), Durability::Process).await.unwrap();
    let answering = Arc::new(AtomicBool::new(true));
    let queue: Arc<dyn Queue> = Arc::new(queue);
    let audit: Arc<dyn AuditLog> = Arc::new(audit);
    let queue: Arc<dyn Queue> = Arc::new(Switched { on: Arc::clone(&answering), inner: queue });
    let audit: Arc<dyn AuditLog> = Arc::new(Switched { on: Arc::clone(&answering), inner: audit });
    let config = PostgresDatabasesConfig::default();
    let databases = PostgresDatabases::open(fresh.open().await, config, Arc::clone(&queue), Arc::clone(&audit)).await.unwrap();
    Fixture { databases: Arc::new(databases), queue, audit, answering, fresh, _receivers: receivers }
}

#[async_trait]
impl DatabaseFixture for Fixture {
    fn databases(&self) -> Arc<dyn Databases> {
        self.databases.clone()
    }

    fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(&self.queue)
    }

    fn audit(&self) -> Arc<dyn AuditLog> {
        Arc::clone(&self.audit)
    }

    fn set_receivers(&self, answer: bool) {
        self.answering.store(answer, SeqCst);
    }

    async fn reopen(&mut self) {
        // Replacing it drops the old one, which ends its relay.
        self.databases = self.host(PostgresDatabasesConfig::default()).await;
    }
}

plinth_capability::database_conformance!(fixture());
