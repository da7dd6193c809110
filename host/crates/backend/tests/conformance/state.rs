//! The host state's suite over every backend.

mod sqlite {
    use crate::support::snapshot;
    use async_trait::async_trait;
    use plinth_backend::state::SqliteState;
    use plinth_capability::{conformance::state::StateFixture, state::HostState};
    use std::sync::Arc;
    use tempfile::TempDir;

    struct Fixture {
        state: Arc<SqliteState>,
        dir: TempDir,
        /// Processes that were "killed": what they still do goes to their own files.
        dead: Vec<(Arc<SqliteState>, TempDir)>,
    }

    async fn open(dir: &TempDir) -> Arc<SqliteState> {
        Arc::new(SqliteState::open(&dir.path().join("state.db")).await.unwrap())
    }

    async fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        Fixture { state: open(&dir).await, dir, dead: Vec::new() }
    }

    #[async_trait]
    impl StateFixture for Fixture {
        fn state(&self) -> Arc<dyn HostState> {
            self.state.clone()
        }

        async fn reopen(&mut self) {
            let dir = snapshot(&self.dir, "state.db");
            let state = open(&dir).await;
            self.dead.push((std::mem::replace(&mut self.state, state), std::mem::replace(&mut self.dir, dir)));
        }
    }

    plinth_capability::state_conformance!(fixture());
}

mod postgres {
    use crate::postgres::Fresh;
    use async_trait::async_trait;
    use bytes::Bytes;
    use plinth_backend::{
        postgres::Postgres,
        state::{CHANNEL, PostgresState},
    };
    use plinth_capability::{
        conformance::state::StateFixture,
        name::PluginName,
        state::{HostState, StoredSlot, StoredVersion},
    };
    use sqlx::{Connection, postgres::PgListener};
    use std::sync::Arc;

    struct Fixture {
        state: Arc<PostgresState>,
        fresh: Fresh,
    }

    async fn fixture() -> Fixture {
        let fresh = Fresh::new().await;
        Fixture { state: Arc::new(PostgresState::new(fresh.open().await)), fresh }
    }

    #[async_trait]
    impl StateFixture for Fixture {
        fn state(&self) -> Arc<dyn HostState> {
            self.state.clone()
        }

        async fn reopen(&mut self) {
            self.state = Arc::new(PostgresState::new(self.fresh.open().await));
        }
    }

    plinth_capability::state_conformance!(fixture());

    fn slot(generation: u64) -> StoredSlot {
        let active = StoredVersion {
            version: "1.0.0".into(),
            digest: "sha256:a".into(),
            manifest: String::new(),
            config: "{}".into(),
            grants: "[]".into(),
            installed_at_ms: 1,
        };
        StoredSlot { plugin: PluginName::new("alpha").unwrap(), generation, active, previous: None, quarantined: vec![] }
    }

    #[tokio::test]
    async fn many_hosts_start_at_once() {
        let fresh = Fresh::new().await;
        let config = fresh.config();
        let opened: Vec<_> = futures::future::join_all((0..6).map(|_| Postgres::open(&config))).await;
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    }

    #[tokio::test]
    async fn a_schema_of_a_newer_version_is_left_alone() {
        let fresh = Fresh::new().await;
        drop(fresh.open().await);
        sqlx::query("INSERT INTO plinth.migrations (version) VALUES (999)").execute(&mut fresh.admin().await).await.unwrap();
        assert!(Postgres::open(&fresh.config()).await.is_err());
    }

    #[tokio::test]
    async fn a_slot_saved_with_the_callers_transaction_is_told_with_its_commit() {
        let fresh = Fresh::new().await;
        let postgres = fresh.open().await;
        let state = PostgresState::new(postgres.clone());
        let mut listener = PgListener::connect(&fresh.url()).await.unwrap();
        listener.listen(CHANNEL).await.unwrap();
        for commit in [false, true] {
            let mut connection = postgres.pool().acquire().await.unwrap();
            let mut transaction = connection.begin().await.unwrap();
            PostgresState::put_component_on(&mut transaction, "sha256:a", &Bytes::from_static(b"code")).await.unwrap();
            PostgresState::save_slot_on(&mut transaction, &slot(if commit { 7 } else { 6 })).await.unwrap();
            if commit { transaction.commit().await.unwrap() } else { transaction.rollback().await.unwrap() }
        }
        assert_eq!(listener.recv().await.unwrap().payload(), "7", "what was rolled back is not told");
        assert_eq!((state.generation().await.unwrap(), state.slots().await.unwrap()), (7, vec![slot(7)]));
        assert!(state.component("sha256:a").await.unwrap().is_some());
    }
}
