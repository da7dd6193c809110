//! The inbox's suite over every backend.

mod sqlite {
    use crate::support::snapshot;
    use async_trait::async_trait;
    use plinth_backend::{Durability, inbox::SqliteInbox};
    use plinth_capability::{conformance::inbox::InboxFixture, inbox::Inbox};
    use std::sync::Arc;
    use tempfile::TempDir;

    struct Fixture {
        inbox: Arc<SqliteInbox>,
        dir: TempDir,
        /// Processes that were "killed": what they still do goes to their own files.
        dead: Vec<(Arc<SqliteInbox>, TempDir)>,
    }

    async fn open(dir: &TempDir) -> Arc<SqliteInbox> {
        Arc::new(SqliteInbox::open(&dir.path().join("inbox.db"), Durability::Process).await.unwrap())
    }

    async fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        Fixture { inbox: open(&dir).await, dir, dead: Vec::new() }
    }

    #[async_trait]
    impl InboxFixture for Fixture {
        fn inbox(&self) -> Arc<dyn Inbox> {
            self.inbox.clone()
        }

        async fn reopen(&mut self) {
            let dir = snapshot(&self.dir, "inbox.db");
            let inbox = open(&dir).await;
            self.dead.push((std::mem::replace(&mut self.inbox, inbox), std::mem::replace(&mut self.dir, dir)));
        }
    }

    plinth_capability::inbox_conformance!(fixture());
}
