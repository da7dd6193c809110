//! What the conformance suite cannot see: limits, races and failures of this backend.

use super::*;
use crate::{audit::SqliteAudit, queue::EmbeddedQueue};
use futures::future::join_all;
use plinth_capability::{
    ConstraintKind,
    conformance::eventually,
    database::{QueryLimits, TransactionOptions, Value},
    name::QueueName,
    queue::{Destination, Message, QueueSpec},
};
use sqlx::{Connection, Executor};
use std::time::Instant;
use tempfile::TempDir;

pub(super) struct Bench {
    pub(super) databases: SqliteDatabases,
    pub(super) queue: Arc<EmbeddedQueue>,
    dir: TempDir,
}

pub(super) async fn bench(change: impl FnOnce(&mut SqliteDatabasesConfig)) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(EmbeddedQueue::open(&dir.path().join("queue.db"), Durability::Process).await.unwrap());
    let audit = Arc::new(SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap());
    let mut config =
        SqliteDatabasesConfig { dir: dir.path().join("databases"), durability: Durability::Process, ..SqliteDatabasesConfig::default() };
    change(&mut config);
    let databases = SqliteDatabases::open(config, Arc::clone(&queue) as Arc<dyn Queue>, audit).await.unwrap();
    Bench { databases, queue, dir }
}

pub(super) fn name(text: &str) -> DatabaseName {
    DatabaseName::new(text).unwrap()
}

/// A database with a table `t` of one row, 1 and 'one'.
async fn table(bench: &Bench) -> Arc<dyn Database> {
    let db = bench.databases.open(&name("a"), Access::ReadWrite).await.unwrap();
    run(&db, "create table t (id integer primary key, v text unique)").await;
    run(&db, "insert into t values (1, 'one')").await;
    db
}

pub(super) async fn run(db: &Arc<dyn Database>, statement: &str) -> plinth_capability::database::Execution {
    db.execute(statement, vec![], QueryLimits::default()).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"))
}

pub(super) async fn ask(db: &Arc<dyn Database>, statement: &str) -> Vec<Vec<Value>> {
    db.query(statement, vec![], QueryLimits::default()).await.unwrap_or_else(|e| panic!("{statement}: {e:?}")).rows
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

const ENDLESS: &str = "with recursive c (x) as (select 1 union all select x + 1 from c) select count(*) from c";

#[tokio::test]
async fn behind_the_gate_sqlite_refuses_too() {
    let bench = bench(|_| {}).await;
    table(&bench).await;
    let store = bench.databases.store(&name("a")).await.unwrap();
    let mut lease = store.writer.acquire_writer(PROBE_WAIT).await.unwrap();
    let conn = lease.conn().unwrap();
    let for_guests = [
        "select * from _plinth_outbox",
        "select (select count(*) from _Plinth_outbox)",
        "drop table _plinth_outbox",
        "create index i on _plinth_outbox (id)",
        "create trigger g after insert on _plinth_outbox begin select 1; end",
        "create temp table t (a)",
        "create temp view v as select 1",
        "create virtual table f using fts5(a)",
        "select * from pragma_table_info('t')",
        "pragma user_version",
        "attach ':memory:' as x",
        "begin",
        "savepoint s",
    ];
    conn.control.arm(Duration::from_secs(60));
    for statement in for_guests {
        let error = conn.raw.execute(statement).await.expect_err(statement);
        assert!(error.to_string().contains("authoriz") || error.to_string().contains("prohibited"), "{statement}: {error}");
    }
    conn.control.rest();
    let error = conn.raw.execute("attach ':memory:' as x").await.unwrap_err();
    assert!(error.to_string().contains("too many attached"), "{error}");
    for statement in ["update sqlite_schema set sql = 'x'", "pragma writable_schema = on; update sqlite_schema set sql = 'x'"] {
        assert!(conn.raw.execute(statement).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn a_reader_cannot_write_whatever_it_is_told() {
    let bench = bench(|_| {}).await;
    table(&bench).await;
    let store = bench.databases.store(&name("a")).await.unwrap();
    let mut lease = store.readers.acquire(PROBE_WAIT).await.unwrap();
    let raw = &mut lease.conn().unwrap().raw;
    assert!(raw.execute("delete from t").await.is_err());
    raw.execute("pragma query_only = off").await.unwrap();
    assert!(raw.execute("delete from t").await.is_err());
}

#[tokio::test]
async fn guests_may_reshape_their_tables() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    for statement in [
        "alter table t add column w text default 'w'",
        "create index i on t (w)",
        "create view v as select id, w from t",
        "create trigger g after update on t begin insert into t (v) values ('by trigger'); select case when 1 then 2 end; end;",
        "update t set v = 'two' where id = 1",
        "drop trigger g",
        "drop view v",
        "drop index i",
        "alter table t rename column w to x",
        "alter table t drop column x",
        "alter table t rename to u",
    ] {
        run(&db, statement).await;
    }
    assert_eq!(ask(&db, "select count(*) from u").await, [[Value::Integer(2)]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_a_table_that_grows_columns() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    let limits = QueryLimits::default();
    for width in 3..20 {
        // Every connection has the plan of the narrower table.
        let rows = join_all((0..8).map(|_| ask(&db, "select * from t"))).await;
        assert!(rows.iter().all(|rows| rows[0].len() == width - 1), "{rows:?}");
        let mut transaction = db.begin(TransactionOptions::default(), limits).await.unwrap();
        transaction.savepoint("s").await.unwrap();
        transaction.execute(&format!("alter table t add column c{width}"), vec![]).await.unwrap();
        assert_eq!(transaction.query("select * from t", vec![]).await.unwrap().rows[0].len(), width);
        transaction.rollback_to("s").await.unwrap();
        assert_eq!(transaction.query("select * from t", vec![]).await.unwrap().rows[0].len(), width - 1);
        transaction.execute(&format!("alter table t add column c{width}"), vec![]).await.unwrap();
        if width % 2 == 0 {
            drop(transaction);
            run(&db, &format!("alter table t add column c{width}")).await;
        } else {
            transaction.commit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_error_that_ends_the_transaction_closes_it() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    let mut transaction = db.begin(TransactionOptions::default(), QueryLimits::default()).await.unwrap();
    transaction.execute("insert into t values (2, 'two')", vec![]).await.unwrap();
    let failed = transaction.execute("insert or rollback into t values (1, 'again')", vec![]).await;
    assert_eq!(kind(failed), ErrorKind::Constraint(ConstraintKind::Unique));
    // Would commit on its own if the host believed the transaction alive.
    assert_eq!(kind(transaction.execute("insert into t values (3, 'three')", vec![]).await), ErrorKind::Closed);
    let hasty = QueryLimits { statement_timeout_ms: 50, max_rows: 1, ..QueryLimits::default() };
    for statement in [format!("update t set v = ({ENDLESS})"), "insert into t (v) values ('a'), ('b') returning v".to_owned()] {
        let mut transaction = db.begin(TransactionOptions::default(), hasty).await.unwrap();
        transaction.execute("insert into t values (2, 'two')", vec![]).await.unwrap();
        assert!(matches!(kind(transaction.query(&statement, vec![]).await), ErrorKind::Timeout | ErrorKind::LimitExceeded));
        assert_eq!(kind(transaction.commit().await), ErrorKind::Closed);
    }
    assert_eq!(ask(&db, "select id from t").await, [[Value::Integer(1)]]);
}

#[tokio::test]
async fn counts_are_of_the_statement_itself() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    let done = run(&db, "insert into t (v) values ('a'), ('b')").await;
    assert_eq!((done.rows_affected, done.last_insert_id), (2, Some(3)));
    let done = run(&db, "create table u (a)").await;
    assert_eq!((done.rows_affected, done.last_insert_id), (0, None));
    let done = run(&db, "insert or ignore into t (v) values ('a')").await;
    assert_eq!((done.rows_affected, done.last_insert_id), (0, None));
    let done = run(&db, "update t set v = v || 'x'").await;
    assert_eq!((done.rows_affected, done.last_insert_id), (3, None));
    assert_eq!(run(&db, "select * from t").await.rows_affected, 0);
}

#[tokio::test]
async fn columns_carry_their_declared_types() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    run(&db, "create table k (a decimal(10, 2), b BOOLEAN, c)").await;
    run(&db, "insert into k values (1.5, true, x'ff'), (null, 7, cast(x'ff' as text))").await;
    let answer = db.query("select a, b as bee, c, 1 + 1 from k order by b", vec![], QueryLimits::default()).await.unwrap();
    let columns: Vec<_> = answer.columns.iter().map(|c| (c.name.as_str(), c.type_name.as_str())).collect();
    assert_eq!(columns, [("a", "decimal(10, 2)"), ("bee", "BOOLEAN"), ("c", "ANY"), ("1 + 1", "ANY")]);
    assert_eq!(answer.rows[0][..3], [Value::Real(1.5), Value::Boolean(true), Value::Blob(vec![255])]);
    assert_eq!(answer.rows[1][..3], [Value::Null, Value::Integer(7), Value::Blob(vec![255])]);
    let none = db.query("select a from k where false", vec![], QueryLimits::default()).await.unwrap();
    assert_eq!((none.columns.len(), none.rows.len()), (1, 0));
    let arrays = db.query("select value from json_each($1)", vec![Value::IntegerArray(vec![4, 5])], QueryLimits::default()).await.unwrap();
    assert_eq!(arrays.rows, [[Value::Integer(4)], [Value::Integer(5)]]);
    assert_eq!(kind(db.query("select $1", vec![Value::Real(f64::NAN)], QueryLimits::default()).await), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn limits_of_the_configuration_hold() {
    let bench = bench(|config| {
        config.max_databases = 2;
        config.max_file_bytes = 2 << 20;
        config.max_value_bytes = 1 << 20;
    })
    .await;
    let db = table(&bench).await;
    bench.databases.open(&name("b"), Access::ReadWrite).await.unwrap();
    assert_eq!(kind(bench.databases.open(&name("c"), Access::ReadWrite).await), ErrorKind::LimitExceeded);
    bench.databases.open(&name("b"), Access::ReadOnly).await.unwrap();
    let big = db.execute("insert into t (v) values (zeroblob(2000000))", vec![], QueryLimits::default()).await;
    assert_eq!(kind(big), ErrorKind::LimitExceeded);
    let mut last = Ok(());
    for _ in 0..4 {
        let filled = db.execute("insert into t (v) values (randomblob(900000))", vec![], QueryLimits::default()).await;
        last = last.and(filled.map(drop));
    }
    assert_eq!(kind(last), ErrorKind::Unavailable);
    assert_eq!(ask(&db, "select v from t where id = 1").await, [[Value::Text("one".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_statement_stops_and_frees_its_connection() {
    let bench = bench(|config| config.read_connections = 1).await;
    let db = table(&bench).await;
    let slow = QueryLimits { statement_timeout_ms: 60_000, ..QueryLimits::default() };
    let began = Instant::now();
    for _ in 0..5 {
        let cut = tokio::time::timeout(Duration::from_millis(30), db.query(ENDLESS, vec![], slow)).await;
        assert!(cut.is_err());
        let change = format!("update t set v = ({ENDLESS})");
        assert!(tokio::time::timeout(Duration::from_millis(30), db.execute(&change, vec![], slow)).await.is_err());
        // Both the only reader and the only writer serve again.
        assert_eq!(ask(&db, "select v from t").await, [[Value::Text("one".to_owned())]]);
        run(&db, "update t set id = id").await;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_are_dropped_happen_whole_or_not_at_all() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    for round in 0..60_u64 {
        let mut transaction = db.begin(TransactionOptions::default(), QueryLimits::default()).await.unwrap();
        for _ in 0..2 {
            transaction.execute("insert into t (v) values (null)", vec![]).await.unwrap();
        }
        drop(tokio::time::timeout(Duration::from_micros(round * 5), transaction.commit()).await);
        drop(transaction);
        run(&db, "update t set id = id").await;
        let Value::Integer(count) = ask(&db, "select count(*) from t").await[0][0] else { panic!("no number") };
        assert_eq!(count % 2, 1, "half a transaction in round {round}");
    }
}

#[tokio::test]
async fn another_process_that_writes_is_a_conflict() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    let mut other =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", bench.dir.path().join("databases/a.db").display())).await.unwrap();
    other.execute("begin immediate").await.unwrap();
    assert_eq!(kind(db.execute("delete from t", vec![], QueryLimits::default()).await), ErrorKind::Conflict);
    assert_eq!(kind(db.begin(TransactionOptions::default(), QueryLimits::default()).await), ErrorKind::Conflict);
    other.execute("rollback").await.unwrap();
    run(&db, "delete from t").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_whose_page_was_lost_is_closed() {
    let bench = bench(|config| config.max_transaction_ms = 300).await;
    let db = table(&bench).await;
    let slow = "with recursive c (x) as (select 1 union all select x + 1 from c) select x from c where x % 3000000 = 1";
    let limits = QueryLimits { statement_timeout_ms: 60_000, ..QueryLimits::default() };
    let mut cursor = db.query_paged(slow, vec![], 5, limits).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1), cursor.next()).await.is_err());
    assert_eq!(kind(cursor.next().await), ErrorKind::Closed);
    // One that nobody reads does not live for ever.
    let idle = db.query_paged("select 1 union all select 2", vec![], 1, limits).await.unwrap();
    let idle = tokio::sync::Mutex::new(idle);
    tokio::time::sleep(Duration::from_millis(350)).await;
    let closed = async || idle.lock().await.next().await.is_err_and(|e| e.kind() == ErrorKind::Closed);
    eventually("the idle cursor is closed", closed).await;
}

pub(super) fn message(id: &str, delay: Duration) -> Message {
    Message {
        id: id.to_owned(),
        body: Default::default(),
        content_type: String::new(),
        headers: vec![],
        routing_key: String::new(),
        correlation_id: None,
        priority: 0,
        delay,
        expires: None,
    }
}

#[tokio::test]
async fn a_delay_counts_from_the_commit() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    let work = QueueName::new("work").unwrap();
    bench.queue.declare(&work, &QueueSpec::default()).await.unwrap();
    let mut transaction = db.begin(TransactionOptions::default(), QueryLimits::default()).await.unwrap();
    let destination = Destination::Queue(work.clone());
    transaction.outbox_publish(&destination, message("m", Duration::from_millis(400))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    transaction.commit().await.unwrap();
    let committed = Instant::now();
    assert_eq!(bench.queue.consume(&work, 1, Duration::from_secs(10)).await.unwrap().len(), 1);
    assert!(committed.elapsed() >= Duration::from_millis(350), "came after {:?}", committed.elapsed());
}

#[tokio::test]
async fn closing_delivers_what_was_committed() {
    let bench = bench(|_| {}).await;
    let db = table(&bench).await;
    let work = QueueName::new("work").unwrap();
    bench.queue.declare(&work, &QueueSpec::default()).await.unwrap();
    let mut transaction = db.begin(TransactionOptions::default(), QueryLimits::default()).await.unwrap();
    for number in 0..100 {
        transaction.outbox_publish(&Destination::Queue(work.clone()), message(&format!("{number}"), Duration::ZERO)).await.unwrap();
    }
    let nowhere = Destination::Queue(QueueName::new("nowhere").unwrap());
    transaction.outbox_publish(&nowhere, message("lost", Duration::ZERO)).await.unwrap();
    transaction.commit().await.unwrap();
    bench.databases.health().await.unwrap();
    bench.databases.close(Duration::from_secs(10)).await;
    let delivered = bench.queue.consume(&work, 1_000, Duration::ZERO).await.unwrap();
    let ids: Vec<_> = delivered.iter().map(|d| d.message.id.clone()).collect();
    assert_eq!(ids, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(kind(db.query("select 1", vec![], QueryLimits::default()).await), ErrorKind::Unavailable);
    assert_eq!(kind(bench.databases.health().await), ErrorKind::Unavailable);
    let mut raw = sqlx::SqliteConnection::connect(&format!("sqlite:{}", bench.dir.path().join("databases/a.db").display())).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from _plinth_outbox").fetch_one(&mut raw).await.unwrap();
    let dead: String = sqlx::query_scalar("select id || reason from _plinth_outbox_dead").fetch_one(&mut raw).await.unwrap();
    assert!(left == 0 && dead.starts_with("lost"), "{left} left, dead: {dead}");
}
