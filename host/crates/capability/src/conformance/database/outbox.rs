//! The cases of the outbox: what rides in a transaction arrives after its commit, or never.

use super::{eventually, support::*};
use crate::{ErrorKind, database::TransactionOptions};
use std::time::Duration;

pub async fn outbox_delivers_after_commit(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let (queue, destination) = receiver(&fixture).await;
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    transaction.execute(ADD, person(3)).await.unwrap();
    for id in ["first", "second"] {
        transaction.outbox_publish(&destination, message(id)).await.unwrap();
    }
    let entry = record("person.add");
    transaction.outbox_audit(entry.clone()).await.unwrap();
    assert!(arrivals(&fixture, &queue, Duration::from_millis(200)).await.is_empty());
    assert_eq!(fixture.audit().record(&entry.id).await.unwrap(), None);
    transaction.commit().await.unwrap();
    let first = fixture.queue().consume(&queue, 1, Duration::from_secs(10)).await.unwrap();
    assert_eq!(first[0].message, message("first"));
    assert_eq!(count(&db).await, 3);
    assert_eq!(arrivals(&fixture, &queue, Duration::from_secs(10)).await, ["second"]);
    eventually("the record is there", async || fixture.audit().record(&entry.id).await.unwrap().is_some_and(|s| s.record == entry)).await;
    let mut bad = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    assert_eq!(kind(bad.outbox_publish(&destination, message("")).await), ErrorKind::InvalidInput);
    assert_eq!(kind(bad.outbox_audit(record("no words..")).await), ErrorKind::InvalidInput);
}

pub async fn outbox_forgets_rolled_back(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let (queue, destination) = receiver(&fixture).await;
    let begin = async || db.begin(TransactionOptions::default(), limits()).await.unwrap();
    let mut transaction = begin().await;
    transaction.outbox_publish(&destination, message("rolled back")).await.unwrap();
    transaction.outbox_audit(record("a.b")).await.unwrap();
    transaction.rollback().await.unwrap();
    let mut transaction = begin().await;
    transaction.outbox_publish(&destination, message("dropped")).await.unwrap();
    drop(transaction);
    let mut transaction = begin().await;
    transaction.outbox_publish(&destination, message("kept")).await.unwrap();
    transaction.savepoint("s").await.unwrap();
    transaction.outbox_publish(&destination, message("after the savepoint")).await.unwrap();
    transaction.outbox_audit(record("a.b")).await.unwrap();
    transaction.rollback_to("s").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(arrivals(&fixture, &queue, Duration::from_secs(10)).await, ["kept"]);
    assert!(arrivals(&fixture, &queue, Duration::from_millis(200)).await.is_empty());
    assert_eq!(fixture.audit().count().await.unwrap(), 0);
}

pub async fn outbox_survives_a_kill(mut fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let (queue, destination) = receiver(&fixture).await;
    fixture.set_receivers(false);
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    transaction.outbox_publish(&destination, message("committed")).await.unwrap();
    transaction.outbox_audit(record("person.add")).await.unwrap();
    transaction.commit().await.unwrap();
    let mut open_at_kill = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    open_at_kill.outbox_publish(&destination, message("uncommitted")).await.unwrap();
    fixture.reopen().await;
    drop((open_at_kill, db));
    assert!(arrivals(&fixture, &queue, Duration::from_millis(200)).await.is_empty());
    fixture.set_receivers(true);
    // Nobody opens the database: what waits in it is delivered all the same.
    assert_eq!(arrivals(&fixture, &queue, Duration::from_secs(20)).await, ["committed"]);
    eventually("the record is there", async || fixture.audit().count().await.unwrap() == 1).await;
    fixture.reopen().await;
    assert!(arrivals(&fixture, &queue, Duration::from_millis(500)).await.is_empty());
    assert_eq!(fixture.audit().count().await.unwrap(), 1);
}
