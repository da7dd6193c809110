//! Doubles of the other capabilities: they remember what they were told.

use super::double_cache::CacheDouble;
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Capabilities, Error, ErrorKind, Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, Receipt, StoredRecord},
    database::{Access, Database, Databases},
    http::{Http, Outgoing},
    metrics::{Family, Instrument, MetricDeclaration, Metrics, Sample, SeriesValue},
    name::{DatabaseName, PluginName, QueueName, TopicPattern},
    queue::{DeadLetter, DeadLetterPage, Delivery, Depth, Destination, Message, Queue, QueueSpec, Selection, Settlement},
    secrets::Secrets,
    state::{HostState, StoredSlot},
    transparency::{Transparency, TreeView},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

#[derive(Default, Clone)]
pub(super) struct Doubles {
    pub cache: Arc<CacheDouble>,
    pub queue: Arc<QueueDouble>,
    pub audit: Arc<AuditDouble>,
    pub metrics: Arc<MetricsDouble>,
    pub databases: Arc<DatabasesDouble>,
    pub persons: Arc<super::personal::PersonsDouble>,
}

impl Doubles {
    pub(super) fn capabilities(&self) -> Capabilities {
        let Self { cache, queue, audit, metrics, databases, persons } = self.clone();
        let (transparency, http, secrets) = (Arc::new(Nothing), Arc::new(Nothing), Arc::new(Nothing));
        Capabilities { cache, queue, databases, audit, persons, transparency, http, metrics, secrets }
    }

    pub(super) fn state(&self) -> Arc<dyn HostState> {
        Arc::new(Nothing)
    }
}

#[derive(Default)]
pub(super) struct QueueDouble {
    pub published: Mutex<Vec<(Destination, Message)>>,
    pub replayed: Mutex<Vec<Selection>>,
    pub purged: Mutex<Vec<Selection>>,
}

fn no_queue<T>(queue: &QueueName) -> Result<T> {
    Err(Error::new(ErrorKind::NotFound, "queue.depth", format!("no queue named {queue}")))
}

#[async_trait]
impl Queue for QueueDouble {
    async fn declare(&self, _: &QueueName, _: &QueueSpec) -> Result<()> {
        Ok(())
    }

    async fn bind(&self, _: &QueueName, _: &[TopicPattern]) -> Result<()> {
        Ok(())
    }

    async fn publish(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>> {
        let unknown = matches!(destination, Destination::Queue(queue) if queue.as_str() == "unknown");
        let answer = |message: Message| {
            if unknown {
                return Err(Error::new(ErrorKind::Unroutable, "queue.publish", "no such queue"));
            }
            self.published.lock().unwrap().push((destination.clone(), message));
            Ok(())
        };
        Ok(messages.into_iter().map(answer).collect())
    }

    async fn consume(&self, _: &QueueName, _: u32, _: Duration) -> Result<Vec<Delivery>> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: &Delivery, _: Settlement) -> Result<()> {
        Ok(())
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        Ok(vec![QueueName::new("events/desk")?, QueueName::new("jobs")?])
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        match queue.as_str() {
            "events/desk" => Ok(Depth { ready: 1, delayed: 2, in_flight: 3, dead: 4 }),
            "jobs" => Ok(Depth::default()),
            _ => no_queue(queue),
        }
    }

    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, limit: u32) -> Result<DeadLetterPage> {
        let letter = |body: &[u8]| DeadLetter {
            message_id: "m-1".into(),
            queue: queue.clone(),
            destination: "a.b".into(),
            content_type: "text/plain".into(),
            body: body.to_vec(),
            headers: vec![("h".into(), "1".into())],
            attempts: limit,
            reason: "rejected".into(),
            last_error: cursor.unwrap_or("none").to_owned(),
            enqueued_at_ms: 1,
            died_at_ms: 2,
        };
        Ok(DeadLetterPage { letters: vec![letter(b"text"), letter(&[0xff])], next: Some("c-2".into()) })
    }

    async fn replay(&self, _: &QueueName, selection: Selection) -> Result<u64> {
        self.replayed.lock().unwrap().push(selection);
        Ok(2)
    }

    async fn purge(&self, _: &QueueName, selection: Selection) -> Result<u64> {
        self.purged.lock().unwrap().push(selection);
        Ok(3)
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct AuditDouble {
    pub records: Mutex<Vec<AuditRecord>>,
    pub asked: Mutex<Vec<(AuditFilter, Option<String>, u32)>>,
}

fn stored((position, record): (usize, &AuditRecord)) -> StoredRecord {
    StoredRecord { sequence: position as u64, record: record.clone(), digest: "d".into() }
}

#[async_trait]
impl AuditLog for AuditDouble {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        let mut all = self.records.lock().unwrap();
        let receipts = records.iter().zip(all.len() as u64..);
        let receipts = receipts.map(|(r, sequence)| Receipt { id: r.id.clone(), sequence, recorded_at_ms: r.recorded_at_ms }).collect();
        all.extend(records);
        Ok(receipts)
    }

    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        self.asked.lock().unwrap().push((filter.clone(), cursor.map(str::to_owned), limit));
        let records = self.records.lock().unwrap().iter().enumerate().map(stored).collect();
        let next = match cursor {
            None => Some("c"),
            Some("c") if filter.subject_kind.as_deref() == Some("breaks") => {
                return Err(Error::new(ErrorKind::Unavailable, "audit.find", "gone meanwhile"));
            }
            Some("circle") => cursor,
            Some(_) => None,
        };
        Ok(AuditPage { records, next: next.map(str::to_owned) })
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        Ok(self.records.lock().unwrap().iter().enumerate().find(|(_, r)| r.id == id).map(stored))
    }

    async fn count(&self) -> Result<u64> {
        Ok(self.records.lock().unwrap().len() as u64)
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }
}

/// Databases that can be away, and count how often they were asked.
#[derive(Default)]
pub(super) struct DatabasesDouble {
    pub asked: AtomicU64,
    pub hangs: bool,
}

#[async_trait]
impl Databases for DatabasesDouble {
    async fn open(&self, _: &DatabaseName, _: Access) -> Result<Arc<dyn Database>> {
        Err(Error::new(ErrorKind::NotFound, "database.open", "none here"))
    }

    async fn health(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.hangs { std::future::pending().await } else { Ok(()) }
    }
}

#[derive(Default)]
pub(super) struct MetricsDouble {
    /// Name and labels of each addition.
    pub added: Arc<Mutex<Vec<String>>>,
}

struct Counted(String, Arc<Mutex<Vec<String>>>);

impl Instrument for Counted {
    fn add(&self, _: f64) {
        self.1.lock().unwrap().push(self.0.clone());
    }
    fn set(&self, _: f64) {}
    fn observe(&self, _: f64) {}
}

impl Metrics for MetricsDouble {
    fn instrument(&self, family: &'static Family, labels: &[&str]) -> Arc<dyn Instrument> {
        Arc::new(Counted(format!("{} {}", family.name, labels.join(" ")), Arc::clone(&self.added)))
    }
    fn forget(&self, _: &'static Family, _: &[&str]) {}
    fn declare(&self, _: &PluginName, _: &[MetricDeclaration]) -> Result<()> {
        Ok(())
    }
    fn retract(&self, _: &PluginName) {}
    fn record(&self, _: &PluginName, _: &str, _: &Sample) -> Result<()> {
        Ok(())
    }
    fn render(&self) -> Result<String> {
        Ok("# HELP a b\n".to_owned())
    }
    fn query(&self, prefix: &str, limit: usize) -> Vec<SeriesValue> {
        vec![SeriesValue { name: format!("{prefix}_total"), labels: vec![("route".into(), "/".into())], value: limit as f64 }]
    }
}

struct Nothing;

fn nothing<T>() -> Result<T> {
    Err(Error::new(ErrorKind::NotFound, "test.nothing", "nothing here"))
}

#[async_trait]
impl Http for Nothing {
    async fn send(&self, _: Outgoing) -> Result<http::Response<Bytes>> {
        nothing()
    }
}

#[async_trait]
impl Secrets for Nothing {
    async fn sign(&self, _: &str, _: &[u8]) -> Result<Vec<u8>> {
        nothing()
    }
    async fn verify(&self, _: &str, _: &[u8], _: &[u8]) -> Result<()> {
        nothing()
    }
    async fn seal(&self, _: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>> {
        nothing()
    }
    async fn unseal(&self, _: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>> {
        nothing()
    }
    async fn reveal(&self, _: &str) -> Result<Vec<u8>> {
        nothing()
    }
}

#[async_trait]
impl HostState for Nothing {
    async fn slots(&self) -> Result<Vec<StoredSlot>> {
        Ok(Vec::new())
    }
    async fn save_slot(&self, _: &StoredSlot) -> Result<()> {
        nothing()
    }
    async fn remove_slot(&self, _: &PluginName, _: u64) -> Result<()> {
        nothing()
    }
    async fn generation(&self) -> Result<u64> {
        Ok(0)
    }
    async fn put_component(&self, _: &str, _: &Bytes) -> Result<()> {
        nothing()
    }
    async fn component(&self, _: &str) -> Result<Option<Bytes>> {
        nothing()
    }
    async fn claim_run(&self, _: &PluginName, _: &str, _: &str, _: u64) -> Result<bool> {
        nothing()
    }
    async fn finish_run(&self, _: &PluginName, _: &str, _: &str, _: bool) -> Result<()> {
        nothing()
    }
    async fn last_success_ms(&self, _: &PluginName, _: &str) -> Result<Option<u64>> {
        nothing()
    }
    async fn health(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Transparency for Nothing {
    async fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn trees(&self) -> Result<Vec<TreeView>> {
        Ok(Vec::new())
    }

    async fn checkpoint(&self, _: u64) -> Result<Option<String>> {
        Ok(None)
    }

    async fn tile(&self, _: u64, _: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }

    async fn proof(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    async fn consistency(&self, _: u64, _: u64, _: u64) -> Result<Option<Vec<[u8; 32]>>> {
        Ok(None)
    }
}
