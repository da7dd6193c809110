//! What was confirmed before a SIGKILL is there after it, and nothing is twice.
//!
//! The test runs itself again as the process to be killed.

use crate::support::audit_record;
use plinth_backend::{Durability, audit::SqliteAudit, queue::EmbeddedQueue};
use plinth_capability::{
    audit::{AuditFilter, AuditLog, AuditRecord},
    conformance::{find_all, queue::take},
    name::QueueName,
    queue::{Destination, Message, Queue, QueueSpec},
};
use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

const DIR: &str = "PLINTH_CRASH_TEST_DIR";
/// Confirmations the parent waits for before it kills.
const CONFIRMED: usize = 400;

async fn open(dir: &Path) -> (Arc<EmbeddedQueue>, Arc<SqliteAudit>) {
    let queue = EmbeddedQueue::open(&dir.join("queue.db"), Durability::Process).await.unwrap();
    let audit = SqliteAudit::open(&dir.join("audit.db"), Durability::Process).await.unwrap();
    (Arc::new(queue), Arc::new(audit))
}

fn work() -> QueueName {
    QueueName::new("work").unwrap()
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: vec![7; 300].into(),
        content_type: "text/plain".to_owned(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority: 4,
        delay: Duration::ZERO,
        expires: None,
    }
}

fn record(id: &str) -> AuditRecord {
    AuditRecord { id: id.to_owned(), ..audit_record() }
}

/// Publishes and appends until it is killed, and says so after each confirmation.
async fn write_until_killed(dir: PathBuf) {
    let (queue, audit) = open(&dir).await;
    queue.declare(&work(), &QueueSpec::default()).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (queue, audit) = (Arc::clone(&queue), Arc::clone(&audit));
        writers.spawn(async move {
            loop {
                let id = uuid::Uuid::now_v7().to_string();
                queue.publish(&Destination::Queue(work()), vec![message(&id)]).await.unwrap().remove(0).unwrap();
                audit.append(vec![record(&id)]).await.unwrap();
                // Fails when the parent is gone, which ends this process as well.
                writeln!(std::io::stdout(), "confirmed {id}").unwrap();
            }
        });
    }
    writers.join_all().await;
}

/// The ids that a process confirmed before it was killed.
fn run_and_kill(dir: &Path) -> HashSet<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_killed_process_loses_nothing", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ids = lines.filter_map(|line| Some(line.split_once("confirmed ")?.1.to_owned())).take(CONFIRMED).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    ids
}

#[expect(clippy::disallowed_methods, reason = "how the test's second process knows that it is the second")]
fn second_process() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing() {
    if let Some(dir) = second_process() {
        return write_until_killed(dir).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut confirmed = HashSet::new();
    // Twice, so that the second process starts from what the first left behind.
    for _ in 0..2 {
        confirmed.extend(run_and_kill(dir.path()));
    }
    assert_eq!(confirmed.len(), 2 * CONFIRMED);
    let (queue, audit) = open(dir.path()).await;
    let mut delivered = HashSet::new();
    for delivery in take(queue.as_ref(), &work(), usize::MAX, Duration::ZERO).await {
        assert_eq!((delivery.attempt, &delivery.message), (1, &message(&delivery.message.id)));
        assert!(delivered.insert(delivery.message.id), "delivered twice");
    }
    assert!(confirmed.is_subset(&delivered));
    for (expected, stored) in (0..).zip(find_all(audit.as_ref(), &AuditFilter::default(), 1_000).await) {
        assert_eq!(stored.sequence, expected, "a gap");
        confirmed.remove(&stored.record.id);
    }
    assert!(confirmed.is_empty(), "{} confirmed records are lost", confirmed.len());
}
