//! The queue's suite over every backend, and the embedded one against a model.

mod amqp;
mod model;

mod embedded {
    use crate::support::snapshot;
    use async_trait::async_trait;
    use plinth_backend::{Durability, queue::EmbeddedQueue};
    use plinth_capability::{conformance::queue::QueueFixture, queue::Queue};
    use std::sync::Arc;
    use tempfile::TempDir;

    pub(super) struct Fixture {
        queue: Arc<EmbeddedQueue>,
        dir: TempDir,
        /// Processes that were "killed": what they still do goes to their own files.
        dead: Vec<(Arc<EmbeddedQueue>, TempDir)>,
    }

    async fn open(dir: &TempDir) -> Arc<EmbeddedQueue> {
        Arc::new(EmbeddedQueue::open_seeded(&dir.path().join("queue.db"), Durability::Process, 7).await.unwrap())
    }

    pub(super) async fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        Fixture { queue: open(&dir).await, dir, dead: Vec::new() }
    }

    #[async_trait]
    impl QueueFixture for Fixture {
        fn queue(&self) -> Arc<dyn Queue> {
            self.queue.clone()
        }

        async fn reopen(&mut self) {
            let dir = snapshot(&self.dir, "queue.db");
            let queue = open(&dir).await;
            self.dead.push((std::mem::replace(&mut self.queue, queue), std::mem::replace(&mut self.dir, dir)));
        }
    }

    plinth_capability::queue_conformance!(fixture());
}
