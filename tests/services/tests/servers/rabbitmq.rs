//! A private RabbitMQ node.

use super::{PATIENCE, SILENCE};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use plinth_services::RabbitMq;
use tokio::time::timeout;

pub(crate) async fn connect(url: &str) -> Result<(Connection, Channel), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Publishes a persistent message and waits for the broker's word.
pub(crate) async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<(), lapin::Error> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let confirmed = channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, properties).await?.await?;
    assert!(confirmed.is_ack(), "{confirmed:?}");
    Ok(())
}

async fn take(channel: &Channel, queue: &str) -> Option<Vec<u8>> {
    let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
    got.map(|message| message.delivery.data)
}

async fn declare(channel: &Channel, queue: &str) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
}

#[tokio::test]
async fn a_confirmed_message_survives_a_kill_and_the_address_stays() {
    let broker = RabbitMq::start().await.unwrap();
    let url = broker.url();
    let (_connection, channel) = connect(&url).await.unwrap();
    declare(&channel, "q").await;
    publish(&channel, "q", b"kept").await.unwrap();
    broker.settle().await.unwrap();

    broker.kill().await.unwrap();
    connect(&url).await.expect_err("nobody listens");

    broker.restart().await.unwrap();
    assert_eq!(broker.url(), url);
    let (_connection, channel) = connect(&url).await.unwrap();
    assert_eq!(take(&channel, "q").await.as_deref(), Some(&b"kept"[..]));
}

#[tokio::test]
async fn a_publisher_waits_for_a_broker_that_is_paused_or_out_of_memory() {
    let broker = RabbitMq::start().await.unwrap();
    let (_connection, channel) = connect(&broker.url()).await.unwrap();
    declare(&channel, "q").await;
    {
        broker.pause().unwrap();
        let published = publish(&channel, "q", b"1");
        tokio::pin!(published);
        timeout(SILENCE, &mut published).await.expect_err("no word while it is paused");
        broker.resume().unwrap();
        timeout(PATIENCE, published).await.unwrap().unwrap();
    }
    broker.memory_alarm(true).await.unwrap();
    {
        let published = publish(&channel, "q", b"2");
        tokio::pin!(published);
        timeout(SILENCE, &mut published).await.expect_err("no word while the alarm is set");
        broker.memory_alarm(false).await.unwrap();
        timeout(PATIENCE, published).await.unwrap().unwrap();
    }
    assert_eq!(take(&channel, "q").await.as_deref(), Some(&b"1"[..]));
    assert_eq!(take(&channel, "q").await.as_deref(), Some(&b"2"[..]));
}
