//! A place of one's own on the servers of the run.

use super::rabbitmq;
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use plinth_services::shared;
use redis::AsyncCommands;
use sqlx::{Connection, PgConnection};

#[tokio::test]
async fn prefixes_of_redis_differ() {
    let client = redis::Client::open(shared::redis().unwrap()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (one, two) = (shared::redis_prefix(), shared::redis_prefix());
    let _: () = connection.set(format!("{one}k"), "v").await.unwrap();
    assert_eq!(connection.get::<_, Option<String>>(format!("{two}k")).await.unwrap(), None);
    let _: () = connection.del(format!("{one}k")).await.unwrap();
}

#[tokio::test]
async fn a_vhost_is_empty_and_goes_with_its_owner() {
    let (one, two) = (shared::rabbitmq_vhost().await.unwrap(), shared::rabbitmq_vhost().await.unwrap());
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let (_one, first) = rabbitmq::connect(&one.url()).await.unwrap();
    let (_two, second) = rabbitmq::connect(&two.url()).await.unwrap();
    first.queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    first.queue_declare("q".into(), passive, FieldTable::default()).await.unwrap();
    second.queue_declare("q".into(), passive, FieldTable::default()).await.expect_err("a queue of another vhost");

    let url = one.url();
    drop(one);
    rabbitmq::connect(&url).await.expect_err("the vhost is gone");
}

#[tokio::test]
async fn a_database_is_empty_and_goes_with_its_owner() {
    let (one, two) = (shared::postgres_database().await.unwrap(), shared::postgres_database().await.unwrap());
    let mut first = PgConnection::connect(&one.url()).await.unwrap();
    let mut second = PgConnection::connect(&two.url()).await.unwrap();
    sqlx::query("create table t as select 1 as n").execute(&mut first).await.unwrap();
    sqlx::query("select * from t").execute(&mut second).await.expect_err("a table of another database");

    let url = one.url();
    drop(one);
    first.ping().await.expect_err("the session is ended");
    PgConnection::connect(&url).await.expect_err("the database is gone");
}
