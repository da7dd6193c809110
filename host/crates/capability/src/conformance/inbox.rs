//! The inbox's suite: one case per bullet of the contract of [`Inbox`].
#![expect(clippy::unwrap_used, reason = "a case fails by panicking")]

use crate::{
    inbox::{Arrival, Inbox},
    name::QueueName,
    now_ms,
};
use async_trait::async_trait;
use futures::future::join_all;
use std::sync::Arc;

/// An inbox, alone in its storage, that can lose its process.
#[async_trait]
pub trait InboxFixture: Send + Sync {
    fn inbox(&self) -> Arc<dyn Inbox>;
    /// As if the process was killed now and started again over what it had
    /// stored; [`InboxFixture::inbox`] answers the new one afterwards.
    async fn reopen(&mut self);
}

/// Makes the tests of one backend: `$make` is an async expression that yields an [`InboxFixture`].
#[macro_export]
macro_rules! inbox_conformance {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::inbox, $make;
            the_first_copy_owns_the_id,
            other_copies_are_repeats,
            one_copy_wins_a_race,
            queues_are_apart,
            a_batch_answers_each,
            claims_survive_a_kill,
            old_claims_are_forgotten,
        }
    };
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

async fn claim(inbox: &dyn Inbox, queue_name: &str, id: &str, copy: &str) -> bool {
    let answers = inbox.claim(&queue(queue_name), &[Arrival::new(id, copy)]).await.unwrap();
    assert_eq!(answers.len(), 1, "one answer per arrival");
    answers.first().copied().unwrap()
}

pub async fn the_first_copy_owns_the_id(fixture: impl InboxFixture) {
    let inbox = fixture.inbox();
    for time in 0..3 {
        assert!(claim(&*inbox, "q", "a", "1").await, "time {time}");
    }
}

pub async fn other_copies_are_repeats(fixture: impl InboxFixture) {
    let inbox = fixture.inbox();
    assert!(claim(&*inbox, "q", "a", "1").await);
    assert!(!claim(&*inbox, "q", "a", "2").await);
    assert!(!claim(&*inbox, "q", "a", "3").await);
    assert!(claim(&*inbox, "q", "a", "1").await, "being asked for by others takes nothing from the owner");
}

pub async fn one_copy_wins_a_race(fixture: impl InboxFixture) {
    let inbox = fixture.inbox();
    for round in 0..5 {
        let id = format!("race-{round}");
        let copies: Vec<String> = (0..16).map(|n| n.to_string()).collect();
        let won = join_all(copies.iter().map(|copy| claim(&*inbox, "q", &id, copy))).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    }
}

pub async fn queues_are_apart(fixture: impl InboxFixture) {
    let inbox = fixture.inbox();
    assert!(claim(&*inbox, "one", "a", "1").await);
    assert!(claim(&*inbox, "two", "a", "2").await);
}

pub async fn a_batch_answers_each(fixture: impl InboxFixture) {
    let inbox = fixture.inbox();
    assert!(claim(&*inbox, "q", "b", "1").await);
    let batch = [("a", "1"), ("b", "2"), ("c", "1"), ("c", "2"), ("b", "1"), ("c", "1")].map(|(id, copy)| Arrival::new(id, copy));
    assert_eq!(inbox.claim(&queue("q"), &batch).await.unwrap(), [true, false, true, false, true, true]);
    assert_eq!(inbox.claim(&queue("q"), &[]).await.unwrap(), [] as [bool; 0]);
}

pub async fn claims_survive_a_kill(mut fixture: impl InboxFixture) {
    assert!(claim(&*fixture.inbox(), "q", "a", "1").await);
    fixture.reopen().await;
    let inbox = fixture.inbox();
    assert!(!claim(&*inbox, "q", "a", "2").await);
    assert!(claim(&*inbox, "q", "a", "1").await);
}

pub async fn old_claims_are_forgotten(fixture: impl InboxFixture) {
    let inbox = fixture.inbox();
    assert!(claim(&*inbox, "q", "a", "1").await);
    assert_eq!(inbox.forget(now_ms() - 60_000).await.unwrap(), 0, "nothing is that old");
    assert!(!claim(&*inbox, "q", "a", "2").await);
    assert_eq!(inbox.forget(now_ms() + 60_000).await.unwrap(), 1);
    assert!(claim(&*inbox, "q", "a", "2").await, "a forgotten id is free");
}
