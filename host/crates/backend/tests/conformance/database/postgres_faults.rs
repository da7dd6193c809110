//! PostgreSQL: connections that die, a server that restarts or falls silent, calls that are dropped.

use super::{
    postgres::{fixture, fixture_on},
    postgres_walls::{ask, limits, message, open, run},
};
use crate::postgres::Fresh;
use plinth_capability::{
    ErrorKind, Result,
    conformance::{database::DatabaseFixture, eventually},
    database::{Database, QueryLimits, TransactionOptions, Value},
    name::QueueName,
    queue::{Destination, QueueSpec},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed_is_a_typed_error_and_the_next_call_works() {
    let fixture = fixture().await;
    let db = open(&*fixture.databases, "shared/one").await;
    run(&db, "create table t (a bigint)").await;
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename like 'plinth\\_%\\_rw' and datname = current_database()";
    let mut admin = fixture.fresh.admin().await;
    // In the middle of a statement.
    let mut busy = JoinSet::new();
    let asked = Arc::clone(&db);
    let patient = QueryLimits { statement_timeout_ms: 20_000, ..limits() };
    busy.spawn(async move { asked.query("select pg_sleep(20)", vec![], patient).await });
    let running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(20)' and state = 'active'";
    eventually("it runs", async || sqlx::query_scalar::<_, i64>(running).fetch_one(&mut fixture.fresh.admin().await).await.unwrap() > 0)
        .await;
    sqlx::query(kill).execute(&mut admin).await.unwrap();
    assert_eq!(busy.join_next().await.unwrap().unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    ask(&db, "select 1").await;
    // In the middle of a transaction.
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    transaction.execute("insert into t values (1)", vec![]).await.unwrap();
    sqlx::query(kill).execute(&mut admin).await.unwrap();
    let ends = [transaction.execute("insert into t values (2)", vec![]).await.map(drop), transaction.commit().await];
    assert!(ends.iter().all(|end| end.as_ref().is_err_and(|e| matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Closed))), "{ends:?}");
    assert_eq!(ask(&db, "select count(*) from t").await, [[Value::Integer(0)]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_is_unavailable_and_then_serves() {
    let server = plinth_services::Postgres::start().await.unwrap();
    let fixture = fixture_on(Fresh::on(&server)).await;
    let db = open(&*fixture.databases, "shared/one").await;
    let work = QueueName::new("work").unwrap();
    fixture.queue.declare(&work, &QueueSpec::default()).await.unwrap();
    run(&db, "create table t (a bigint)").await;
    fixture.set_receivers(false);
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    transaction.outbox_publish(&Destination::Queue(work.clone()), message("before")).await.unwrap();
    transaction.commit().await.unwrap();
    let mut open_then = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    open_then.execute("insert into t values (1)", vec![]).await.unwrap();
    server.kill().await.unwrap();
    let error = db.query("select count(*) from t", vec![], limits()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(
        open_then.commit().await.is_err_and(|e| matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown | ErrorKind::Closed))
    );
    server.restart().await.unwrap();
    fixture.set_receivers(true);
    assert_eq!(ask(&db, "select count(*) from t").await, [[Value::Integer(0)]], "the first call after it works");
    let delivered = fixture.queue.consume(&work, 10, Duration::from_secs(40)).await.unwrap();
    assert_eq!(delivered.iter().map(|d| d.message.id.as_str()).collect::<Vec<_>>(), ["before"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_costs_a_call_its_own_time() {
    let server = plinth_services::Postgres::start().await.unwrap();
    let fixture = fixture_on(Fresh::on(&server)).await;
    let db = open(&*fixture.databases, "shared/one").await;
    ask(&db, "select 1").await;
    server.pause().unwrap();
    let began = std::time::Instant::now();
    let hasty = QueryLimits { statement_timeout_ms: 300, ..limits() };
    let error = db.query("select 1", vec![], hasty).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    server.resume().unwrap();
    ask(&db, "select 1").await;
}

async fn transfer(db: &dyn Database, work: &QueueName, id: String, from: i64, to: i64) -> Result<()> {
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await?;
    transaction.execute("update accounts set money = money - 1 where id = $1", vec![Value::Integer(from)]).await?;
    transaction.outbox_publish(&Destination::Queue(work.clone()), message(&id)).await?;
    transaction.savepoint("here").await?;
    transaction.execute("update accounts set money = money + 50 where id = $1", vec![Value::Integer(to)]).await?;
    transaction.rollback_to("here").await?;
    transaction.execute("insert into ledger (id) values ($1)", vec![Value::Text(id)]).await?;
    transaction.execute("update accounts set money = money + 1 where id = $1", vec![Value::Integer(to)]).await?;
    transaction.commit().await
}

const ACCOUNTS: i64 = 10;

/// Dropped at any moment, a unit happened whole or not at all, and what it
/// leaves serves the next: connections do not run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_off_happened_whole_or_not_at_all() {
    let seed = 20_261_123;
    println!("seed {seed}");
    let fixture = fixture().await;
    let db = open(&*fixture.databases, "shared/bank").await;
    let work = QueueName::new("work").unwrap();
    fixture.queue.declare(&work, &QueueSpec::default()).await.unwrap();
    run(&db, "create table accounts (id bigint primary key, money bigint not null)").await;
    run(&db, "create table ledger (id text primary key)").await;
    let accounts = (0..ACCOUNTS).map(|id| vec![Value::Integer(id)]).collect();
    db.execute_many("insert into accounts values ($1, 100)", accounts, limits()).await.unwrap();

    let mut tellers = JoinSet::new();
    for teller in 0..4 {
        let (db, work, mut random) = (Arc::clone(&db), work.clone(), StdRng::seed_from_u64(seed + teller));
        tellers.spawn(async move {
            for number in 0..60 {
                let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
                let patience = Duration::from_micros(random.random_range(0..60_000));
                match tokio::time::timeout(patience, transfer(&*db, &work, format!("{teller}-{number}"), from, to)).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(error)) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
                }
            }
        });
    }
    tellers.join_all().await;

    let total = ask(&db, "select sum(money)::bigint, count(*) from accounts").await;
    assert_eq!(total, [[Value::Integer(100 * ACCOUNTS), Value::Integer(ACCOUNTS)]]);
    // A commit that nobody waited for may still be on its way.
    let open_ones =
        "select count(*) from pg_stat_activity where usename like 'plinth\\_%' and datname = current_database() and state <> 'idle'";
    eventually("all have come to an end", async || {
        sqlx::query_scalar::<_, i64>(open_ones).fetch_one(&mut fixture.fresh.admin().await).await.unwrap() == 0
    })
    .await;
    let ledger = ask(&db, "select id from ledger").await;
    let ledger: BTreeSet<_> = ledger.into_iter().flatten().map(|id| if let Value::Text(id) = id { id } else { panic!("{id:?}") }).collect();
    fixture.databases.close(Duration::from_secs(20)).await;
    let delivered = fixture.queue.consume(&work, 1_000, Duration::ZERO).await.unwrap();
    let messages: BTreeSet<_> = delivered.iter().map(|delivery| delivery.message.id.clone()).collect();
    assert_eq!(messages.len(), delivered.len(), "no message twice");
    assert_eq!(ledger, messages, "transfers in the ledger (left) and their messages (right)");
    assert!(!ledger.is_empty() && ledger.len() < 240, "{} transfers happened: the test must cut off some and not all", ledger.len());
}
