//! A fresh PostgreSQL database for each test, or a whole server for one that breaks it.

use plinth_backend::postgres::{Postgres, PostgresConfig};
use plinth_services::shared::{self, Database};
use sqlx::{Connection, PgConnection};

/// Where a test's host keeps its state.
pub(crate) struct Fresh {
    url: String,
    superuser: String,
    /// Dropped with this; `None` on a server of the test's own.
    _database: Option<Database>,
}

impl Fresh {
    pub(crate) async fn new() -> Self {
        let database = shared::postgres_database().await.unwrap();
        Self { url: database.url(), superuser: database.url(), _database: Some(database) }
    }

    pub(crate) fn on(server: &plinth_services::Postgres) -> Self {
        let url = format!("{}/postgres", server.url());
        Self { superuser: url.clone(), url, _database: None }
    }

    /// The same, for a host that logs in as another role.
    pub(crate) fn of(mut self, role: &str) -> Self {
        self.url = self.url.replace("//postgres@", &format!("//{role}@"));
        self
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        PostgresConfig { url: self.url(), ..PostgresConfig::default() }
    }

    pub(crate) async fn open(&self) -> Postgres {
        Postgres::open(&self.config()).await.unwrap()
    }

    /// As the superuser, to look behind the host's back.
    pub(crate) async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.superuser).await.unwrap()
    }
}

/// A host whose role does not own the schema.
mod limited {
    use super::Fresh;
    use crate::support::audit_record;
    use plinth_backend::{
        audit::{AuditTree, AuditTreeConfig, PostgresAudit},
        postgres::{Postgres, prepare},
    };
    use plinth_capability::{ErrorKind, audit::AuditLog, transparency::Transparency};
    use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
    use std::sync::Arc;

    /// A role of its own, as the server has them for all databases.
    async fn role(fresh: &Fresh, rights: &str) -> String {
        let role = format!("limited_{}", uuid::Uuid::new_v4().simple());
        fresh.admin().await.execute(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN {rights}"))).await.unwrap();
        role
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_host_that_does_not_own_the_schema_works_and_cannot_change_what_it_wrote() {
        let (fresh, outside) = (Fresh::new().await, tempfile::tempdir().unwrap());
        let role = role(&fresh, "CREATEROLE").await;
        let owner = fresh.config();
        let fresh = fresh.of(&role);
        // Nobody has made the schema yet, and this role may not.
        assert!(Postgres::open(&fresh.config()).await.is_err());
        prepare(&owner, &role).await.unwrap();
        prepare(&owner, &role).await.unwrap();
        let postgres = fresh.open().await;
        let log = Arc::new(PostgresAudit::open(postgres).await.unwrap());
        log.append((0..600).map(|_| audit_record()).collect()).await.unwrap();
        let stored = audit_record();
        for _ in 0..2 {
            assert_eq!(log.append(vec![stored.clone()]).await.unwrap()[0].sequence, 600);
        }
        let config = AuditTreeConfig {
            origin: None,
            key: outside.path().join("key"),
            checkpoints: outside.path().join("checkpoints"),
            archive: None,
        };
        let tree = AuditTree::over_postgres(log.clone(), config).await.unwrap();
        assert_eq!(tree.trees().await.unwrap()[0].signed, 601);

        let mut host = PgConnection::connect(&fresh.url()).await.unwrap();
        for sql in [
            "UPDATE plinth.audit SET bytes = ''",
            "DELETE FROM plinth.audit",
            "TRUNCATE plinth.audit",
            "DROP TABLE plinth.audit",
            "ALTER TABLE plinth.audit DISABLE TRIGGER ALL",
            "DROP TRIGGER audit_is_not_changed ON plinth.audit",
            "SET session_replication_role = replica",
            "UPDATE plinth.audit_marks SET bits = ''",
            "DELETE FROM plinth.audit_checkpoints",
            "UPDATE plinth.audit_segments SET manifest = ''",
            "DELETE FROM plinth.audit_pruned",
            "DELETE FROM plinth.audit_end",
            "UPDATE plinth.settings SET install = 'x'",
            "DELETE FROM plinth.migrations",
            "CREATE TABLE plinth.mine (x int)",
            "CREATE OR REPLACE FUNCTION plinth.audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        ] {
            assert!(host.execute(sql).await.is_err(), "{sql}");
        }
        assert_eq!(log.count().await.unwrap(), 601);

        // After an upgrade its owner has to come first.
        fresh
            .admin()
            .await
            .execute("DELETE FROM plinth.migrations WHERE version = (SELECT max(version) FROM plinth.migrations)")
            .await
            .unwrap();
        let refused = Postgres::open(&fresh.config()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied);
        assert!(refused.message().contains("plinth postgres prepare"), "{refused}");
    }

    #[tokio::test]
    async fn a_role_that_nothing_would_hold_back_is_refused() {
        let fresh = Fresh::new().await;
        for (rights, why) in [("SUPERUSER", "hold it back"), ("NOCREATEROLE", "CREATEROLE")] {
            let refused = prepare(&fresh.config(), &role(&fresh, rights).await).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            assert!(refused.message().contains(why), "{refused}");
        }
        let refused = prepare(&fresh.config(), "nobody's").await.unwrap_err();
        assert!(refused.message().contains("there is no role"), "{refused}");
    }
}
