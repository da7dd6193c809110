//! The suite of the audit log's tree over every backend, and several hosts over one log.

use plinth_backend::audit::{AuditTree, AuditTreeConfig};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a host has outside the database.
fn config(outside: &TempDir) -> AuditTreeConfig {
    AuditTreeConfig {
        origin: Some("audit.example.org/test".into()),
        key: outside.path().join("key"),
        checkpoints: outside.path().join("checkpoints"),
        archive: None,
    }
}

/// A host's tree, growing until this is dropped.
struct Growing {
    tree: Arc<AuditTree>,
    _task: JoinSet<()>,
}

fn growing(tree: AuditTree) -> Growing {
    let tree = Arc::new(tree);
    let mut task = JoinSet::new();
    let grown = tree.clone();
    task.spawn(async move { grown.run(CancellationToken::new()).await });
    Growing { tree, _task: task }
}

mod sqlite {
    use super::{Growing, config, growing};
    use crate::support::{audit_record, snapshot};
    use async_trait::async_trait;
    use plinth_backend::{
        Durability,
        audit::{AuditTree, SqliteAudit},
    };
    use plinth_capability::{audit::AuditLog, conformance::transparency::TransparencyFixture, transparency::Transparency};
    use sqlx::{Connection, Executor, SqliteConnection};
    use std::sync::Arc;
    use tempfile::TempDir;

    struct Fixture {
        log: Arc<SqliteAudit>,
        growing: Growing,
        dir: TempDir,
        outside: TempDir,
        kept: Option<TempDir>,
        /// Its files are still written to by what was running before.
        dead: Vec<TempDir>,
    }

    async fn open(dir: &TempDir, outside: &TempDir) -> (Arc<SqliteAudit>, Growing) {
        let log = Arc::new(SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap());
        let tree = AuditTree::over_sqlite(log.clone(), config(outside)).await.unwrap();
        (log, growing(tree))
    }

    async fn fixture() -> Fixture {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (log, growing) = open(&dir, &outside).await;
        Fixture { log, growing, dir, outside, kept: None, dead: Vec::new() }
    }

    #[async_trait]
    impl TransparencyFixture for Fixture {
        fn log(&self) -> Arc<dyn AuditLog> {
            self.log.clone()
        }

        fn tree(&self) -> Arc<dyn Transparency> {
            self.growing.tree.clone()
        }

        async fn back_up(&mut self) {
            self.kept = Some(snapshot(&self.dir, "audit.db"));
        }

        async fn restore(&mut self) {
            let dir = snapshot(self.kept.as_ref().unwrap(), "audit.db");
            (self.log, self.growing) = open(&dir, &self.outside).await;
            self.dead.push(std::mem::replace(&mut self.dir, dir));
        }
    }

    plinth_capability::transparency_conformance!(fixture());

    /// A log whose tree grows only when it is told to, and a connection of somebody who owns the file.
    async fn owned() -> (Arc<SqliteAudit>, AuditTree, SqliteConnection, (TempDir, TempDir)) {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = dir.path().join("audit.db");
        let log = Arc::new(SqliteAudit::open(&path, Durability::Process).await.unwrap());
        let tree = AuditTree::over_sqlite(log.clone(), config(&outside)).await.unwrap();
        let owner = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
        (log, tree, owner, (dir, outside))
    }

    async fn append(log: &SqliteAudit, tree: &AuditTree, count: usize) {
        log.append((0..count).map(|_| audit_record()).collect()).await.unwrap();
        tree.step().await.unwrap();
    }

    async fn signed(tree: &AuditTree) -> u64 {
        tree.trees().await.unwrap()[0].signed
    }

    #[tokio::test]
    async fn an_old_checkpoint_under_another_size_replaces_no_copy() {
        let (log, tree, mut owner, (_dir, outside)) = owned().await;
        append(&log, &tree, 5).await;
        append(&log, &tree, 5).await;
        let put = "INSERT INTO checkpoints (epoch, size, note) SELECT epoch, 9000000000, note FROM checkpoints WHERE size = 5";
        owner.execute(put).await.unwrap();
        let refused = tree.step().await.unwrap_err();
        assert!(refused.message().contains("is of size 5 and kept as one of size 9000000000"), "{refused}");
        let copies = std::fs::read_dir(outside.path().join("checkpoints")).unwrap();
        let copies: Vec<String> = copies.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        assert!(copies.iter().any(|note| note.lines().nth(1) == Some("10")), "{copies:?}");
    }

    #[tokio::test]
    async fn what_comes_after_a_missing_record_does_not_take_its_leaf() {
        let (log, tree, mut owner, (_dir, outside)) = owned().await;
        append(&log, &tree, 3).await;
        log.append((0..3).map(|_| audit_record()).collect()).await.unwrap();
        owner.execute("DROP TRIGGER records_are_not_removed; DELETE FROM records WHERE sequence = 4").await.unwrap();
        tree.step().await.unwrap();
        assert_eq!(signed(&tree).await, 4, "the one before it is signed");
        assert!(tree.health().await.unwrap_err().message().contains("record 4 is missing"));
        append(&log, &tree, 2).await;
        assert_eq!(signed(&tree).await, 4);
        let again = AuditTree::over_sqlite(log, config(&outside)).await.unwrap();
        assert_eq!(signed(&again).await, 4, "a host starts over it, and signs no more than before");
    }
}

mod postgres {
    use super::{Growing, config, growing};
    use crate::{postgres::Fresh, support::audit_record};
    use async_trait::async_trait;
    use plinth_backend::audit::{AuditTree, PostgresAudit};
    use plinth_capability::{audit::AuditLog, conformance::transparency::TransparencyFixture, transparency::Transparency};
    use sqlx::Executor;
    use std::sync::Arc;
    use tempfile::TempDir;

    struct Fixture {
        log: Arc<PostgresAudit>,
        growing: Growing,
        fresh: Fresh,
        outside: TempDir,
    }

    async fn open(fresh: &Fresh, outside: &TempDir) -> (Arc<PostgresAudit>, Growing) {
        let log = Arc::new(PostgresAudit::open(fresh.open().await).await.unwrap());
        let tree = AuditTree::over_postgres(log.clone(), config(outside)).await.unwrap();
        (log, growing(tree))
    }

    async fn fixture() -> Fixture {
        let (fresh, outside) = (Fresh::new().await, tempfile::tempdir().unwrap());
        let (log, growing) = open(&fresh, &outside).await;
        Fixture { log, growing, fresh, outside }
    }

    /// Everything that is about the log, kept in a second schema.
    const TABLES: [&str; 7] = ["audit", "audit_end", "audit_epochs", "audit_tiles", "audit_checkpoints", "audit_segments", "audit_pruned"];

    #[async_trait]
    impl TransparencyFixture for Fixture {
        fn log(&self) -> Arc<dyn AuditLog> {
            self.log.clone()
        }

        fn tree(&self) -> Arc<dyn Transparency> {
            self.growing.tree.clone()
        }

        async fn back_up(&mut self) {
            let mut admin = self.fresh.admin().await;
            admin.execute("CREATE SCHEMA kept").await.unwrap();
            for table in TABLES {
                admin.execute(sqlx::AssertSqlSafe(format!("CREATE TABLE kept.{table} AS TABLE plinth.{table}"))).await.unwrap();
            }
        }

        /// As whoever owns the server can, whatever triggers there are.
        async fn restore(&mut self) {
            let mut admin = self.fresh.admin().await;
            admin.execute("SET session_replication_role = replica").await.unwrap();
            for table in TABLES {
                let put = format!("DELETE FROM plinth.{table}; INSERT INTO plinth.{table} SELECT * FROM kept.{table}");
                admin.execute(sqlx::AssertSqlSafe(put)).await.unwrap();
            }
            (self.log, self.growing) = open(&self.fresh, &self.outside).await;
        }
    }

    plinth_capability::transparency_conformance!(fixture());

    #[tokio::test]
    async fn hosts_side_by_side_make_one_tree() {
        let (fresh, outside) = (Fresh::new().await, tempfile::tempdir().unwrap());
        let hosts = [open(&fresh, &outside).await, open(&fresh, &outside).await, open(&fresh, &outside).await];
        let mut writers = tokio::task::JoinSet::new();
        for (log, _) in &hosts {
            let log = log.clone();
            writers.spawn(async move {
                for _ in 0..40 {
                    log.append((0..10).map(|_| audit_record()).collect()).await.unwrap();
                }
            });
        }
        writers.join_all().await;
        for (_, growing) in &hosts {
            growing.tree.step().await.unwrap();
        }
        let trees = hosts[0].1.tree.trees().await.unwrap();
        assert_eq!(trees.iter().map(|tree| (tree.epoch, tree.signed)).collect::<Vec<_>>(), [(0, 1_200)]);
    }
}
