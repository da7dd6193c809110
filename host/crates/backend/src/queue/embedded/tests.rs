//! What the contract does not ask: plans, pruning, ownership and the end.

use super::{deliver, select, *};
use bytes::Bytes;
use plinth_capability::queue::{DEDUPE_WINDOW, DeadLetterFilter};
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

async fn plan(sql: &str) -> String {
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
async fn a_step_through_the_dead_letters_neither_sorts_nor_scans() {
    let plan = plan(select::STEP_END).await;
    assert!(plan.contains("INDEX dead (queue=? AND died_ms>? AND died_ms<?)"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN messages"), "{plan}");
}

#[tokio::test]
async fn dead_letters_are_looked_up_by_their_ids() {
    let plan = plan(&format!("{} {}", select::FORGET, select::BY_ID)).await;
    assert!(plan.contains("INDEX dead_by_id (queue=? AND message_id=?)"), "{plan}");
}

#[tokio::test]
async fn a_selection_of_many_steps_is_taken_once_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    let queue = EmbeddedQueue::open(&path, Durability::Process).await.unwrap();
    let name = QueueName::new("a").unwrap();
    queue.declare(&name, &QueueSpec::default()).await.unwrap();
    // More than two steps; many died in the same millisecond, across the ends of the steps.
    for batch in 0..3 {
        let messages = (0..900).map(|n| Message { expires: Some(Duration::ZERO), ..message(&format!("{batch}-{n}")) }).collect();
        queue.publish(&Destination::Queue(name.clone()), messages).await.unwrap();
    }
    // Reading sweeps a thousand at a time.
    while queue.depth(&name).await.unwrap().dead < 2_700 {}
    let mut raw = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
    sqlx::raw_sql("UPDATE messages SET died_ms = 7, reason = iif(id % 3 = 0, 'rejected', reason)").execute(&mut raw).await.unwrap();
    let rejected = DeadLetterFilter { reason: Some("rejected".to_owned()), ..DeadLetterFilter::default() };
    assert_eq!(queue.purge(&name, Selection::Matching(rejected)).await.unwrap(), 900);
    assert_eq!(queue.replay(&name, Selection::All).await.unwrap(), 1_800);
    assert_eq!(queue.depth(&name).await.unwrap(), Depth { ready: 1_800, ..Depth::default() });
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

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: Bytes::new(),
        content_type: String::new(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority: 0,
        delay: Duration::ZERO,
        expires: None,
    }
}

#[tokio::test]
async fn an_id_is_new_again_after_the_window_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    let queue = EmbeddedQueue::open(&path, Durability::Process).await.unwrap();
    let name = QueueName::new("a").unwrap();
    queue.declare(&name, &QueueSpec::default()).await.unwrap();
    let to = Destination::Queue(name.clone());
    let publish = async |id: &str| queue.publish(&to, vec![message(id)]).await.unwrap().remove(0).unwrap();
    publish("old").await;
    publish("other").await;
    let mut raw = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let age = sqlx::query("UPDATE message_ids SET seen_ms = seen_ms - ?1").bind(i64::try_from(DEDUPE_WINDOW.as_millis()).unwrap());
    age.execute(&mut raw).await.unwrap();
    publish("old").await;
    assert_eq!(queue.depth(&name).await.unwrap().ready, 3);
    publish("old").await;
    assert_eq!(queue.depth(&name).await.unwrap().ready, 3, "the second one began a window of its own");
    // Pruning runs with a publish, at most once in a while.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        publish("new").await;
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT message_id FROM message_ids ORDER BY message_id").fetch_all(&mut raw).await.unwrap();
        if ids == ["new", "old"] {
            return;
        }
        assert!(Instant::now() < deadline, "{ids:?} are still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
