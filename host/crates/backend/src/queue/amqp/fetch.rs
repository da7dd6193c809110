//! The task that keeps one queue's feed stocked while somebody consumes it.

use super::{
    Core,
    error::broken,
    feed::{Credit, Feed, Held, Source},
    link::Live,
    names::Mark,
    settle::put_back_at_broker,
    topology,
    wire::Copy,
};
use futures::{FutureExt, Stream, StreamExt, future::try_join_all, stream::SelectAll};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use plinth_capability::{Error, ErrorKind, Result, name::QueueName};
use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior};
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

type Lanes = SelectAll<Pin<Box<dyn Stream<Item = (Mark, lapin::Result<Delivery>)> + Send>>>;

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

/// Fetches until nobody asks any more.
async fn fetch(core: &Arc<Core>, live: &Arc<Live>, queue: &QueueName, feed: &Arc<Feed>) -> Result<()> {
    let entry = core.known(queue, OPERATION).await?;
    let channel = live.channel(OPERATION, core.patience()).await?;
    let qos = channel.basic_qos(core.config.prefetch, BasicQosOptions::default());
    qos.await.map_err(broken(OPERATION))?;
    let source = Arc::new(Source { channel: channel.clone(), over: live.over.clone() });
    let names = &core.names;
    let marks = &entry.all_marks;
    let lanes: Vec<_> = marks.iter().map(|mark| names.lane(queue, *mark)).collect();
    let counts = try_join_all(lanes.iter().map(|lane| topology::count(&channel, lane))).await.map_err(broken(OPERATION))?;
    let most = u64::from(core.config.prefetch);
    let expected =
        marks.iter().copied().zip(counts).filter(|(_, n)| *n > 0).map(|(mark, n)| (mark, n.min(most))).collect::<HashMap<_, _>>();
    feed.expect(expected, Instant::now() + EXPECT);
    let mut credits: BTreeMap<Mark, Arc<Credit>> = BTreeMap::new();
    let mut streams: Lanes = SelectAll::new();
    // From the highest down, so that its messages are the first to come.
    for mark in marks.iter().rev() {
        let credit = credits.entry(*mark).or_default().clone();
        subscribe(core, &source.channel, queue, *mark, &credit, &mut streams).await?;
    }
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            arrived = streams.next() => {
                let Some((mark, delivery)) = arrived else { return Err(cancelled()) };
                let delivery = delivery.map_err(broken(OPERATION))?;
                let Some(credit) = credits.get(&mark) else { continue };
                feed.put(mark, Held::new(delivery, &source, credit));
            }
            () = feed.asked.notified() => {
                // Whoever holds all that a lane gives, and asks, gets more of it.
                for (mark, credit) in credits.iter().filter(|(_, credit)| credit.used_up()) {
                    if feed.len() == 0 {
                        subscribe(core, &source.channel, queue, *mark, credit, &mut streams).await?;
                    }
                }
            }
            () = core.closing.cancelled() => return drain(streams, feed, &credits, &source).await,
            _ = look.tick() => {
                if feed.idle_since().is_some_and(|since| since.elapsed() >= IDLE) {
                    return drain(streams, feed, &credits, &source).await;
                }
                if core.catalog.current().and_then(|c| c.queues.get(queue).cloned()).is_some_and(|now| now.all_marks != *marks) {
                    return drain(streams, feed, &credits, &source).await;
                }
            }
        }
    }
}

async fn subscribe(core: &Core, channel: &Channel, queue: &QueueName, mark: Mark, credit: &Arc<Credit>, streams: &mut Lanes) -> Result<()> {
    let lane = core.names.lane(queue, mark);
    let consumer = channel.basic_consume(lane.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    let consumer = consumer.await.map_err(broken(OPERATION))?;
    credit.most.fetch_add(usize::from(core.config.prefetch), Ordering::Relaxed);
    // The broker ends a stream when it deletes or moves the queue.
    let ended = futures::stream::once(async move {
        (mark, Err(lapin::ErrorKind::InvalidChannelState(lapin::ChannelState::Closed, "consumer cancelled").into()))
    });
    streams.push(consumer.map(move |delivery| (mark, delivery)).chain(ended).boxed());
    Ok(())
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Unavailable, OPERATION, "the broker ended the consumers")
}

/// Cancels the consumers and takes in what was on its way to them.
async fn drain(mut streams: Lanes, feed: &Feed, credits: &BTreeMap<Mark, Arc<Credit>>, source: &Arc<Source>) -> Result<()> {
    while let Some(Some((mark, arrived))) = streams.next().now_or_never() {
        if let (Ok(delivery), Some(credit)) = (arrived, credits.get(&mark)) {
            feed.put(mark, Held::new(delivery, source, credit));
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
