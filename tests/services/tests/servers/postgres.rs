//! A private PostgreSQL and its replica.

use super::{SILENCE, eventually};
use plinth_services::Postgres;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

async fn connect(server: &Postgres) -> PgConnection {
    PgConnection::connect(&format!("{}/postgres", server.url())).await.unwrap()
}

async fn count(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from t").fetch_one(connection).await
}

#[tokio::test]
async fn a_commit_survives_a_kill_and_the_address_stays() {
    let server = Postgres::start().await.unwrap();
    let url = server.url();
    let mut connection = connect(&server).await;
    sqlx::query("create table t as select 1 as n").execute(&mut connection).await.unwrap();

    server.kill().await.unwrap();
    count(&mut connection).await.expect_err("its session is gone as well");
    PgConnection::connect(&format!("{url}/postgres")).await.expect_err("nobody listens");

    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_eq!(count(&mut connect(&server).await).await.unwrap(), 1);
}

#[tokio::test]
async fn a_paused_one_stops_sessions_that_are_open() {
    let server = Postgres::start().await.unwrap();
    let mut connection = connect(&server).await;
    server.pause().unwrap();
    {
        let asked = sqlx::query_scalar::<_, i32>("select 7").fetch_one(&mut connection);
        tokio::pin!(asked);
        timeout(SILENCE, &mut asked).await.expect_err("no answer while it is paused");
        server.resume().unwrap();
        assert_eq!(asked.await.unwrap(), 7);
    }
    connect(&server).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_replica_follows_refuses_writes_and_takes_over() {
    let server = Postgres::start().await.unwrap();
    sqlx::query("create table t as select 1 as n").execute(&mut connect(&server).await).await.unwrap();
    let replica = server.replica().await.unwrap();
    sqlx::query("insert into t values (2)").execute(&mut connect(&server).await).await.unwrap();
    let mut follower = connect(&replica).await;
    eventually("the second row", async || match count(&mut follower).await {
        Ok(2) => Ok(()),
        other => Err(other),
    })
    .await;
    let refused = sqlx::query("insert into t values (3)").execute(&mut follower).await.unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");

    server.kill().await.unwrap();
    replica.promote().await.unwrap();
    sqlx::query("insert into t values (3)").execute(&mut follower).await.unwrap();
    assert_eq!(count(&mut follower).await.unwrap(), 3);
}
