//! Several servers that are one: nothing runs beside these tests in their group.

use super::{eventually, rabbitmq};
use lapin::{
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use plinth_services::{RabbitMqCluster, Redis, RedisCluster, RedisSentinel};
use redis::{AsyncCommands, Client, cluster::ClusterClient};

#[tokio::test]
async fn a_redis_cluster_spreads_keys_and_serves_again_after_a_restart() {
    let cluster = RedisCluster::start().await.unwrap();
    let client = ClusterClient::new(cluster.urls()).unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    for n in 0..64 {
        let _: () = connection.set(format!("k{n}"), n).await.unwrap();
        assert_eq!(connection.get::<_, i32>(format!("k{n}")).await.unwrap(), n);
    }
    for url in cluster.urls() {
        let mut node = Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let keys: usize = redis::cmd("DBSIZE").query_async(&mut node).await.unwrap();
        assert!((1..64).contains(&keys), "{keys} of 64 keys on one node");
    }
    let node = cluster.node(1).unwrap();
    node.kill().await.unwrap();
    node.restart().await.unwrap();
    cluster.ready().await.unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    for n in 0..64 {
        eventually("a write to every slot", async || connection.set::<_, _, ()>(format!("k{n}"), n).await).await;
    }
}

#[tokio::test]
async fn sentinels_find_another_master() {
    let group = RedisSentinel::start().await.unwrap();
    let urls = group.sentinel_urls();
    let mut sentinel = redis::sentinel::Sentinel::build(urls.iter().map(String::as_str).collect()).unwrap();
    let first = sentinel.async_master_for(group.master_name(), None).await.unwrap();
    let mut connection = first.get_multiplexed_async_connection().await.unwrap();
    let _: () = connection.set("k", "v").await.unwrap();
    let followers: usize = redis::cmd("WAIT").arg(2).arg(10_000).query_async(&mut connection).await.unwrap();
    assert_eq!(followers, 2);

    let killed = group.kill_master().await.unwrap();
    connection.get::<_, String>("k").await.expect_err("it is dead");
    eventually("a write to the new master", async || {
        let client = sentinel.async_master_for(group.master_name(), None).await?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        assert_eq!(connection.get::<_, String>("k").await?, "v", "what both replicas had");
        connection.set::<_, _, ()>("k", "w").await
    })
    .await;
    // Each sentinel hears of it in its own time.
    eventually("the first sentinel knows", async || match group.master().await {
        Ok(master) if master.url() != killed.url() => Ok(()),
        other => Err(other.map(Redis::url)),
    })
    .await;

    killed.restart().await.unwrap();
    let back = Client::open(killed.url()).unwrap();
    eventually("the old master as a replica", async || {
        // It lets go of its clients when it is told to follow, so each look has a connection of its own.
        let mut connection = back.get_multiplexed_async_connection().await.map_err(Err)?;
        match connection.get::<_, Option<String>>("k").await {
            Ok(Some(value)) if value == "w" => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_rabbitmq_cluster_confirms_without_one_node_and_takes_it_back() {
    let cluster = RabbitMqCluster::start().await.unwrap();
    let urls = cluster.urls();
    let (_connection, channel) = rabbitmq::connect(&urls[1]).await.unwrap();
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("q".into(), durable, quorum).await.unwrap();
    rabbitmq::publish(&channel, "q", b"1").await.unwrap();

    let node = cluster.node(0).unwrap();
    node.kill().await.unwrap();
    eventually("a confirm by two of three", async || rabbitmq::publish(&channel, "q", b"2").await).await;

    node.restart().await.unwrap();
    cluster.ready().await.unwrap();
    let (_connection, channel) = rabbitmq::connect(&urls[0]).await.unwrap();
    rabbitmq::publish(&channel, "q", b"3").await.unwrap();
}
