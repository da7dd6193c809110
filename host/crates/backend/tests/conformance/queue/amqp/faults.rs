//! Faults of a private broker and of the line to it: what was confirmed stays, what is unknown is said to be.

use super::support::{Opened, declared, deliver_all, insist, nothing_is_lost, proxy, publish, quick, through};
use plinth_capability::{
    ErrorKind,
    name::QueueName,
    queue::{Queue, QueueSpec, Settlement},
};
use plinth_services::{Fault, RabbitMq};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

fn url(broker: &RabbitMq) -> String {
    format!("{}/%2f", broker.url())
}

fn once(ids: &[&str]) -> HashMap<String, usize> {
    ids.iter().map(|id| ((*id).to_owned(), 1)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_that_was_confirmed() {
    let broker = RabbitMq::start().await.unwrap();
    let (opened, work) = declared(quick(url(&broker))).await;
    broker.settle().await.unwrap();
    nothing_is_lost(&opened, &work, 300, async {
        broker.kill().await.unwrap();
        broker.restart().await.unwrap();
    })
    .await;
}

/// A broker forgets what was declared shortly before it was killed; the hosts remember it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_broker_forgot_is_declared_again() {
    let broker = RabbitMq::start().await.unwrap();
    let (opened, work) = declared(quick(url(&broker))).await;
    publish(&*opened.queue, &work, "before").await.unwrap();
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    let began = Instant::now();
    while publish(&*opened.queue, &work, "after").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "never usable again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(deliver_all(&*opened.queue, &work, 1).await.contains_key("after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_broker_leaves_an_outcome_unknown() {
    let broker = RabbitMq::start().await.unwrap();
    let (opened, work) = declared(quick(url(&broker))).await;
    publish(&*opened.queue, &work, "before").await.unwrap();
    broker.pause().unwrap();
    let asked = Instant::now();
    assert_eq!(publish(&*opened.queue, &work, "during").await, Err(ErrorKind::OutcomeUnknown));
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    broker.resume().unwrap();
    insist(&*opened.queue, &work, "during").await;
    assert_eq!(deliver_all(&*opened.queue, &work, 2).await, once(&["before", "during"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_confirmation_is_an_unknown_outcome_and_the_repeat_is_dropped() {
    let broker = RabbitMq::start().await.unwrap();
    let line = proxy(&url(&broker)).await;
    let (opened, work) = declared(quick(through(&line, &url(&broker)))).await;
    publish(&*opened.queue, &work, "before").await.unwrap();
    line.set(Fault::LoseReplies);
    assert_eq!(publish(&*opened.queue, &work, "stored").await, Err(ErrorKind::OutcomeUnknown));
    line.set(Fault::Pass);
    assert!(insist(&*opened.queue, &work, "stored").await > 0);
    assert_eq!(opened.queue.depth(&work).await.unwrap().ready, 3, "it was stored although its confirmation was lost");
    assert_eq!(deliver_all(&*opened.queue, &work, 2).await, once(&["before", "stored"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_line_loses_nothing() {
    let broker = RabbitMq::start().await.unwrap();
    let line = proxy(&url(&broker)).await;
    let (opened, work) = declared(quick(through(&line, &url(&broker)))).await;
    nothing_is_lost(&opened, &work, 300, async {
        line.set(Fault::Reset);
        // What a line that is down for a while looks like.
        tokio::time::sleep(Duration::from_millis(500)).await;
        line.set(Fault::Pass);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_lost_with_its_connection() {
    let broker = RabbitMq::start().await.unwrap();
    let line = proxy(&url(&broker)).await;
    let (opened, work) = declared(quick(through(&line, &url(&broker)))).await;
    publish(&*opened.queue, &work, "m").await.unwrap();
    let wait = Duration::from_secs(20);
    let first = opened.queue.consume(&work, 1, wait).await.unwrap().remove(0);
    line.reset_all();
    let again = opened.queue.consume(&work, 1, wait).await.unwrap().remove(0);
    assert_eq!((again.message.id.as_str(), again.attempt), ("m", 2));
    assert_eq!(opened.queue.settle(&first, Settlement::Ack).await.unwrap_err().kind(), ErrorKind::Conflict);
    opened.queue.settle(&again, Settlement::Ack).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_stops_publishes_and_not_acks() {
    let broker = RabbitMq::start().await.unwrap();
    let (opened, work) = declared(quick(url(&broker))).await;
    publish(&*opened.queue, &work, "before").await.unwrap();
    let held = opened.queue.consume(&work, 1, Duration::from_secs(20)).await.unwrap().remove(0);
    broker.memory_alarm(true).await.unwrap();
    let first = publish(&*opened.queue, &work, "during").await.unwrap_err();
    assert!(matches!(first, ErrorKind::OutcomeUnknown | ErrorKind::Unavailable), "{first:?}");
    let asked = Instant::now();
    assert_eq!(publish(&*opened.queue, &work, "during").await, Err(ErrorKind::Unavailable));
    assert!(asked.elapsed() < Duration::from_secs(1), "a blocked connection is known to be: {:?}", asked.elapsed());
    assert_eq!(opened.queue.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
    opened.queue.settle(&held, Settlement::Ack).await.unwrap();
    assert_eq!(opened.queue.depth(&work).await.unwrap().in_flight, 0);
    broker.memory_alarm(false).await.unwrap();
    insist(&*opened.queue, &work, "during").await;
    assert_eq!(deliver_all(&*opened.queue, &work, 1).await, once(&["during"]));
}

/// A host starts without a broker, says so while it is away, and works when it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_may_come_later() {
    let broker = RabbitMq::start().await.unwrap();
    broker.kill().await.unwrap();
    let opened = Opened::new(quick(url(&broker))).await;
    let work = QueueName::new("work").unwrap();
    assert_eq!(opened.queue.declare(&work, &QueueSpec::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(opened.queue.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
    broker.restart().await.unwrap();
    let began = Instant::now();
    while opened.queue.declare(&work, &QueueSpec::default()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "never usable");
    }
    publish(&*opened.queue, &work, "m").await.unwrap();
    assert_eq!(deliver_all(&*opened.queue, &work, 1).await, once(&["m"]));
    opened.queue.close().await;
}
