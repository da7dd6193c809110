//! Random uses of the queue against a model of it: a list of messages and their states.

use super::embedded::fixture;
use plinth_capability::{
    conformance::queue::QueueFixture,
    name::QueueName,
    queue::{Delivery, Depth, Destination, Message, QueueSpec, Selection, Settlement},
};
use proptest::{collection::vec, prelude::*};
use std::{cmp::Reverse, time::Duration};

const MAX_ATTEMPTS: u32 = 3;
const MAX_DEPTH: usize = 8;

#[derive(Debug, Clone)]
enum Op {
    /// Ids are drawn from few, so that repeats happen.
    Publish {
        id: u8,
        priority: u8,
    },
    Consume {
        max: u32,
    },
    /// Of the deliveries that are held, the one with this number modulo their count.
    Settle {
        which: usize,
        settlement: Settlement,
    },
    Replay,
    Purge,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let settlement = prop_oneof![
        Just(Settlement::Ack),
        Just(Settlement::Retry { after: Some(Duration::ZERO), error: "e".to_owned() }),
        Just(Settlement::Dead { reason: "d".to_owned() }),
        Just(Settlement::Release),
    ];
    prop_oneof![
        4 => (0u8..40, 0u8..3).prop_map(|(id, priority)| Op::Publish { id, priority }),
        3 => (1u32..4).prop_map(|max| Op::Consume { max }),
        4 => (any::<usize>(), settlement).prop_map(|(which, settlement)| Op::Settle { which, settlement }),
        1 => Just(Op::Replay),
        1 => Just(Op::Purge),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ready,
    Held,
    Dead,
    Forgotten,
}

#[derive(Debug)]
struct Entry {
    id: String,
    priority: u8,
    attempts: u32,
    state: State,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
}

impl Model {
    fn count(&self, state: State) -> usize {
        self.entries.iter().filter(|entry| entry.state == state).count()
    }

    fn depth(&self) -> Depth {
        let count = |state| u64::try_from(self.count(state)).unwrap();
        Depth { ready: count(State::Ready), delayed: 0, in_flight: count(State::Held), dead: count(State::Dead) }
    }

    /// `Err` is a full queue.
    fn publish(&mut self, id: &str, priority: u8) -> Result<(), ()> {
        if self.entries.iter().any(|entry| entry.id == id) {
            return Ok(());
        }
        if self.count(State::Ready) + self.count(State::Held) >= MAX_DEPTH {
            return Err(());
        }
        self.entries.push(Entry { id: id.to_owned(), priority, attempts: 0, state: State::Ready });
        Ok(())
    }

    /// Any of the highest ready priorities may come: a retry changes who is oldest.
    fn deliver(&mut self, delivery: &Delivery) {
        let highest = self.entries.iter().filter(|entry| entry.state == State::Ready).map(|entry| entry.priority).max();
        let entry = self.entry(&delivery.message.id);
        assert_eq!((entry.state, Some(entry.priority)), (State::Ready, highest), "{entry:?}");
        entry.state = State::Held;
        entry.attempts += 1;
        assert_eq!(entry.attempts, delivery.attempt);
    }

    fn settle(&mut self, id: &str, settlement: &Settlement) {
        let entry = self.entry(id);
        entry.state = match settlement {
            Settlement::Ack => State::Forgotten,
            Settlement::Dead { .. } => State::Dead,
            Settlement::Retry { .. } if entry.attempts >= MAX_ATTEMPTS => State::Dead,
            Settlement::Retry { .. } => State::Ready,
            Settlement::Release => {
                entry.attempts -= 1;
                State::Ready
            }
        };
    }

    fn reopen(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.state == State::Held) {
            entry.state = if entry.attempts >= MAX_ATTEMPTS { State::Dead } else { State::Ready };
        }
    }

    fn replay(&mut self) -> u64 {
        let dead = self.entries.iter_mut().filter(|entry| entry.state == State::Dead);
        dead.map(|entry| (entry.state, entry.attempts) = (State::Ready, 0)).count().try_into().unwrap()
    }

    fn purge(&mut self) -> u64 {
        let dead = self.entries.iter_mut().filter(|entry| entry.state == State::Dead);
        dead.map(|entry| entry.state = State::Forgotten).count().try_into().unwrap()
    }

    fn entry(&mut self, id: &str) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.id == id).unwrap()
    }
}

fn message(id: &str, priority: u8) -> Message {
    Message {
        id: id.to_owned(),
        body: id.to_owned().into(),
        content_type: String::new(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority,
        delay: Duration::ZERO,
        expires: None,
    }
}

async fn check(ops: Vec<Op>) {
    let (mut fixture, mut model) = (fixture().await, Model::default());
    let (work, mut held) = (QueueName::new("work").unwrap(), Vec::<Delivery>::new());
    let spec = QueueSpec { max_attempts: MAX_ATTEMPTS, max_depth: MAX_DEPTH.try_into().unwrap(), ..QueueSpec::default() };
    fixture.queue().declare(&work, &spec).await.unwrap();
    for op in ops {
        let queue = fixture.queue();
        match op {
            Op::Publish { id, priority } => {
                let id = format!("m{id}");
                let published = queue.publish(&Destination::Queue(work.clone()), vec![message(&id, priority)]).await.unwrap().remove(0);
                assert_eq!(published.is_ok(), model.publish(&id, priority).is_ok());
            }
            Op::Consume { max } => {
                let deliveries = queue.consume(&work, max, Duration::ZERO).await.unwrap();
                assert_eq!(deliveries.len(), model.count(State::Ready).min(max.try_into().unwrap()));
                assert!(deliveries.is_sorted_by_key(|delivery| Reverse(delivery.message.priority)));
                deliveries.iter().for_each(|delivery| model.deliver(delivery));
                held.extend(deliveries);
            }
            Op::Settle { which, settlement } if !held.is_empty() => {
                let delivery = held.swap_remove(which % held.len());
                model.settle(&delivery.message.id, &settlement);
                queue.settle(&delivery, settlement).await.unwrap();
            }
            Op::Settle { .. } => {}
            Op::Replay => assert_eq!(queue.replay(&work, Selection::All).await.unwrap(), model.replay()),
            Op::Purge => assert_eq!(queue.purge(&work, Selection::All).await.unwrap(), model.purge()),
            Op::Reopen => {
                fixture.reopen().await;
                model.reopen();
                for stale in held.drain(..) {
                    fixture.queue().depth(&work).await.unwrap();
                    assert!(fixture.queue().settle(&stale, Settlement::Ack).await.is_err(), "a token of a dead process");
                }
            }
        }
        assert_eq!(fixture.queue().depth(&work).await.unwrap(), model.depth());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_queue_is_its_model(ops in vec(op(), 1..60)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(check(ops));
    }
}
