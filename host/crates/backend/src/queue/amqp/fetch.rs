//! The task that keeps one queue's feed stocked while somebody consumes it.

use super::{
    Core,
    close::CloseOnDrop,
    error::{broken, late},
    feed::{Credit, Feed, Held, Source},
    link::Live,
    names::Mark,
    settle::put_back_at_broker,
    topology,
    wire::Copy,
};
use futures::{
    FutureExt, Stream, StreamExt,
    stream::{FuturesUnordered, SelectAll},
};
use lapin::{
    message::Delivery,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use plinth_capability::{Result, name::QueueName};
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

const OPERATION: &str = "queue.consume";
/// After so long without a consumer, what is fetched goes back for other hosts.
const IDLE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(500);
/// How long the first hand-out waits for what the broker said is there.
const EXPECT: Duration = Duration::from_secs(1);
/// After a failure, before the next try.
const PAUSE: Duration = Duration::from_millis(300);
const LINK_WAIT: Duration = Duration::from_secs(3_600);

/// Before a lane that could not be opened is tried again.
const LANE_AGAIN: Duration = Duration::from_secs(5);

type Deliveries = Pin<Box<dyn Stream<Item = (Mark, lapin::Result<Delivery>)> + Send>>;
type Streams = SelectAll<Deliveries>;

pub(super) async fn run(core: Arc<Core>, queue: QueueName, feed: Arc<Feed>, stop: CancellationToken) {
    loop {
        if core.closing.is_cancelled()
            || feed.idle_since().is_some() && core.closing.run_until_cancelled(feed.asked.notified()).await.is_none()
        {
            return;
        }
        let Some(live) = stop.run_until_cancelled(core.incoming.live(OPERATION, LINK_WAIT)).await else { return };
        let Ok(live) = live else { continue };
        let ended = stop.run_until_cancelled(live.over.run_until_cancelled(fetch(&core, &live, &queue, &feed))).await;
        let left = feed.clear();
        match ended {
            None => return,
            Some(Some(Ok(()))) => core.give_back(&queue, left).await,
            Some(Some(Err(error))) => {
                core.innocent(&left);
                drop(left);
                tracing::warn!(%queue, %error, "fetching messages failed; trying again");
                // Time for whatever it was to pass; nothing tells when it has.
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
            // With the connection the broker took back what was fetched.
            Some(None) => {
                core.innocent(&left);
                core.leases.forget_lost();
            }
        }
    }
}

/// One lane that is being fetched.
struct Lane {
    source: Arc<Source>,
    credit: Arc<Credit>,
}

/// Fetches until nobody asks any more. Each lane has a channel of its own: one
/// that has lost its leader holds up its channel, and no other lane.
async fn fetch(core: &Arc<Core>, live: &Arc<Live>, queue: &QueueName, feed: &Arc<Feed>) -> Result<()> {
    let entry = core.known(queue, OPERATION).await?;
    feed.expect(&entry.all_marks, Instant::now() + EXPECT);
    let open = |mark: Mark, after: Duration| async move {
        // Only a lane that failed to open waits, for its leader to be elected.
        tokio::time::sleep(after).await;
        (mark, open(core, live, queue, mark).await)
    };
    let mut opening: FuturesUnordered<_> = entry.all_marks.iter().rev().map(|mark| open(*mark, Duration::ZERO)).collect();
    let (mut lanes, mut streams): (BTreeMap<Mark, Lane>, Streams) = (BTreeMap::new(), SelectAll::new());
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some((mark, delivery)) = streams.next(), if !streams.is_empty() => {
                let delivery = delivery.map_err(broken(OPERATION))?;
                if let Some(lane) = lanes.get(&mark) {
                    feed.put(mark, Held::new(delivery, &lane.source, &lane.credit));
                }
            }
            Some((mark, opened)) = opening.next(), if !opening.is_empty() => match opened {
                Ok((lane, stream, count)) => {
                    feed.opened(mark, count.min(core.config.prefetch.into()));
                    lanes.insert(mark, lane);
                    streams.push(stream);
                }
                Err(error) => {
                    tracing::warn!(%queue, lane = mark, %error, "a lane cannot be read; trying again");
                    opening.push(open(mark, LANE_AGAIN));
                }
            },
            () = feed.asked.notified() => {
                // Whoever holds all that a lane gives, and asks, gets more of it.
                for (mark, lane) in lanes.iter().filter(|(_, lane)| lane.credit.used_up()) {
                    if feed.len() == 0 {
                        streams.push(subscribe(core, queue, *mark, lane).await?);
                    }
                }
            }
            () = core.closing.cancelled() => return drain(streams, feed, &lanes),
            _ = look.tick() => {
                let idle = feed.idle_since().is_some_and(|since| since.elapsed() >= IDLE);
                let now = core.catalog.current().and_then(|catalog| catalog.queues.get(queue).cloned());
                if idle || now.is_some_and(|now| now.all_marks != entry.all_marks) {
                    return drain(streams, feed, &lanes);
                }
            }
        }
    }
}

/// The lane, its deliveries, and how many messages it had.
async fn open(core: &Arc<Core>, live: &Arc<Live>, queue: &QueueName, mark: Mark) -> Result<(Lane, Deliveries, u64)> {
    let channel = live.channel(OPERATION, core.patience()).await?;
    let unanswered = CloseOnDrop::new(&core.tasks, live, &channel);
    let opening = async {
        channel.basic_qos(core.config.prefetch, BasicQosOptions::default()).await.map_err(broken(OPERATION))?;
        let count = topology::count(&channel, &core.names.lane(queue, mark)).await.map_err(broken(OPERATION))?;
        let lane = Lane { source: Arc::new(Source { channel: channel.clone(), over: live.over.clone() }), credit: Arc::default() };
        let stream = subscribe(core, queue, mark, &lane).await?;
        Ok((lane, stream, count))
    };
    let opened = timeout(core.patience(), opening).await.map_err(|_| late(OPERATION))?;
    // Refused is answered, too: the broker has closed the channel.
    unanswered.keep_open();
    opened
}

async fn subscribe(core: &Core, queue: &QueueName, mark: Mark, lane: &Lane) -> Result<Deliveries> {
    let name = core.names.lane(queue, mark);
    let consume = lane.source.channel.basic_consume(name.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    let consumer = consume.await.map_err(broken(OPERATION))?;
    lane.credit.most.fetch_add(usize::from(core.config.prefetch), Ordering::Relaxed);
    // The broker ends a stream when it deletes or moves the queue.
    let ended = futures::stream::once(async move { (mark, Err(cancelled())) });
    Ok(consumer.map(move |delivery| (mark, delivery)).chain(ended).boxed())
}

fn cancelled() -> lapin::Error {
    lapin::ErrorKind::InvalidChannelState(lapin::ChannelState::Closed, "the broker ended the consumer").into()
}

/// Cancels the consumers and takes in what was on its way to them.
fn drain(mut streams: Streams, feed: &Feed, lanes: &BTreeMap<Mark, Lane>) -> Result<()> {
    while let Some(Some((mark, arrived))) = streams.next().now_or_never() {
        if let (Ok(delivery), Some(lane)) = (arrived, lanes.get(&mark)) {
            feed.put(mark, Held::new(delivery, &lane.source, &lane.credit));
        }
    }
    Ok(())
}

impl Core {
    /// Puts what was fetched and not handed out behind the others of its lane,
    /// as new copies: a return would count as a delivery.
    async fn give_back(self: &Arc<Self>, queue: &QueueName, left: Vec<Held>) {
        if left.is_empty() {
            return;
        }
        let Ok(entry) = self.known(queue, OPERATION).await else { return };
        let again = left.into_iter().map(|mut held| {
            let data = std::mem::take(&mut held.delivery.data);
            let mut copy = Copy::read(&held.delivery.properties, data, queue);
            copy.attempts = self.attempts_before(&held, &copy);
            (held, copy, Duration::ZERO)
        });
        for (held, moved) in self.move_all(queue, &entry, again.collect(), OPERATION).await {
            if moved.is_err() {
                put_back_at_broker(held).await;
            }
        }
    }
}
