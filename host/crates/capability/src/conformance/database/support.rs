//! What the database's cases are built from: the fixture, a switch, short hands.

use crate::{
    Error, ErrorKind, Result,
    audit::{AuditEntry, AuditFilter, AuditLog, AuditOutcome, AuditPage, AuditRecord, Receipt, StoredRecord, Subject},
    database::{Access, Database, Databases, Dialect, QueryLimits, RowSet, Value},
    name::{DatabaseName, QueueName, TopicPattern},
    now_ms,
    queue::{DeadLetterPage, Delivery, Depth, Destination, Message, Queue, QueueSpec, Selection, Settlement},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

/// One backend under test, and what its outbox relays into.
#[async_trait]
pub trait DatabaseFixture: Send + Sync {
    fn databases(&self) -> Arc<dyn Databases>;
    fn queue(&self) -> Arc<dyn Queue>;
    fn audit(&self) -> Arc<dyn AuditLog>;
    /// While false, queue and audit log answer the relay `Unavailable`; see [`Switched`].
    fn set_receivers(&self, answer: bool);
    /// Kills the databases as a signal would and opens them again over what
    /// they had written; queue and audit log live on.
    async fn reopen(&mut self);
}

/// A queue or audit log that can be switched off for those who write to it.
pub struct Switched<T: ?Sized> {
    pub on: Arc<AtomicBool>,
    pub inner: Arc<T>,
}

impl<T: ?Sized> Switched<T> {
    fn inner(&self) -> Result<&T> {
        match self.on.load(SeqCst) {
            true => Ok(&self.inner),
            false => Err(Error::new(ErrorKind::Unavailable, "switched.off", "is switched off")),
        }
    }
}

#[async_trait]
impl Queue for Switched<dyn Queue> {
    async fn declare(&self, queue: &QueueName, spec: &QueueSpec) -> Result<()> {
        self.inner.declare(queue, spec).await
    }
    async fn bind(&self, queue: &QueueName, patterns: &[TopicPattern]) -> Result<()> {
        self.inner.bind(queue, patterns).await
    }
    async fn publish(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>> {
        self.inner()?.publish(destination, messages).await
    }
    async fn consume(&self, queue: &QueueName, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        self.inner.consume(queue, max, wait).await
    }
    async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Result<()> {
        self.inner.settle(delivery, settlement).await
    }
    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.inner.queues().await
    }
    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        self.inner.depth(queue).await
    }
    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, limit: u32) -> Result<DeadLetterPage> {
        self.inner.dead_letters(queue, cursor, limit).await
    }
    async fn replay(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        self.inner.replay(queue, selection).await
    }
    async fn purge(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        self.inner.purge(queue, selection).await
    }
    async fn health(&self) -> Result<()> {
        self.inner()?.health().await
    }
}

#[async_trait]
impl AuditLog for Switched<dyn AuditLog> {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        self.inner()?.append(records).await
    }
    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        self.inner.find(filter, cursor, limit).await
    }
    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        self.inner.record(id).await
    }
    async fn count(&self) -> Result<u64> {
        self.inner.count().await
    }
    async fn health(&self) -> Result<()> {
        self.inner()?.health().await
    }
}

pub(super) type Db = Arc<dyn Database>;

pub(super) async fn open(fixture: &impl DatabaseFixture, name: &str, access: Access) -> Db {
    fixture.databases().open(&DatabaseName::new(name).unwrap(), access).await.unwrap()
}

/// A database with a table of people: `id`, unique `name`, `age` below 150, and their pets.
pub(super) async fn people(fixture: &impl DatabaseFixture) -> Db {
    let db = open(fixture, "shared/people", Access::ReadWrite).await;
    let schema = [
        "create table people (id bigint primary key, name text not null unique, age bigint constraint mortal check (age < 150))",
        "create table pets (id bigint primary key, owner bigint not null references people (id))",
        "insert into people (id, name, age) values (1, 'Ada', 36), (2, 'Bob', 60)",
    ];
    for statement in schema {
        db.execute(statement, vec![], limits()).await.unwrap();
    }
    db
}

pub(super) fn limits() -> QueryLimits {
    QueryLimits::default()
}

/// For statements that are expected to run out of time.
pub(super) fn hasty() -> QueryLimits {
    QueryLimits { statement_timeout_ms: 200, ..limits() }
}

pub(super) fn int(i: i64) -> Value {
    Value::Integer(i)
}

pub(super) fn text(t: &str) -> Value {
    Value::Text(t.to_owned())
}

/// Person number `id`, as parameters of [`ADD`].
pub(super) fn person(id: i64) -> Vec<Value> {
    vec![int(id), text(&format!("person {id}"))]
}

pub(super) const ADD: &str = "insert into people (id, name) values ($1, $2)";
pub(super) const COUNT: &str = "select count(*) from people";

pub(super) async fn count(db: &Db) -> i64 {
    number(&db.query(COUNT, vec![], limits()).await.unwrap())
}

/// The one number of an answer of one row and column.
pub(super) fn number(answer: &RowSet) -> i64 {
    match answer.rows.as_slice() {
        [row] => match row.as_slice() {
            [Value::Integer(i)] => *i,
            other => panic!("not one number: {other:?}"),
        },
        other => panic!("not one row: {other:?}"),
    }
}

#[track_caller]
pub(super) fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("was expected to fail"),
        Err(error) => error.kind(),
    }
}

/// A statement that does not end by itself.
pub(super) fn endless(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "select pg_sleep(60)",
        Dialect::Sqlite => "with recursive c (x) as (select 1 union all select x + 1 from c) select count(*) from c",
    }
}

/// The text a backend may keep of a value it has no type for.
pub(super) fn text_form(value: &Value) -> Option<String> {
    Some(match value {
        Value::Decimal(t) | Value::Date(t) | Value::Time(t) | Value::Timestamp(t) | Value::LocalTimestamp(t) => t.clone(),
        Value::Uuid(t) | Value::Json(t) | Value::Text(t) => t.clone(),
        Value::IntegerArray(list) => format!("{list:?}").replace(' ', ""),
        Value::TextArray(list) => format!("{list:?}").replace(", ", ","),
        _ => return None,
    })
}

pub(super) fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: Bytes::from_static(&[0, 1, 255]),
        content_type: "application/octet-stream".to_owned(),
        headers: vec![("a".to_owned(), "ä".to_owned()), ("a".to_owned(), "b".to_owned())],
        routing_key: "eu".to_owned(),
        correlation_id: Some("c".to_owned()),
        priority: 7,
        delay: Duration::ZERO,
        expires: None,
    }
}

pub(super) fn record(action: &str) -> AuditRecord {
    AuditRecord {
        id: uuid::Uuid::now_v7().to_string(),
        recorded_at_ms: now_ms(),
        actor: "user:4711".to_owned(),
        plugin_id: "applications".to_owned(),
        plugin_version: "1.0.0".to_owned(),
        plugin_digest: "sha256:00".to_owned(),
        spooled_at_ms: None,
        generation: 7,
        invocation_id: "i-1".to_owned(),
        entry: AuditEntry {
            action: action.to_owned(),
            subject: Subject { kind: "application".to_owned(), id: "A-1".to_owned() },
            outcome: AuditOutcome::Success,
            summary: "approved".to_owned(),
            changes: vec![],
            attributes: vec![],
            personal: None,
            sealed: Vec::new(),
        },
    }
}

/// A queue on the receiving side, and how to send there.
pub(super) async fn receiver(fixture: &impl DatabaseFixture) -> (QueueName, Destination) {
    let name = QueueName::new("work").unwrap();
    fixture.queue().declare(&name, &QueueSpec::default()).await.unwrap();
    (name.clone(), Destination::Queue(name))
}

/// The ids that arrive within `wait`, acked.
pub(super) async fn arrivals(fixture: &impl DatabaseFixture, queue: &QueueName, wait: Duration) -> Vec<String> {
    let mut ids = Vec::new();
    for delivery in fixture.queue().consume(queue, 10, wait).await.unwrap() {
        fixture.queue().settle(&delivery, Settlement::Ack).await.unwrap();
        ids.push(delivery.message.id);
    }
    ids
}
