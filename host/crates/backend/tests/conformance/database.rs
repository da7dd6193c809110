//! The database's suite over every backend, with the embedded queue and audit log behind the outbox.

mod postgres;
mod postgres_faults;
mod postgres_walls;

mod sqlite {
    use crate::support::snapshot;
    use async_trait::async_trait;
    use plinth_backend::{
        Durability,
        audit::SqliteAudit,
        database::{SqliteDatabases, SqliteDatabasesConfig},
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

    struct Fixture {
        databases: Arc<SqliteDatabases>,
        dir: TempDir,
        queue: Arc<dyn Queue>,
        audit: Arc<dyn AuditLog>,
        answering: Arc<AtomicBool>,
        /// Kept until the end: the files of what was killed, and of queue and audit log.
        kept: Vec<TempDir>,
    }

    async fn open(dir: &TempDir, queue: &Arc<dyn Queue>, audit: &Arc<dyn AuditLog>) -> Arc<SqliteDatabases> {
        let config = SqliteDatabasesConfig { dir: dir.path().into(), durability: Durability::Process, ..SqliteDatabasesConfig::default() };
        Arc::new(SqliteDatabases::open(config, Arc::clone(queue), Arc::clone(audit)).await.unwrap())
    }

    async fn fixture() -> Fixture {
        let (dir, receivers) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let queue = EmbeddedQueue::open(&receivers.path().join("queue.db"), Durability::Process).await.unwrap();
        let audit = SqliteAudit::open(&receivers.path().join("audit.db"), Durability::Process).await.unwrap();
        let answering = Arc::new(AtomicBool::new(true));
        let queue: Arc<dyn Queue> = Arc::new(queue);
        let audit: Arc<dyn AuditLog> = Arc::new(audit);
        let queue: Arc<dyn Queue> = Arc::new(Switched { on: Arc::clone(&answering), inner: queue });
        let audit: Arc<dyn AuditLog> = Arc::new(Switched { on: Arc::clone(&answering), inner: audit });
        Fixture { databases: open(&dir, &queue, &audit).await, dir, queue, audit, answering, kept: vec![receivers] }
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
            let dir = snapshot(&self.dir, "shared%2Fpeople.db");
            // Replacing it drops the old one, which ends its relays.
            self.databases = open(&dir, &self.queue, &self.audit).await;
            self.kept.push(std::mem::replace(&mut self.dir, dir));
        }
    }

    plinth_capability::database_conformance!(fixture());
}
