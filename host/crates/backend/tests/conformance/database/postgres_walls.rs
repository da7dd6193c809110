//! PostgreSQL: what a plugin cannot do, types, and plans that grow old.

use super::postgres::{Fixture, fixture};
use plinth_backend::database::PostgresDatabasesConfig;
use plinth_capability::{
    ErrorKind,
    conformance::{database::DatabaseFixture, eventually},
    database::{Access, Database, Databases, Isolation, QueryLimits, TransactionOptions, Value},
    name::{DatabaseName, QueueName},
    queue::{Destination, Message, QueueSpec, Settlement},
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

type Db = Arc<dyn Database>;

pub(super) fn limits() -> QueryLimits {
    QueryLimits::default()
}

pub(super) async fn open(databases: &dyn Databases, name: &str) -> Db {
    databases.open(&DatabaseName::new(name).unwrap(), Access::ReadWrite).await.unwrap()
}

pub(super) async fn run(db: &Db, sql: &str) {
    db.execute(sql, vec![], limits()).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

pub(super) async fn ask(db: &Db, sql: &str) -> Vec<Vec<Value>> {
    db.query(sql, vec![], limits()).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).rows
}

/// Behind the gate there is a second wall: the same statements, said by the
/// plugin's own role on a connection without a gate.
#[tokio::test]
async fn a_plugins_role_reaches_nothing_but_its_schema() {
    let fixture = fixture().await;
    let one = open(&*fixture.databases, "shared/one").await;
    run(&one, "create table secrets (a text)").await;
    open(&*fixture.databases, "shared/two").await;
    let mut admin = fixture.fresh.admin().await;
    let roles = "select schema, writer, reader from plinth.databases where name = ";
    let role = async |admin: &mut sqlx::PgConnection, name: &str| {
        let sql = sqlx::AssertSqlSafe(format!("{roles}'{name}'"));
        sqlx::query_as::<_, (String, String, String)>(sql).fetch_one(admin).await.unwrap()
    };
    let (schema, ..) = role(&mut admin, "shared/one").await;
    let (_, writer, reader) = role(&mut admin, "shared/two").await;
    for role in [writer, reader] {
        let options: sqlx::postgres::PgConnectOptions = fixture.fresh.url().parse().unwrap();
        let mut raw = sqlx::ConnectOptions::connect(&options.username(&role)).await.unwrap();
        for sql in [
            format!("select * from {schema}.secrets"),
            format!("insert into {schema}.secrets values ('x')"),
            format!("create table {schema}.mine (a int)"),
            "create table public.mine (a int)".to_owned(),
            "create schema mine".to_owned(),
            "select * from plinth.outbox".to_owned(),
            "select secret from plinth.settings".to_owned(),
            "select token from plinth.databases".to_owned(),
            "select _plinth_door.put('guess', 'audit', 'i', '{}', '', 0, null)".to_owned(),
            "select _plinth_door.stamp(null, '{1}', 0)".to_owned(),
            "set role postgres".to_owned(),
            "set session authorization postgres".to_owned(),
            "create role other superuser".to_owned(),
            "copy (select 1) to program 'true'".to_owned(),
        ] {
            let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&mut raw).await.unwrap_err();
            assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{sql}: {error}");
        }
    }
}

/// As the manual says to prepare it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_no_superuser_has_rights_enough() {
    let fresh = crate::postgres::Fresh::new().await;
    let (role, database) = (format!("owner_{}", uuid::Uuid::new_v4().simple()), fresh.url().rsplit('/').next().unwrap().to_owned());
    let mut admin = fresh.admin().await;
    for sql in [format!("create role {role} login createrole"), format!("alter database {database} owner to {role}")] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    rights_are_enough(fresh.of(&role)).await;
}

/// As the manual says to prepare it for hosts that may not change what they wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_own_its_schema_has_rights_enough() {
    let fresh = crate::postgres::Fresh::new().await;
    let role = format!("host_{}", uuid::Uuid::new_v4().simple());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create role {role} login createrole"))).execute(&mut fresh.admin().await).await.unwrap();
    plinth_backend::postgres::prepare(&fresh.config(), &role).await.unwrap();
    rights_are_enough(fresh.of(&role)).await;
}

async fn rights_are_enough(fresh: crate::postgres::Fresh) {
    let fixture = super::postgres::fixture_on(fresh).await;
    let db = open(&*fixture.databases, "shared/one").await;
    run(&db, "create table t (a bigint)").await;
    // What is dropped is cancelled, which is a right too.
    let cut = tokio::time::timeout(Duration::from_millis(50), db.query("select pg_sleep(60), 'cut'", vec![], limits())).await;
    assert!(cut.is_err());
    let running = "select count(*) from pg_stat_activity where query like '%''cut''%' and state = 'active' and pid <> pg_backend_pid()";
    let count = async || sqlx::query_scalar::<_, i64>(running).fetch_one(&mut fixture.fresh.admin().await).await.unwrap();
    let began = Instant::now();
    eventually("it is cancelled", async || count().await == 0).await;
    assert!(began.elapsed() < Duration::from_millis(1_500), "before its own timeout: {:?}", began.elapsed());
    let reader = fixture.databases.open(&DatabaseName::new("shared/one").unwrap(), Access::ReadOnly).await.unwrap();
    assert_eq!(ask(&reader, "select count(*) from t").await, [[Value::Integer(0)]]);
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    let work = QueueName::new("work").unwrap();
    fixture.queue.declare(&work, &QueueSpec::default()).await.unwrap();
    transaction.outbox_publish(&Destination::Queue(work.clone()), message("m")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.queue.consume(&work, 1, Duration::from_secs(10)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_left_in_a_session_is_not_the_next_callers() {
    let fixture = fixture().await;
    let db = open(&*fixture.databases, "shared/one").await;
    for sql in [
        "set search_path = public",
        "set statement_timeout = 0",
        "select set_config('statement_timeout', '0', false)",
        "create temp table t (a int)",
    ] {
        assert_eq!(db.execute(sql, vec![], limits()).await.unwrap_err().kind(), ErrorKind::Denied, "{sql}");
    }
    let asked = ask(&db, "select current_setting('statement_timeout'), current_setting('TimeZone')").await;
    assert_eq!(asked, [[Value::Text("2s".into()), Value::Text("UTC".into())]]);
}

#[tokio::test]
async fn types_without_a_kind_come_as_text() {
    let fixture = fixture().await;
    let db = open(&*fixture.databases, "shared/types").await;
    run(&db, "create type mood as enum ('sad', 'ok')").await;
    run(&db, "create table t (m mood, small smallint, f real, j jsonb, a numeric[], u uuid, v varchar(5), grid int[])").await;
    let params = vec![
        Value::Text("ok".into()),
        Value::Integer(-7),
        Value::Real(0.5),
        Value::Json("{\"a\": 1}".into()),
        Value::TextArray(vec!["1.50".into(), "-2".into()]),
        Value::Text("0198c5a0-7d7c-7f3a-9b53-3a2f4c5d6e7f".into()),
        Value::Integer(42),
    ];
    let insert = "insert into t values ($1, $2, $3, $4, $5, $6, $7, '{{1,2},{3,null}}')";
    db.execute(insert, params, limits()).await.unwrap();
    let rows = ask(&db, "select * from t").await;
    let expected = [
        Value::Text("ok".into()),
        Value::Integer(-7),
        Value::Real(0.5),
        Value::Json("{\"a\": 1}".into()),
        Value::Other { type_name: "numeric[]".into(), text: "{1.50,-2}".into() },
        Value::Uuid("0198c5a0-7d7c-7f3a-9b53-3a2f4c5d6e7f".into()),
        Value::Text("42".into()),
        Value::Other { type_name: "int4[]".into(), text: "{{1,2},{3,NULL}}".into() },
    ];
    assert_eq!(rows, [expected]);
    let kind = async |sql: &str, value: Value| db.query(sql, vec![value], limits()).await.unwrap_err().kind();
    assert_eq!(kind("select $1::smallint", Value::Integer(70_000)).await, ErrorKind::InvalidInput);
    assert_eq!(kind("select $1::bigint", Value::Text("1".into())).await, ErrorKind::InvalidInput);
    assert_eq!(kind("select $1::inet", Value::Text("::1".into())).await, ErrorKind::InvalidInput);
    assert_eq!(kind("select $1::text", Value::Text("a\0b".into())).await, ErrorKind::InvalidInput);
    assert_eq!(kind("select $1::text::int", Value::Text("x".into())).await, ErrorKind::InvalidInput);
    assert_eq!(db.query("select '::1'::inet", vec![], limits()).await.unwrap_err().kind(), ErrorKind::WrongType);
    let as_text = db.query("select host($1::text::inet)", vec![Value::Text("::1".into())], limits()).await.unwrap();
    assert_eq!(as_text.rows, [[Value::Text("::1".into())]]);
}

#[tokio::test]
async fn a_plan_that_grew_old_is_made_anew() {
    let fixture = fixture().await;
    let db = open(&*fixture.databases, "shared/one").await;
    run(&db, "create table t (a bigint)").await;
    run(&db, "insert into t values (1)").await;
    for column in ["b", "c", "d"] {
        ask(&db, "select * from t").await;
        run(&db, &format!("alter table t add column {column} bigint default 2")).await;
    }
    let answer = db.query("select * from t", vec![], limits()).await.unwrap();
    assert_eq!(
        (answer.columns.len(), answer.rows),
        (4, vec![vec![Value::Integer(1), Value::Integer(2), Value::Integer(2), Value::Integer(2)]])
    );
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    transaction.execute("alter table t drop column b", vec![]).await.unwrap();
    assert_eq!(transaction.query("select * from t", vec![]).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_failed_statement_stops_the_transaction_until_a_savepoint() {
    let fixture = fixture().await;
    let db = open(&*fixture.databases, "shared/one").await;
    run(&db, "create table t (a bigint primary key)").await;
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    transaction.execute("insert into t values (1)", vec![]).await.unwrap();
    transaction.savepoint("s").await.unwrap();
    transaction.execute("insert into t values (1)", vec![]).await.unwrap_err();
    assert_eq!(transaction.query("select 1", vec![]).await.unwrap_err().kind(), ErrorKind::Closed);
    transaction.rollback_to("s").await.unwrap();
    transaction.execute("insert into t values (2)", vec![]).await.unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    transaction.execute("insert into t values (3)", vec![]).await.unwrap();
    transaction.execute("insert into t values (1)", vec![]).await.unwrap_err();
    // The server would answer this with success, and roll back.
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(ask(&db, "select count(*) from t").await, [[Value::Integer(2)]]);
}

#[tokio::test]
async fn serializable_transactions_that_cross_conflict() {
    let fixture = fixture().await;
    let db = open(&*fixture.databases, "shared/one").await;
    run(&db, "create table t (a bigint, b bigint)").await;
    run(&db, "insert into t values (1, 0), (2, 0)").await;
    let options = TransactionOptions { isolation: Isolation::Serializable, ..TransactionOptions::default() };
    let (mut one, mut two) = (db.begin(options, limits()).await.unwrap(), db.begin(options, limits()).await.unwrap());
    for transaction in [&mut one, &mut two] {
        transaction.query("select sum(b) from t", vec![]).await.unwrap();
    }
    one.execute("update t set b = 1 where a = 1", vec![]).await.unwrap();
    let second = two.execute("update t set b = 1 where a = 2", vec![]).await;
    let ends = [one.commit().await, second.map(drop), two.commit().await];
    let conflicts = ends.iter().filter(|end| end.as_ref().is_err_and(|e| e.kind() == ErrorKind::Conflict)).count();
    assert!(conflicts >= 1, "{ends:?}");
}

/// Sessions of plugins' roles, as the server counts them.
async fn sessions(fixture: &Fixture, like: &str) -> i64 {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and usename like $1";
    sqlx::query_scalar(sql).bind(like).fetch_one(&mut fixture.fresh.admin().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_takes_no_more_than_its_share() {
    let fixture = fixture().await;
    let config = PostgresDatabasesConfig { max_connections: 4, connections_per_database: 2, ..PostgresDatabasesConfig::default() };
    let host = fixture.host(config).await;
    let greedy = open(&*host, "private/greedy").await;
    let modest = open(&*host, "private/modest").await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let greedy = Arc::clone(&greedy);
        calls.spawn(async move { greedy.query("select pg_sleep(0.3)", vec![], limits()).await.map_err(|e| e.kind()) });
    }
    eventually("the greedy one is at its limit", async || sessions(&fixture, "plinth_%").await == 2).await;
    let began = Instant::now();
    ask(&modest, "select 1").await;
    assert!(began.elapsed() < Duration::from_millis(1_500), "the neighbour waited {:?}", began.elapsed());
    assert!(sessions(&fixture, "plinth_%").await <= 4);
    for answer in calls.join_all().await {
        assert!(matches!(answer, Ok(_) | Err(ErrorKind::Conflict)), "{answer:?}");
    }
    // More databases than connections: those that rest make room.
    for n in 0..8 {
        ask(&open(&*host, &format!("private/n{n}")).await, "select 1").await;
    }
    assert!(sessions(&fixture, "plinth_%").await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_deliver_each_message_once_and_in_order() {
    let fixture = fixture().await;
    let other = fixture.host(PostgresDatabasesConfig::default()).await;
    let work: Vec<_> = (0..4).map(|n| QueueName::new(&format!("work-{n}")).unwrap()).collect();
    let mut writers = JoinSet::new();
    for (lane, queue) in work.iter().enumerate() {
        fixture.queue.declare(queue, &QueueSpec::default()).await.unwrap();
        let host: Arc<dyn Databases> = if lane % 2 == 0 { other.clone() } else { fixture.databases() };
        let queue = queue.clone();
        writers.spawn(async move {
            let db = open(&*host, "shared/orders").await;
            for number in 0..40 {
                let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
                let destination = Destination::Queue(queue.clone());
                transaction.outbox_publish(&destination, message(&format!("{number:03}"))).await.unwrap();
                transaction.commit().await.unwrap();
            }
        });
    }
    writers.join_all().await;
    for queue in &work {
        let mut ids = Vec::new();
        while ids.len() < 40 {
            let deliveries = fixture.queue.consume(queue, 50, Duration::from_secs(10)).await.unwrap();
            assert!(!deliveries.is_empty(), "lost after {ids:?}");
            for delivery in deliveries {
                fixture.queue.settle(&delivery, Settlement::Ack).await.unwrap();
                ids.push(delivery.message.id);
            }
        }
        assert_eq!(ids, (0..40).map(|n| format!("{n:03}")).collect::<Vec<_>>());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 40);
    }
    eventually("the outbox is empty", async || other.pending().await.unwrap() == 0).await;
}

pub(super) fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: vec![1].into(),
        content_type: "text/plain".into(),
        headers: vec![],
        routing_key: String::new(),
        correlation_id: None,
        priority: 0,
        delay: Duration::ZERO,
        expires: None,
    }
}
