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
