//! That consuming stays an index search, whatever the queue holds.

use super::{deliver, *};
use sqlx::Row;

async fn plan(sql: &'static str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteFile::open(&dir.path().join("queue.db"), Durability::Process).await.unwrap();
    let mut connection = file.writer_connection().await.unwrap();
    migrate(&mut connection, &[include_str!("schema.sql")]).await.unwrap();
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn leasing_neither_sorts_nor_scans() {
    let plan = plan(deliver::LEASE).await;
    assert!(plan.contains("SEARCH messages USING INDEX waiting (queue=? AND priority=? AND due_ms<?)"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN messages"), "{plan}");
}

#[tokio::test]
async fn looking_for_the_next_instant_does_not_scan() {
    let plan = plan(deliver::NEXT).await;
    assert!(plan.contains("USING COVERING INDEX waiting (queue=? AND priority=?)"), "{plan}");
    assert!(!plan.contains("SCAN messages"), "{plan}");
}

#[tokio::test]
async fn a_file_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    let first = EmbeddedQueue::open(&path, Durability::Process).await.unwrap();
    assert_eq!(EmbeddedQueue::open(&path, Durability::Process).await.err().map(|e| e.kind()), Some(ErrorKind::Unavailable));
    first.close().await;
    assert!(EmbeddedQueue::open(&path, Durability::Process).await.is_ok());
}

#[tokio::test]
async fn a_closed_queue_ends_its_consumers_and_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let queue = EmbeddedQueue::open(&dir.path().join("queue.db"), Durability::Process).await.unwrap();
    let name = QueueName::new("a").unwrap();
    queue.declare(&name, &QueueSpec::default()).await.unwrap();
    let consume = queue.consume(&name, 1, Duration::from_secs(600));
    let close = async {
        tokio::task::yield_now().await;
        queue.close().await;
    };
    let (consumed, ()) = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(consume, close) }).await.unwrap();
    assert_eq!(consumed.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(queue.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
}
