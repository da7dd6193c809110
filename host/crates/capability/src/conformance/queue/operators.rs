//! The cases of what operators do with dead letters: put them back, forget them, choose among them.

use super::support::*;
use crate::{
    conformance::eventually,
    name::QueueName,
    now_ms,
    queue::{DeadLetterFilter, Depth, Queue, QueueSpec, Selection, Settlement},
};
use std::sync::Arc;

pub async fn replay_puts_back(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { max_attempts: 2, ..spec() }).await;
    publish_ids(&queue, &to(&work), &["a", "b", "c"]).await;
    bury(&queue, &work, 3).await;
    let some = Selection::Ids(vec!["b".to_owned(), "unknown".to_owned()]);
    assert_eq!(queue.replay(&work, some.clone()).await.unwrap(), 1);
    let delivery = one(&queue, &work).await;
    assert_eq!((delivery.message, delivery.attempt), (message("b"), 1));
    assert_eq!(queue.replay(&work, some).await.unwrap(), 0, "it is no dead letter any more");
    assert_eq!(queue.replay(&work, Selection::All).await.unwrap(), 2);
    let mut rest = drain(&queue, &work, 2).await;
    rest.sort_by(|a, b| a.message.id.cmp(&b.message.id));
    assert_eq!(ids(&rest), ["a", "c"]);
    assert!(rest.iter().all(|delivery| delivery.attempt == 1));
    eventually_depth(&queue, &work, Depth { in_flight: 3, ..Depth::default() }).await;
}

pub async fn purge_forgets(mut fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, spec()).await;
    publish_ids(&queue, &to(&work), &["a", "b", "c"]).await;
    bury(&queue, &work, 3).await;
    publish_ids(&queue, &to(&work), &["ready", "held"]).await;
    let held = one(&queue, &work).await;
    let some = Selection::Ids(vec!["b".to_owned(), "unknown".to_owned(), held.message.id.clone()]);
    assert_eq!(queue.purge(&work, some.clone()).await.unwrap(), 1, "of these only one is dead");
    assert_eq!(queue.purge(&work, some).await.unwrap(), 0, "it is forgotten");
    assert_eq!(dead(&queue, &work).await, ["a", "c"]);
    assert_eq!(queue.purge(&work, Selection::All).await.unwrap(), 2);
    eventually_depth(&queue, &work, Depth { ready: 1, in_flight: 1, ..Depth::default() }).await;
    queue.settle(&held, Settlement::Ack).await.unwrap();
    let last = one(&queue, &work).await;
    queue.settle(&last, Settlement::Ack).await.unwrap();
    publish_ids(&queue, &to(&work), &["a"]).await;
    nothing_comes(&queue, &work).await;
    fixture.reopen().await;
    let queue = fixture.queue();
    assert_eq!(queue.replay(&work, Selection::All).await.unwrap(), 0);
    nothing_comes(&queue, &work).await;
    let nowhere = queue.purge(&name("nowhere"), Selection::All).await.unwrap_err();
    assert_eq!(nowhere.kind(), crate::ErrorKind::NotFound);
}

pub async fn selection_is_obeyed(fixture: impl QueueFixture) {
    let (queue, work) = declared(&fixture, QueueSpec { max_attempts: 1, ..spec() }).await;
    queue.bind(&work, &[pattern("a.*")]).await.unwrap();
    die(&queue, &work, &[("q-rejected", true, true), ("t-rejected", false, true), ("q-spent", true, false), ("t-spent", false, false)])
        .await;
    let early = queue.dead_letters(&work, None, 10).await.unwrap().letters;
    let last = early.iter().map(|letter| letter.died_at_ms).max().unwrap();
    eventually("another millisecond", async || now_ms() > last).await;
    die(&queue, &work, &[("late-rejected", true, true), ("late-spent", false, false)]).await;
    let all = queue.dead_letters(&work, None, 10).await.unwrap().letters;
    let first_late = all.iter().filter(|letter| letter.message_id.starts_with("late")).map(|letter| letter.died_at_ms).min().unwrap();

    let any = DeadLetterFilter::default();
    let (rejected, spent) = (Some("rejected".to_owned()), Some("attempts-exhausted".to_owned()));
    let (topic, direct) = (Some("a.b".to_owned()), Some("work".to_owned()));
    let (late, early) = (Some(first_late), Some(first_late));
    let nothing = [
        DeadLetterFilter { reason: Some("expired".to_owned()), ..any.clone() },
        DeadLetterFilter { reason: rejected.clone(), destination: topic.clone(), died_after_ms: late, ..any.clone() },
        DeadLetterFilter { died_after_ms: late, died_before_ms: early, ..any.clone() },
        DeadLetterFilter { destination: Some("a".to_owned()), ..any.clone() },
    ];
    for filter in nothing {
        assert_eq!(queue.purge(&work, Selection::Matching(filter.clone())).await.unwrap(), 0, "{filter:?}");
        assert_eq!(queue.replay(&work, Selection::Matching(filter.clone())).await.unwrap(), 0, "{filter:?}");
    }
    let purge = [
        (DeadLetterFilter { reason: rejected, destination: topic, ..any.clone() }, vec!["t-rejected"]),
        (DeadLetterFilter { destination: direct, died_before_ms: early, ..any.clone() }, vec!["q-rejected", "q-spent"]),
    ];
    let mut left: Vec<_> = all.iter().map(|letter| letter.message_id.as_str()).collect();
    for (filter, expected) in purge {
        left.retain(|id| !expected.contains(id));
        let count = u64::try_from(expected.len()).unwrap();
        assert_eq!(queue.purge(&work, Selection::Matching(filter.clone())).await.unwrap(), count, "{filter:?}");
        assert_eq!(dead(&queue, &work).await, left, "{filter:?}");
    }
    let filter = DeadLetterFilter { reason: spent, died_after_ms: late, ..any.clone() };
    assert_eq!(queue.replay(&work, Selection::Matching(filter)).await.unwrap(), 1);
    assert_eq!(one(&queue, &work).await.message.id, "late-spent");
    assert_eq!(dead(&queue, &work).await, ["t-spent", "late-rejected"]);
    assert_eq!(queue.replay(&work, Selection::Matching(any)).await.unwrap(), 2);
    let mut rest = drain(&queue, &work, 2).await;
    rest.sort_by(|a, b| a.message.id.cmp(&b.message.id));
    assert_eq!(ids(&rest), ["late-rejected", "t-spent"]);
}

/// Dead letters in this order: the id, whether it went to the queue itself or
/// by a topic, and whether it was rejected or used up its one attempt.
async fn die(queue: &Arc<dyn Queue>, work: &QueueName, letters: &[(&str, bool, bool)]) {
    for (id, direct, rejected) in letters {
        let to = if *direct { to(work) } else { topic("a.b") };
        publish_ids(queue, &to, &[id]).await;
        let delivery = one(queue, work).await;
        let end = if *rejected { Settlement::Dead { reason: "no".to_owned() } } else { retry(std::time::Duration::ZERO) };
        queue.settle(&delivery, end).await.unwrap();
        eventually(&format!("`{id}` is dead"), async || dead(queue, work).await.iter().any(|dead| dead == id)).await;
    }
}

/// The ids of all dead letters, oldest first.
async fn dead(queue: &Arc<dyn Queue>, work: &QueueName) -> Vec<String> {
    let page = queue.dead_letters(work, None, 100).await.unwrap();
    page.letters.into_iter().map(|letter| letter.message_id).collect()
}
