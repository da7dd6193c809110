//! The queue's suite: one case per bullet of the contract of [`crate::queue::Queue`].
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a case fails by panicking")]

mod operators;
mod support;

pub use operators::{purge_forgets, replay_puts_back, selection_is_obeyed};
pub use support::{QueueFixture, take};

use crate::{
    ErrorKind, now_ms,
    queue::{BODY_MAX, DELAY_MAX, Depth, Message, QueueSpec, Settlement},
};
use bytes::Bytes;
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};
use support::*;

/// Makes the tests of one backend: `$make` is an async expression that yields a [`QueueFixture`].
#[macro_export]
macro_rules! queue_conformance {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::queue, $make;
            published_is_delivered,
            unsettled_is_redelivered,
            ack_forgets,
            stale_token_changes_nothing,
            retry_backs_off,
            attempts_are_bounded,
            dead_keeps_the_reason,
            release_does_not_count,
            higher_priority_first,
            delay_is_respected,
            expired_is_a_dead_letter,
            topic_reaches_every_bound_queue,
            topic_without_queue_is_ok,
            unknown_queue_is_unroutable,
            repeat_is_dropped,
            batch_answers_each,
            bad_message_is_refused,
            depth_counts,
            dead_letters_page,
            replay_puts_back,
            purge_forgets,
            selection_is_obeyed,
            full_queue_refuses,
            consumers_share,
        }
    };
}

pub async fn published_is_delivered(mut fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    let full = Message {
        id: "full 申请".to_owned(),
        body: Bytes::from_static(&[0, 255, 10, 13, 0]),
        content_type: "application/octet-stream".to_owned(),
        headers: vec![("x-b".to_owned(), "2".to_owned()), ("x-a".to_owned(), "ä".to_owned())],
        routing_key: "eu.de".to_owned(),
        correlation_id: Some("c-1".to_owned()),
        priority: 9,
        delay: Duration::from_millis(1),
        expires: Some(Duration::from_secs(3_600)),
    };
    let before = now_ms();
    publish(&queue, &to(&work), full.clone()).await.unwrap();
    publish(&queue, &to(&work), Message { body: Bytes::new(), priority: 0, ..message("empty") }).await.unwrap();
    fixture.reopen().await;
    let queue = fixture.queue();
    let delivery = one(&queue, &work).await;
    assert_eq!(delivery.message, full);
    assert_eq!((delivery.queue.as_str(), delivery.destination.as_str(), delivery.attempt), ("work", "work", 1));
    assert!((before..=now_ms()).contains(&delivery.enqueued_at_ms));
    assert_eq!(one(&queue, &work).await.message.body, Bytes::new());
    // A consumer that was there before the message is woken by it, well before its wait ends.
    let asked = Instant::now();
    let (woken, ()) = tokio::join!(one(&queue, &work), async { publish_ids(&queue, &to(&work), &["woken"]).await });
    assert_eq!((woken.message.id.as_str(), asked.elapsed() < PATIENCE / 2), ("woken", true));
    // Delivered and not settled when the process died: delivered again.
    fixture.reopen().await;
    let again = one(&fixture.queue(), &work).await;
    assert_eq!((again.message, again.attempt), (full, 2));
}

pub async fn unsettled_is_redelivered(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { lease_ms: 300, ..spec() }).await;
    publish_ids(&queue, &to(&work), &["a"]).await;
    let first = one(&queue, &work).await;
    let leased = Instant::now();
    let second = one(&queue, &work).await;
    assert!(leased.elapsed() >= Duration::from_millis(250), "came after {:?}", leased.elapsed());
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!(first.message, second.message);
    assert_ne!(first.token, second.token);
}

pub async fn ack_forgets(mut fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { lease_ms: 1_000, ..spec() }).await;
    publish_ids(&queue, &to(&work), &["a"]).await;
    let delivery = one(&queue, &work).await;
    queue.settle(&delivery, Settlement::Ack).await.unwrap();
    assert_eq!(queue.consume(&work, 1, Duration::from_millis(1_200)).await.unwrap(), [], "not even after its lease");
    fixture.reopen().await;
    nothing_comes(&fixture.queue(), &work).await;
}

pub async fn stale_token_changes_nothing(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { lease_ms: 2_000, ..spec() }).await;
    publish_ids(&queue, &to(&work), &["a"]).await;
    let stale = one(&queue, &work).await;
    let held = one(&queue, &work).await;
    let settlements = [Settlement::Ack, retry(Duration::ZERO), Settlement::Dead { reason: "x".to_owned() }, Settlement::Release];
    for settlement in settlements {
        assert_eq!(queue.settle(&stale, settlement.clone()).await.unwrap_err().kind(), ErrorKind::Conflict, "{settlement:?}");
    }
    eventually_depth(&queue, &work, Depth { in_flight: 1, ..Depth::default() }).await;
    queue.settle(&held, Settlement::Ack).await.unwrap();
    assert_eq!(queue.settle(&held, Settlement::Ack).await.unwrap_err().kind(), ErrorKind::Conflict, "settled twice");
    nothing_comes(&queue, &work).await;
}

pub async fn retry_backs_off(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { backoff_ms: 400, backoff_max_ms: 800, ..spec() }).await;
    publish_ids(&queue, &to(&work), &["a"]).await;
    let mut delivery = one(&queue, &work).await;
    // Attempt by attempt: the doubled backoff less its half, and at least what was given.
    for (after, least, most) in [(None, 200, 400), (None, 400, 800), (None, 400, 800), (Some(1_000), 1_000, 1_000)] {
        let settlement = Settlement::Retry { after: after.map(Duration::from_millis), error: "busy".to_owned() };
        let settled = Instant::now();
        queue.settle(&delivery, settlement).await.unwrap();
        let attempt = delivery.attempt;
        delivery = one(&queue, &work).await;
        let waited = settled.elapsed();
        assert!(waited >= Duration::from_millis(least), "attempt {attempt}: {waited:?} is under {least} ms");
        assert!(waited < Duration::from_millis(most) + PATIENCE / 4, "attempt {attempt}: {waited:?} is far over {most} ms");
        assert_eq!(delivery.attempt, attempt + 1);
    }
}

pub async fn attempts_are_bounded(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { max_attempts: 3, lease_ms: 500, ..spec() }).await;
    publish_ids(&queue, &to(&work), &["retried"]).await;
    for attempt in 1..=3 {
        let delivery = one(&queue, &work).await;
        assert_eq!(delivery.attempt, attempt);
        queue.settle(&delivery, Settlement::Retry { after: Some(Duration::ZERO), error: format!("failure {attempt}") }).await.unwrap();
    }
    eventually_depth(&queue, &work, Depth { dead: 1, ..Depth::default() }).await;
    let letters = queue.dead_letters(&work, None, 10).await.unwrap().letters;
    assert_eq!((letters[0].reason.as_str(), letters[0].last_error.as_str(), letters[0].attempts), ("attempts-exhausted", "failure 3", 3));
    // A consumer that never settles is bounded as well.
    publish_ids(&queue, &to(&work), &["dropped"]).await;
    for attempt in 1..=3 {
        assert_eq!(one(&queue, &work).await.attempt, attempt);
    }
    eventually_depth(&queue, &work, Depth { dead: 2, ..Depth::default() }).await;
    let letters = queue.dead_letters(&work, None, 10).await.unwrap().letters;
    assert_eq!((letters[1].message_id.as_str(), letters[1].reason.as_str()), ("dropped", "attempts-exhausted"));
}

pub async fn dead_keeps_the_reason(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    let before = now_ms();
    let sent = Message { headers: vec![("k".to_owned(), "v".to_owned())], ..message("a") };
    publish(&queue, &to(&work), sent.clone()).await.unwrap();
    let delivery = one(&queue, &work).await;
    queue.settle(&delivery, Settlement::Dead { reason: "no such order".to_owned() }).await.unwrap();
    eventually_depth(&queue, &work, Depth { dead: 1, ..Depth::default() }).await;
    let letter = queue.dead_letters(&work, None, 10).await.unwrap().letters.remove(0);
    assert_eq!((letter.reason.as_str(), letter.last_error.as_str(), letter.attempts), ("rejected", "no such order", 1));
    assert_eq!((letter.message_id, letter.queue, letter.destination), (sent.id, work.clone(), "work".to_owned()));
    assert_eq!((letter.content_type, letter.body, letter.headers), (sent.content_type, sent.body.to_vec(), sent.headers));
    assert!(before <= letter.enqueued_at_ms && letter.enqueued_at_ms <= letter.died_at_ms && letter.died_at_ms <= now_ms());
    nothing_comes(&queue, &work).await;
}

pub async fn release_does_not_count(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { max_attempts: 2, ..spec() }).await;
    publish_ids(&queue, &to(&work), &["a"]).await;
    for _ in 0..5 {
        let delivery = one(&queue, &work).await;
        assert_eq!(delivery.attempt, 1);
        queue.settle(&delivery, Settlement::Release).await.unwrap();
    }
    assert_eq!(queue.depth(&work).await.unwrap().dead, 0);
}

pub async fn higher_priority_first(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    let batch = [("a0", 0), ("b5", 5), ("c9", 9), ("d5", 5), ("e0", 0), ("f9", 9)];
    let messages = batch.iter().map(|(id, priority)| Message { priority: *priority, ..message(id) }).collect();
    assert!(queue.publish(&to(&work), messages).await.unwrap().iter().all(Result::is_ok));
    eventually_depth(&queue, &work, Depth { ready: 6, ..Depth::default() }).await;
    let one_by_one = [one(&queue, &work).await, one(&queue, &work).await];
    assert_eq!(ids(&one_by_one), ["c9", "f9"]);
    assert_eq!(ids(&drain(&queue, &work, 4).await), ["b5", "d5", "a0", "e0"]);
}

pub async fn delay_is_respected(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    let published = Instant::now();
    // The delayed one has the higher priority: it must not hold up the other.
    publish(&queue, &to(&work), Message { delay: Duration::from_millis(700), priority: 9, ..message("later") }).await.unwrap();
    publish(&queue, &to(&work), message("now")).await.unwrap();
    assert_eq!(one(&queue, &work).await.message.id, "now");
    nothing_comes(&queue, &work).await;
    assert_eq!(one(&queue, &work).await.message.id, "later");
    assert!(published.elapsed() >= Duration::from_millis(700), "came after {:?}", published.elapsed());
}

pub async fn expired_is_a_dead_letter(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    for (id, delay, expires) in [("short", 0, 1), ("delayed", 3_600, 1), ("long", 0, 3_600)] {
        let (delay, expires) = (Duration::from_secs(delay), Some(Duration::from_secs(expires)));
        publish(&queue, &to(&work), Message { delay, expires, ..message(id) }).await.unwrap();
    }
    eventually_depth(&queue, &work, Depth { ready: 1, dead: 2, ..Depth::default() }).await;
    let letters = queue.dead_letters(&work, None, 10).await.unwrap().letters;
    assert!(letters.iter().all(|letter| letter.reason == "expired" && letter.attempts == 0), "{letters:?}");
    let dead: HashSet<_> = letters.iter().map(|letter| letter.message_id.as_str()).collect();
    assert_eq!(dead, HashSet::from(["short", "delayed"]));
    assert_eq!(one(&queue, &work).await.message.id, "long");
    nothing_comes(&queue, &work).await;
}

pub async fn topic_reaches_every_bound_queue(fixture: impl QueueFixture) {
    let queue = fixture.queue();
    let bindings = [("exact", vec!["a.b.c"]), ("twice", vec!["a.*", "a.b.*"]), ("all", vec!["*"]), ("other", vec!["b.*"])];
    for (to, patterns) in &bindings {
        queue.declare(&name(to), &spec()).await.unwrap();
        queue.bind(&name(to), &patterns.iter().map(|text| pattern(text)).collect::<Vec<_>>()).await.unwrap();
    }
    publish(&queue, &topic("a.b.c"), message("m")).await.unwrap();
    for of in ["exact", "twice", "all"] {
        let delivery = one(&queue, &name(of)).await;
        assert_eq!((delivery.message.id.as_str(), delivery.destination.as_str(), delivery.queue.as_str()), ("m", "a.b.c", of));
        nothing_comes(&queue, &name(of)).await;
    }
    nothing_comes(&queue, &name("other")).await;
    // Binding replaces: what fed the queue before no longer does.
    queue.bind(&name("exact"), &[pattern("c.*")]).await.unwrap();
    publish(&queue, &topic("a.b.c"), message("n")).await.unwrap();
    publish(&queue, &topic("c.d"), message("o")).await.unwrap();
    assert_eq!(one(&queue, &name("exact")).await.message.id, "o");
}

pub async fn topic_without_queue_is_ok(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    queue.bind(&work, &[pattern("a.*")]).await.unwrap();
    publish(&queue, &topic("b.c"), message("m")).await.unwrap();
    nothing_comes(&queue, &work).await;
}

pub async fn unknown_queue_is_unroutable(fixture: impl QueueFixture) {
    let queue = fixture.queue();
    let refused = publish(&queue, &to(&name("nowhere")), message("m")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unroutable);
}

pub async fn repeat_is_dropped(mut fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    queue.declare(&name("second"), &spec()).await.unwrap();
    queue.bind(&name("second"), &[pattern("*")]).await.unwrap();
    queue.bind(&work, &[pattern("*")]).await.unwrap();
    publish_ids(&queue, &to(&work), &["m", "m"]).await;
    publish_ids(&queue, &to(&work), &["m"]).await;
    let delivery = one(&queue, &work).await;
    nothing_comes(&queue, &work).await;
    queue.settle(&delivery, Settlement::Ack).await.unwrap();
    publish_ids(&queue, &to(&work), &["m"]).await;
    // By a topic it is a repeat for one queue and new for the other.
    publish(&queue, &topic("t"), message("m")).await.unwrap();
    assert_eq!(one(&queue, &name("second")).await.message.id, "m");
    fixture.reopen().await;
    let queue = fixture.queue();
    publish_ids(&queue, &to(&work), &["m"]).await;
    nothing_comes(&queue, &work).await;
}

pub async fn batch_answers_each(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    let batch = vec![message("a"), Message { priority: 10, ..message("bad") }, message("c"), message("")];
    let outcomes = queue.publish(&to(&work), batch).await.unwrap();
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(ids(&drain(&queue, &work, 2).await), ["a", "c"]);
    nothing_comes(&queue, &work).await;
    assert!(queue.publish(&to(&work), Vec::new()).await.unwrap().is_empty());
}

pub async fn bad_message_is_refused(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    let over = DELAY_MAX + Duration::from_secs(1);
    let bad = [
        Message { priority: 10, ..message("priority") },
        Message { body: Bytes::from(vec![0; BODY_MAX + 1]), ..message("body") },
        Message { delay: over, ..message("delay") },
        Message { expires: Some(over), ..message("expires") },
        message(""),
        message(&"i".repeat(129)),
    ];
    for bad in bad {
        let id = bad.id.clone();
        let kind = publish(&queue, &to(&work), bad).await.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::InvalidInput | ErrorKind::LimitExceeded), "{id}: {kind:?}");
    }
    nothing_comes(&queue, &work).await;
    let largest = Message { body: Bytes::from(vec![7; BODY_MAX]), ..message(&"i".repeat(128)) };
    publish(&queue, &to(&work), largest.clone()).await.unwrap();
    assert_eq!(one(&queue, &work).await.message, largest);
}

pub async fn depth_counts(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    assert_eq!(queue.depth(&work).await.unwrap(), Depth::default());
    publish_ids(&queue, &to(&work), &["a", "b", "c", "d", "e"]).await;
    publish(&queue, &to(&work), Message { delay: Duration::from_secs(3_600), ..message("later") }).await.unwrap();
    let deliveries = drain(&queue, &work, 3).await;
    queue.settle(&deliveries[0], Settlement::Dead { reason: "x".to_owned() }).await.unwrap();
    queue.settle(&deliveries[1], retry(Duration::from_secs(3_600))).await.unwrap();
    eventually_depth(&queue, &work, Depth { ready: 2, delayed: 2, in_flight: 1, dead: 1 }).await;
    queue.settle(&deliveries[2], Settlement::Ack).await.unwrap();
    eventually_depth(&queue, &work, Depth { ready: 2, delayed: 2, in_flight: 0, dead: 1 }).await;
    assert_eq!(queue.queues().await.unwrap(), [work]);
}

pub async fn dead_letters_page(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    // More than any store keeps in order by chance, or reads in one go.
    let all: Vec<_> = (0..600).map(|n| format!("m{n:03}")).collect();
    publish_ids(&queue, &to(&work), &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    bury(&queue, &work, 600).await;
    let (mut seen, mut sizes, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = queue.dead_letters(&work, cursor.as_deref(), 250).await.unwrap();
        sizes.push(page.letters.len());
        seen.extend(page.letters.into_iter().map(|letter| letter.message_id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((seen, sizes), (all, vec![250, 250, 100]));
    let refused = queue.dead_letters(&work, Some("no cursor"), 3).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

pub async fn full_queue_refuses(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { max_depth: 3, ..spec() }).await;
    publish_ids(&queue, &to(&work), &["a", "b", "c"]).await;
    eventually_depth(&queue, &work, Depth { ready: 3, ..Depth::default() }).await;
    assert_eq!(publish(&queue, &to(&work), message("d")).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    let delivery = one(&queue, &work).await;
    queue.settle(&delivery, Settlement::Ack).await.unwrap();
    eventually_depth(&queue, &work, Depth { ready: 2, ..Depth::default() }).await;
    // What was refused was not stored, so its id is no repeat.
    publish(&queue, &to(&work), message("d")).await.unwrap();
    assert_eq!(ids(&drain(&queue, &work, 3).await), ["b", "c", "d"]);
}

pub async fn consumers_share(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    let all: Vec<_> = (0..60).map(|n| format!("m{n}")).collect();
    publish_ids(&queue, &to(&work), &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut consumers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (queue, work) = (Arc::clone(&queue), work.clone());
        consumers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let deliveries = queue.consume(&work, 7, 5 * QUIET).await.unwrap();
                if deliveries.is_empty() {
                    return mine;
                }
                for delivery in deliveries {
                    queue.settle(&delivery, Settlement::Ack).await.unwrap();
                    mine.push(delivery.message.id);
                }
            }
        });
    }
    let mut seen: Vec<_> = consumers.join_all().await.into_iter().flatten().collect();
    seen.sort_by_key(|id| id[1..].parse::<u32>().unwrap());
    assert_eq!(seen, all);
}
