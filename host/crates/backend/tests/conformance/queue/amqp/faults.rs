//! Faults of a private broker: what was confirmed stays, what is unknown is said to be.

use super::{Opened, config};
use bytes::Bytes;
use plinth_backend::queue::AmqpConfig;
use plinth_capability::{
    ErrorKind,
    conformance::queue::take,
    name::QueueName,
    queue::{Destination, Message, Queue, QueueSpec, Settlement},
};
use plinth_services::RabbitMq;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

fn message(id: String) -> Message {
    Message {
        id,
        body: Bytes::from_static(b"body"),
        content_type: "text/plain".to_owned(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority: 4,
        delay: Duration::ZERO,
        expires: None,
    }
}

fn quick(url: String) -> AmqpConfig {
    AmqpConfig { confirm_timeout_ms: 2_000, connect_timeout_ms: 2_000, heartbeat_s: 1, ..config(url) }
}

async fn publish(queue: &dyn Queue, to: &QueueName, id: &str) -> Result<(), ErrorKind> {
    let sent = queue.publish(&Destination::Queue(to.clone()), vec![message(id.to_owned())]).await;
    sent.and_then(|mut outcomes| outcomes.remove(0)).map_err(|e| e.kind())
}

/// Publishes under one id until it is confirmed, as a relay does.
async fn insist(queue: &dyn Queue, to: &QueueName, id: &str) -> usize {
    let began = Instant::now();
    let mut tries = 1;
    while let Err(kind) = publish(queue, to, id).await {
        assert!(matches!(kind, ErrorKind::OutcomeUnknown | ErrorKind::Unavailable), "{kind:?}");
        assert!(began.elapsed() < Duration::from_secs(100), "never confirmed again");
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tries
}

async fn declared(broker: &RabbitMq) -> (Opened, QueueName) {
    let opened = Opened::new(quick(format!("{}/%2f", broker.url()))).await;
    let work = QueueName::new("work").unwrap();
    opened.queue.declare(&work, &QueueSpec::default()).await.unwrap();
    (opened, work)
}

/// Takes and acks until nothing more comes; how often each id was delivered.
async fn deliver_all(queue: &dyn Queue, from: &QueueName) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    loop {
        let deliveries = take(queue, from, 100, Duration::from_secs(3)).await;
        if deliveries.is_empty() {
            return seen;
        }
        for delivery in deliveries {
            queue.settle(&delivery, Settlement::Ack).await.unwrap();
            *seen.entry(delivery.message.id).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_that_was_confirmed() {
    let broker = RabbitMq::start().await.unwrap();
    let (opened, work) = declared(&broker).await;
    let publishing = {
        let (queue, work) = (Arc::clone(&opened.queue), work.clone());
        async move {
            let mut troubled = 0;
            for n in 0..300 {
                troubled += usize::from(insist(&*queue, &work, &format!("m{n}")).await > 1);
            }
            troubled
        }
    };
    let fault = async {
        let began = Instant::now();
        while opened.queue.depth(&work).await.unwrap().ready < 50 {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing is published");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        broker.kill().await.unwrap();
        broker.restart().await.unwrap();
    };
    let (troubled, ()) = tokio::join!(publishing, fault);
    assert!(troubled > 0, "the fault was not met");
    let seen = deliver_all(&*opened.queue, &work).await;
    let lost: BTreeSet<_> = (0..300).map(|n| format!("m{n}")).filter(|id| !seen.contains_key(id)).collect();
    assert_eq!(lost, BTreeSet::new());
    assert_eq!(seen.values().filter(|times| **times > 1).count(), 0, "repeats are dropped by the inbox");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_broker_leaves_an_outcome_unknown() {
    let broker = RabbitMq::start().await.unwrap();
    let (opened, work) = declared(&broker).await;
    publish(&*opened.queue, &work, "before").await.unwrap();
    broker.pause().unwrap();
    let asked = Instant::now();
    assert_eq!(publish(&*opened.queue, &work, "during").await, Err(ErrorKind::OutcomeUnknown));
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    broker.resume().unwrap();
    insist(&*opened.queue, &work, "during").await;
    let seen = deliver_all(&*opened.queue, &work).await;
    assert_eq!(seen, HashMap::from([("before".to_owned(), 1), ("during".to_owned(), 1)]));
}

/// A host starts without a broker, says so while it is away, and works when it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_may_come_later() {
    let broker = RabbitMq::start().await.unwrap();
    broker.kill().await.unwrap();
    let opened = Opened::new(quick(format!("{}/%2f", broker.url()))).await;
    let work = QueueName::new("work").unwrap();
    assert_eq!(opened.queue.declare(&work, &QueueSpec::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(opened.queue.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
    broker.restart().await.unwrap();
    let began = Instant::now();
    while opened.queue.declare(&work, &QueueSpec::default()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "never usable");
    }
    publish(&*opened.queue, &work, "m").await.unwrap();
    assert_eq!(deliver_all(&*opened.queue, &work).await, HashMap::from([("m".to_owned(), 1)]));
}
