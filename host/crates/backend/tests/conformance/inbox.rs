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

mod postgres {
    use crate::postgres::Fresh;
    use async_trait::async_trait;
    use plinth_backend::inbox::PostgresInbox;
    use plinth_capability::{
        conformance::inbox::InboxFixture,
        inbox::{Arrival, Inbox},
        name::QueueName,
    };
    use std::sync::Arc;
    use tokio::task::JoinSet;

    struct Fixture {
        inbox: Arc<PostgresInbox>,
        fresh: Fresh,
    }

    async fn fixture() -> Fixture {
        let fresh = Fresh::new().await;
        Fixture { inbox: Arc::new(PostgresInbox::new(fresh.open().await)), fresh }
    }

    #[async_trait]
    impl InboxFixture for Fixture {
        fn inbox(&self) -> Arc<dyn Inbox> {
            self.inbox.clone()
        }

        async fn reopen(&mut self) {
            self.inbox = Arc::new(PostgresInbox::new(self.fresh.open().await));
        }
    }

    plinth_capability::inbox_conformance!(fixture());

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hosts_that_claim_the_same_ids_at_once_agree_on_one_owner() {
        let fresh = Fresh::new().await;
        let queue = QueueName::new("q").unwrap();
        let ids: Vec<String> = (0..200).map(|n| format!("id-{n}")).collect();
        let mut claims = JoinSet::new();
        for host in 0..4 {
            let inbox = PostgresInbox::new(fresh.open().await);
            let (queue, mut ids) = (queue.clone(), ids.clone());
            // Each in another order: they must not wait for each other in a circle.
            ids.rotate_left(host * 50);
            claims.spawn(async move {
                let arrivals: Vec<_> = ids.iter().map(|id| Arrival::new(id, format!("copy-{host}"))).collect();
                let answers = inbox.claim(&queue, &arrivals).await.unwrap();
                ids.into_iter().zip(answers).filter(|(_, won)| *won).map(|(id, _)| id).collect::<Vec<_>>()
            });
        }
        let mut won: Vec<String> = claims.join_all().await.concat();
        won.sort();
        let mut expected = ids;
        expected.sort();
        assert_eq!(won, expected);
    }
}
