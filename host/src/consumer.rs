//! Feeds hooks from queues: events to listeners, tasks to handlers, settled only after the hook has answered.

use plinth_api::cloudevents;
use plinth_capability::{
    name::{PluginName, QueueName},
    queue::{Delivery, Queue, Settlement},
};
use plinth_runtime::{
    DEPTH_HEADER, Runtime, event_queue,
    hook::{Cause, Payload, Task},
    outcome::{Failure, GuestError, Reply},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::{JoinError, JoinHandle, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Deliveries of one queue that are worked on at once, at most.
const IN_HAND: u32 = 16;
/// One long poll; the wait ends early when a message comes.
const POLL: Duration = Duration::from_secs(5);
/// Between tries while the queue cannot be reached.
const PAUSE: Duration = Duration::from_secs(1);

/// For the others of a full hand, once one of it has ended.
const MOMENT: Duration = Duration::from_millis(1);

/// How long a consumer that ended by itself may stay unnoticed.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// What one consumer feeds: a plugin's hook, from one queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Feed {
    plugin: PluginName,
    queue: QueueName,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Events,
    Tasks,
}

struct Consumer {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Keeps one consumer per bound queue running, following the registry.
pub(crate) async fn run(runtime: Runtime, queue: Arc<dyn Queue>, tasks: TaskTracker, stop: CancellationToken) {
    let mut changes = runtime.changes();
    let mut look = tokio::time::interval(LOOK_AFTER);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running: HashMap<Feed, Consumer> = HashMap::new();
    let start = |feed: &Feed| {
        let stop = stop.child_token();
        let task = tasks.spawn(consume(runtime.clone(), queue.clone(), feed.clone(), stop.clone()));
        Consumer { stop, task }
    };
    loop {
        follow(&mut running, feeds(&runtime), start).await;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            _ = look.tick() => {}
        }
    }
}

/// Stops what is not wanted, starts what is missing, and starts again what
/// ended though nobody stopped it: a queue nobody reads is silent.
async fn follow(running: &mut HashMap<Feed, Consumer>, wanted: HashSet<Feed>, start: impl Fn(&Feed) -> Consumer) {
    running.retain(|feed, consumer| {
        let keep = wanted.contains(feed);
        if !keep {
            consumer.stop.cancel();
        }
        keep
    });
    for feed in wanted {
        match running.get_mut(&feed) {
            None => {
                let consumer = start(&feed);
                running.insert(feed, consumer);
            }
            Some(consumer) if consumer.task.is_finished() && !consumer.stop.is_cancelled() => {
                let ended = std::mem::replace(consumer, start(&feed));
                let why = ended.task.await.err();
                let why = why.as_ref().map(tracing::field::display);
                tracing::error!(queue = %feed.queue, plugin = %feed.plugin, why, "a consumer ended by itself; started again");
            }
            Some(_) => {}
        }
    }
}

fn feeds(runtime: &Runtime) -> HashSet<Feed> {
    let mut feeds = HashSet::new();
    for slot in runtime.slots() {
        let Some(manifest) = runtime.manifest(&slot.plugin) else { continue };
        if manifest.hooks.event_listener.is_some()
            && let Ok(queue) = event_queue(&slot.plugin)
        {
            feeds.insert(Feed { plugin: slot.plugin.clone(), queue, kind: Kind::Events });
        }
        for queue in manifest.hooks.task_handler.into_iter().flat_map(|h| h.queues) {
            feeds.insert(Feed { plugin: slot.plugin.clone(), queue, kind: Kind::Tasks });
        }
    }
    feeds
}

async fn consume(runtime: Runtime, queue: Arc<dyn Queue>, feed: Feed, stop: CancellationToken) {
    let mut hand: JoinSet<()> = JoinSet::new();
    while !stop.is_cancelled() {
        while let Some(ended) = hand.try_join_next() {
            tell_lost(&feed, ended);
        }
        let most = in_hand(&runtime, &feed.plugin);
        let room = most.saturating_sub(u32::try_from(hand.len()).unwrap_or(u32::MAX));
        if room == 0 {
            empty(&mut hand, most as usize / 2, &feed).await;
            continue;
        }
        // Cut off by `stop`: what was leased in that moment is delivered again after its lease.
        let deliveries = match stop.run_until_cancelled(queue.consume(&feed.queue, room, POLL)).await {
            None => break,
            Some(Ok(deliveries)) => deliveries,
            Some(Err(error)) => {
                tracing::warn!(queue = %feed.queue, %error, "consuming failed; trying again");
                // Time for the backend to come back; nothing tells when it has.
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                continue;
            }
        };
        for delivery in deliveries {
            hand.spawn(work(runtime.clone(), queue.clone(), feed.clone(), delivery));
        }
    }
    // What is in hand is finished and settled before the host stops.
    while let Some(ended) = hand.join_next().await {
        tell_lost(&feed, ended);
    }
}

/// Waits until one of a full hand has ended, and then a moment for others:
/// short hooks end together, and what replaces them is claimed together, at the
/// price of one.
async fn empty(hand: &mut JoinSet<()>, until: usize, feed: &Feed) {
    if let Some(ended) = hand.join_next().await {
        tell_lost(feed, ended);
    }
    let others = async {
        while hand.len() > until {
            let Some(ended) = hand.join_next().await else { return };
            tell_lost(feed, ended);
        }
    };
    // Over it the others run long: there is room for one, and it is used.
    let _over = tokio::time::timeout(MOMENT, others).await;
}

/// No more than the plugin runs at once: what would only stand in its line
/// stays in the queue, where a message of higher priority overtakes it.
fn in_hand(runtime: &Runtime, plugin: &PluginName) -> u32 {
    runtime.slot(plugin).map_or(IN_HAND, |slot| slot.limits.concurrency.min(IN_HAND))
}

/// What panicked settled nothing.
fn tell_lost(feed: &Feed, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(queue = %feed.queue, plugin = %feed.plugin, %error, "a delivery was lost in hand; it is delivered again after its lease");
    }
}

async fn work(runtime: Runtime, queue: Arc<dyn Queue>, feed: Feed, delivery: Delivery) {
    let cause = cause(&delivery);
    let reply = match feed.kind {
        Kind::Events => runtime.on_event(&feed.plugin, cloudevents::event_from_delivery(&delivery), cause).await,
        Kind::Tasks => runtime.handle_task(&feed.plugin, task(&delivery), cause).await,
    };
    if let Err(Failure::Unavailable { why, .. }) = &reply.outcome {
        // The plugin was not asked, so this was no attempt at it. Kept in hand
        // for a while, which is also what slows this consumer down.
        tracing::info!(queue = %feed.queue, plugin = %feed.plugin, why, "no plugin to deliver to now");
        tokio::time::sleep(PAUSE).await;
    }
    let settlement = settlement(&reply);
    if settlement != Settlement::Ack {
        let (id, attempt) = (&delivery.message.id, delivery.attempt);
        tracing::info!(queue = %feed.queue, plugin = %feed.plugin, id, attempt, ?settlement, "delivery not done");
    }
    if let Err(error) = queue.settle(&delivery, settlement).await {
        // It is delivered again after its lease; hooks know repeats by their id.
        tracing::warn!(queue = %feed.queue, id = delivery.message.id, %error, "delivery could not be settled");
    }
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a str> {
    delivery.message.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn cause(delivery: &Delivery) -> Cause {
    Cause {
        actor: header(delivery, "plinth-plugin").map(|plugin| format!("plugin:{plugin}")),
        roles: Vec::new(),
        traceparent: header(delivery, "traceparent").map(str::to_owned),
        depth: header(delivery, DEPTH_HEADER).and_then(|depth| depth.parse().ok()).unwrap_or(0),
        attempt: delivery.attempt,
        generation: 0,
    }
}

fn task(delivery: &Delivery) -> Task {
    let message = &delivery.message;
    Task {
        id: message.id.clone(),
        queue: delivery.queue.to_string(),
        routing_key: message.routing_key.clone(),
        attempt: delivery.attempt,
        enqueued_at_ms: delivery.enqueued_at_ms,
        correlation_id: message.correlation_id.clone(),
        payload: Payload { content_type: message.content_type.clone(), data: message.body.clone() },
        attributes: message.headers.clone(),
    }
}

/// What the queue is told: the outcome decides, exhaustively.
fn settlement(reply: &Reply<()>) -> Settlement {
    let failure = match &reply.outcome {
        Ok(()) => return Settlement::Ack,
        Err(failure) => failure,
    };
    match failure {
        Failure::Guest(GuestError::Reject { code, message }) => Settlement::Dead { reason: format!("{code}: {message}") },
        Failure::Guest(GuestError::Retry { message, after }) => Settlement::Retry { after: *after, error: message.clone() },
        Failure::Unavailable { .. } => Settlement::Release,
        Failure::Denied(_) => Settlement::Dead { reason: failure.to_string() },
        Failure::Trap(_) | Failure::Deadline(_) | Failure::Limit(_) => Settlement::Retry { after: None, error: failure.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_consumer_that_ended_by_itself_is_started_again() {
        let feed = Feed { plugin: PluginName::new("reactor").unwrap(), queue: QueueName::new("jobs").unwrap(), kind: Kind::Tasks };
        let (tasks, started) = (TaskTracker::new(), Cell::new(0));
        let start = |_: &Feed| {
            started.set(started.get() + 1);
            let (first, stop) = (started.get() == 1, CancellationToken::new());
            let until = stop.clone();
            let task = tasks.spawn(async move {
                assert!(!first, "the first consumer panics");
                until.cancelled().await;
            });
            Consumer { stop, task }
        };
        let wanted = || HashSet::from([feed.clone()]);
        let mut running = HashMap::new();
        follow(&mut running, wanted(), start).await;
        while !running[&feed].task.is_finished() {
            tokio::task::yield_now().await;
        }
        follow(&mut running, wanted(), start).await;
        assert_eq!(started.get(), 2, "the dead one is replaced");
        follow(&mut running, wanted(), start).await;
        assert_eq!(started.get(), 2, "the live one is left alone");
        let stop = running[&feed].stop.clone();
        follow(&mut running, HashSet::new(), start).await;
        assert!(running.is_empty() && stop.is_cancelled(), "the unwanted one is stopped");
    }
}
