//! Transfers that are cut off at random: money, ledger and messages stay one.

use super::tests::{ask, bench, message, name, run};
use plinth_capability::{
    ErrorKind, Result,
    database::{Access, Database, Databases, QueryLimits, TransactionOptions, Value},
    name::QueueName,
    queue::{Destination, Queue, QueueSpec},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

const ACCOUNTS: i64 = 10;

async fn transfer(db: &dyn Database, work: &QueueName, id: String, from: i64, to: i64) -> Result<()> {
    let mut transaction = db.begin(TransactionOptions::default(), QueryLimits::default()).await?;
    transaction.execute("update accounts set money = money - 1 where id = $1", vec![Value::Integer(from)]).await?;
    transaction.outbox_publish(&Destination::Queue(work.clone()), message(&id, Duration::ZERO)).await?;
    transaction.savepoint("here").await?;
    transaction.execute("update accounts set money = money + 50 where id = $1", vec![Value::Integer(to)]).await?;
    transaction.rollback_to("here").await?;
    transaction.execute("insert into ledger (id) values ($1)", vec![Value::Text(id)]).await?;
    transaction.execute("update accounts set money = money + 1 where id = $1", vec![Value::Integer(to)]).await?;
    transaction.commit().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_off_happened_whole_or_not_at_all() {
    let seed = 20_261_122;
    println!("seed {seed}");
    let bench = bench(|_| {}).await;
    let db = bench.databases.open(&name("bank"), Access::ReadWrite).await.unwrap();
    let work = QueueName::new("work").unwrap();
    bench.queue.declare(&work, &QueueSpec::default()).await.unwrap();
    run(&db, "create table accounts (id integer primary key, money integer not null)").await;
    run(&db, "create table ledger (id text primary key)").await;
    let accounts = (0..ACCOUNTS).map(|id| vec![Value::Integer(id)]).collect();
    db.execute_many("insert into accounts values ($1, 100)", accounts, QueryLimits::default()).await.unwrap();

    let mut tellers = JoinSet::new();
    for teller in 0..4 {
        let (db, work, mut random) = (Arc::clone(&db), work.clone(), StdRng::seed_from_u64(seed + teller));
        tellers.spawn(async move {
            for number in 0..100 {
                let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
                let patience = Duration::from_micros(random.random_range(0..8_000));
                match tokio::time::timeout(patience, transfer(&*db, &work, format!("{teller}-{number}"), from, to)).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(error)) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
                }
            }
        });
    }
    tellers.join_all().await;

    let total = ask(&db, "select sum(money), count(*) from accounts").await;
    assert_eq!(total, [[Value::Integer(100 * ACCOUNTS), Value::Integer(ACCOUNTS)]]);
    let ledger = ask(&db, "select id from ledger").await;
    let ledger: BTreeSet<_> = ledger.into_iter().flatten().map(|id| if let Value::Text(id) = id { id } else { panic!("{id:?}") }).collect();
    bench.databases.close(Duration::from_secs(20)).await;
    let delivered = bench.queue.consume(&work, 1_000, Duration::ZERO).await.unwrap();
    let messages: BTreeSet<_> = delivered.iter().map(|delivery| delivery.message.id.clone()).collect();
    assert_eq!(messages.len(), delivered.len(), "no message twice");
    assert_eq!(ledger, messages, "transfers in the ledger (left) and their messages (right)");
    assert!(!ledger.is_empty() && ledger.len() < 400, "{} transfers happened: the test must cut off some and not all", ledger.len());
}
