//! Each capability in front of a backend that hangs: what its callers are told.

use crate::{Guarded, Policy};
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    ErrorKind::{self, OutcomeUnknown, Timeout},
    Result,
    audit::*,
    cache::*,
    database::*,
    name::*,
    queue::*,
};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Answers nothing, except that databases open and transactions begin.
struct Hung;

#[async_trait]
impl Cache for Hung {
    async fn get(&self, _: &BucketName, _: &CacheKey) -> Result<Option<Entry>> {
        pending().await
    }
    async fn get_many(&self, _: &BucketName, _: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        pending().await
    }
    async fn set(&self, _: &BucketName, _: &CacheKey, _: Bytes, _: Write) -> Result<WriteOutcome> {
        pending().await
    }
    async fn set_many(&self, _: &BucketName, _: Vec<(CacheKey, Bytes)>, _: Option<Duration>) -> Result<()> {
        pending().await
    }
    async fn delete_many(&self, _: &BucketName, _: &[CacheKey]) -> Result<u32> {
        pending().await
    }
    async fn touch(&self, _: &BucketName, _: &CacheKey, _: Duration) -> Result<bool> {
        pending().await
    }
    async fn expiry(&self, _: &BucketName, _: &CacheKey) -> Result<Expiry> {
        pending().await
    }
    async fn increment(&self, _: &BucketName, _: &CacheKey, _: i64, _: Option<Duration>) -> Result<i64> {
        pending().await
    }
    async fn scan(&self, _: &BucketName, _: &str, _: Option<&str>, _: u32) -> Result<KeyPage> {
        pending().await
    }
    async fn invalidate(&self, _: &BucketName, _: &[Tag]) -> Result<u32> {
        pending().await
    }
    async fn health(&self) -> Result<()> {
        pending().await
    }
}

#[async_trait]
impl Queue for Hung {
    async fn declare(&self, _: &QueueName, _: &QueueSpec) -> Result<()> {
        pending().await
    }
    async fn bind(&self, _: &QueueName, _: &[TopicPattern]) -> Result<()> {
        pending().await
    }
    async fn publish(&self, _: &Destination, _: Vec<Message>) -> Result<Vec<Result<()>>> {
        pending().await
    }
    async fn consume(&self, _: &QueueName, _: u32, _: Duration) -> Result<Vec<Delivery>> {
        pending().await
    }
    async fn settle(&self, _: &Delivery, _: Settlement) -> Result<()> {
        pending().await
    }
    async fn queues(&self) -> Result<Vec<QueueName>> {
        pending().await
    }
    async fn depth(&self, _: &QueueName) -> Result<Depth> {
        pending().await
    }
    async fn dead_letters(&self, _: &QueueName, _: Option<&str>, _: u32) -> Result<DeadLetterPage> {
        pending().await
    }
    async fn replay(&self, _: &QueueName, _: Selection) -> Result<u64> {
        pending().await
    }
    async fn purge(&self, _: &QueueName, _: Selection) -> Result<u64> {
        pending().await
    }
    async fn health(&self) -> Result<()> {
        pending().await
    }
}

#[async_trait]
impl AuditLog for Hung {
    async fn append(&self, _: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        pending().await
    }
    async fn find(&self, _: &AuditFilter, _: Option<&str>, _: u32) -> Result<AuditPage> {
        pending().await
    }
    async fn record(&self, _: &str) -> Result<Option<StoredRecord>> {
        pending().await
    }
    async fn count(&self) -> Result<u64> {
        pending().await
    }
    async fn health(&self) -> Result<()> {
        pending().await
    }
}

#[async_trait]
impl Databases for Hung {
    async fn open(&self, _: &DatabaseName, _: Access) -> Result<Arc<dyn Database>> {
        Ok(Arc::new(Hung))
    }
    async fn health(&self) -> Result<()> {
        pending().await
    }
}

#[async_trait]
impl Database for Hung {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
    async fn query(&self, _: &str, _: Vec<Value>, _: QueryLimits) -> Result<RowSet> {
        pending().await
    }
    async fn query_paged(&self, _: &str, _: Vec<Value>, _: u32, _: QueryLimits) -> Result<Box<dyn Cursor>> {
        Ok(Box::new(Hung))
    }
    async fn execute(&self, _: &str, _: Vec<Value>, _: QueryLimits) -> Result<Execution> {
        pending().await
    }
    async fn execute_many(&self, _: &str, _: Vec<Vec<Value>>, _: QueryLimits) -> Result<Execution> {
        pending().await
    }
    async fn begin(&self, _: TransactionOptions, _: QueryLimits) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(Hung))
    }
}

#[async_trait]
impl Transaction for Hung {
    async fn query(&mut self, _: &str, _: Vec<Value>) -> Result<RowSet> {
        pending().await
    }
    async fn query_paged(&mut self, _: &str, _: Vec<Value>, _: u32) -> Result<Box<dyn Cursor>> {
        Ok(Box::new(Hung))
    }
    async fn execute(&mut self, _: &str, _: Vec<Value>) -> Result<Execution> {
        pending().await
    }
    async fn execute_many(&mut self, _: &str, _: Vec<Vec<Value>>) -> Result<Execution> {
        pending().await
    }
    async fn savepoint(&mut self, _: &str) -> Result<()> {
        pending().await
    }
    async fn rollback_to(&mut self, _: &str) -> Result<()> {
        pending().await
    }
    async fn outbox_publish(&mut self, _: &Destination, _: Message) -> Result<()> {
        pending().await
    }
    async fn outbox_audit(&mut self, _: AuditRecord) -> Result<()> {
        pending().await
    }
    async fn commit(&mut self) -> Result<()> {
        pending().await
    }
    async fn rollback(&mut self) -> Result<()> {
        pending().await
    }
}

#[async_trait]
impl Cursor for Hung {
    fn columns(&self) -> &[Column] {
        &[]
    }
    async fn next(&mut self) -> Result<Page> {
        pending().await
    }
}

fn policy() -> Policy {
    Policy::try_new(100, 2, 0).unwrap()
}

/// The kind a call ends with, and after how many milliseconds.
async fn end<T>(call: impl Future<Output = Result<T>>) -> (ErrorKind, u128) {
    let began = Instant::now();
    let kind = call.await.map(drop).unwrap_err().kind();
    (kind, began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_hangs() {
    let cache = Guarded::<dyn Cache>::new(Arc::new(Hung), policy());
    let (bucket, key) = (BucketName::new("b").unwrap(), CacheKey::new("k").unwrap());
    let write = |condition| Write { ttl: None, condition, tags: vec![] };
    assert_eq!(end(cache.get(&bucket, &key)).await, (Timeout, 100));
    assert_eq!(end(cache.set(&bucket, &key, Bytes::new(), write(Condition::Always))).await, (Timeout, 100));
    assert_eq!(end(cache.set(&bucket, &key, Bytes::new(), write(Condition::IfAbsent))).await, (OutcomeUnknown, 100));
    assert_eq!(end(cache.increment(&bucket, &key, 1, None)).await, (OutcomeUnknown, 100));
    assert_eq!(end(cache.health()).await, (Timeout, 100));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_hangs() {
    let queue = Guarded::<dyn Queue>::new(Arc::new(Hung), policy());
    let name = QueueName::new("q").unwrap();
    assert_eq!(end(queue.publish(&Destination::Queue(name.clone()), vec![])).await, (OutcomeUnknown, 100));
    assert_eq!(end(queue.depth(&name)).await, (Timeout, 100));
    // Three long polls, where two calls may run.
    let poll = || end(queue.consume(&name, 1, Duration::from_secs(1)));
    let polls = async { tokio::join!(poll(), poll(), poll()) };
    let ((), ends) = tokio::join!(async { assert_eq!(end(queue.depth(&name)).await, (Timeout, 100)) }, polls);
    assert_eq!(ends, ((Timeout, 1_100), (Timeout, 1_100), (Timeout, 1_100)));
}

#[tokio::test(start_paused = true)]
async fn an_audit_log_that_hangs() {
    let log = Guarded::<dyn AuditLog>::new(Arc::new(Hung), policy());
    assert_eq!(end(log.append(vec![])).await, (OutcomeUnknown, 100));
    assert_eq!(end(log.record("id")).await, (Timeout, 100));
}

#[tokio::test(start_paused = true)]
async fn databases_that_hang() {
    let databases = Guarded::<dyn Databases>::new(Arc::new(Hung), policy());
    let db = databases.open(&DatabaseName::new("d").unwrap(), Access::ReadWrite).await.unwrap();
    let limits = QueryLimits { statement_timeout_ms: 50, ..QueryLimits::default() };
    assert_eq!(end(db.query(" SELECT 1", vec![], limits)).await, (Timeout, 150));
    assert_eq!(end(db.query("insert into t returning a", vec![], limits)).await, (OutcomeUnknown, 150));
    assert_eq!(end(db.execute("delete from t", vec![], limits)).await, (OutcomeUnknown, 150));
    let mut transaction = db.begin(TransactionOptions::default(), limits).await.unwrap();
    let cursor = db.query_paged("select 1", vec![], 1, limits).await.unwrap();
    // Both turns are taken for as long as they live.
    assert_eq!(end(db.query("select 1", vec![], limits)).await, (ErrorKind::Unavailable, 0));
    assert_eq!(end(transaction.execute("delete from t", vec![])).await, (Timeout, 150));
    assert_eq!(end(transaction.commit()).await, (OutcomeUnknown, 150));
    drop((transaction, cursor));
    let mut cursor = db.query_paged("select 1", vec![], 1, limits).await.unwrap();
    assert_eq!(end(cursor.next()).await, (Timeout, 150));
    assert_eq!(end(db.query("select 1", vec![], limits)).await, (Timeout, 150));
}
