//! Dead letters: a queue of them per queue, read by holding them for a moment and putting them back.

use super::{
    Core,
    catalog::{Entry, Lock},
    close::CloseOnDrop,
    error::broken,
    link::Live,
    topology,
    wire::{Copy, Death, broker_death, copy_id},
};
use crate::queue::policy::{ATTEMPTS_EXHAUSTED, EXPIRED, REJECTED};
use bytes::Bytes;
use futures::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
    types::FieldTable,
};
use plinth_capability::{
    Error, ErrorKind, Result,
    name::QueueName,
    queue::{DeadLetterPage, Message, Selection},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::OwnedMutexGuard, time::timeout};

/// Operator-controlled: dead letters of one page.
const PAGE_MAX: u32 = 1_000;
/// Letters read, and not yet looked at, at any one time.
const WINDOW: u16 = 512;
/// Letters put back as new in one round trip.
const REPLAY: usize = 256;
/// After so long without a letter the broker is asked whether there are more.
const QUIET: Duration = Duration::from_millis(100);
/// To a broker this tag means all that were delivered on the channel.
const ALL: u64 = 0;
/// Between looks whether what was put back is there again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One operation at a time on the dead letters of a queue: while one reads them, another would miss them.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<QueueName, Arc<tokio::sync::Mutex<()>>>>);

/// The dead letters of one queue, held by this process alone.
struct Reading {
    live: Arc<Live>,
    channel: Channel,
    name: String,
    lanes: Vec<String>,
    queue: QueueName,
    /// Letters there were, and how many of them were not read yet.
    total: u64,
    left: u64,
    unread: VecDeque<(Copy, Delivery)>,
    /// Letters that go back in the end.
    held: u64,
    /// Copies read so far, and how many came again: a host that was killed
    /// between storing a letter and acking its message has stored it twice.
    seen: HashSet<String>,
    repeats: u64,
    lock: Lock,
    /// What a dropped reading holds goes back with its channel.
    _close: CloseOnDrop,
    _turn: OwnedMutexGuard<()>,
}

impl Reading {
    async fn next(&mut self, operation: &'static str) -> Result<Option<(Copy, Delivery)>> {
        let live = self.live.clone();
        while self.unread.is_empty() && self.left > 0 {
            live.bound(operation, self.read_window(operation)).await?;
        }
        Ok(self.unread.pop_front())
    }

    /// A consumer for so many letters and no more, so that none is on its way when it is cancelled.
    async fn read_window(&mut self, operation: &'static str) -> Result<()> {
        let most = u16::try_from(self.left).unwrap_or(WINDOW).min(WINDOW);
        self.channel.basic_qos(most, BasicQosOptions::default()).await.map_err(broken(operation))?;
        let consume =
            self.channel.basic_consume(self.name.as_str().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let mut consumer = consume.await.map_err(broken(operation))?;
        for _ in 0..most {
            let Some(delivery) = self.arrival(&mut consumer, operation).await? else { break };
            self.left -= 1;
            self.keep(delivery, operation).await?;
        }
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.map_err(broken(operation))
    }

    /// The next letter, or nothing if there were fewer than the broker had counted.
    async fn arrival(&mut self, consumer: &mut Consumer, operation: &'static str) -> Result<Option<Delivery>> {
        loop {
            match timeout(QUIET, consumer.next()).await {
                Ok(Some(delivery)) => return delivery.map(Some).map_err(broken(operation)),
                // The broker ends a consumer when it deletes or moves the queue.
                Ok(None) => return Err(Error::new(ErrorKind::Unavailable, operation, "the broker ended the reading of dead letters")),
                Err(_) if topology::count(&self.channel, &self.name).await.map_err(broken(operation))? == 0 => {
                    self.left = 0;
                    return Ok(None);
                }
                Err(_) => {}
            }
        }
    }

    async fn keep(&mut self, mut delivery: Delivery, operation: &'static str) -> Result<()> {
        if copy_id(&delivery.properties).is_some_and(|copy| !self.seen.insert(copy)) {
            delivery.ack(BasicAckOptions::default()).await.map_err(broken(operation))?;
            self.repeats += 1;
            return Ok(());
        }
        self.held += 1;
        let data = std::mem::take(&mut delivery.data);
        let mut copy = Copy::read(&delivery.properties, data, &self.queue);
        if copy.death.is_none() {
            copy.death = Some(self.death_by_broker(&delivery));
        }
        self.unread.push_back((copy, delivery));
        Ok(())
    }

    fn death_by_broker(&self, message: &Delivery) -> Death {
        let (reason, at) = broker_death(&message.properties, &self.lanes).unwrap_or_default();
        let reason = match reason.as_str() {
            "expired" => EXPIRED,
            "delivery_limit" => ATTEMPTS_EXHAUSTED,
            _ => REJECTED,
        };
        Death { reason: reason.to_owned(), died_ms: at.saturating_mul(1_000) }
    }

    async fn ack(&mut self, message: &Delivery, operation: &'static str) -> Result<()> {
        let acked = async { message.ack(BasicAckOptions::default()).await.map_err(broken(operation)) };
        self.live.bound(operation, acked).await?;
        self.held -= 1;
        Ok(())
    }

    /// Puts back what was read and not acked, `gone` letters fewer than there were.
    async fn finish(self, gone: u64, operation: &'static str) -> Result<()> {
        let live = self.live.clone();
        live.bound(operation, self.put_back(gone, operation)).await
    }

    async fn put_back(self, gone: u64, operation: &'static str) -> Result<()> {
        let gone = gone + self.repeats;
        if self.held > 0 {
            let options = BasicNackOptions { requeue: true, multiple: true };
            self.channel.basic_nack(ALL, options).await.map_err(broken(operation))?;
            let began = Instant::now();
            while topology::count(&self.channel, &self.name).await.map_err(broken(operation))? < self.total.saturating_sub(gone)
                && began.elapsed() < Duration::from_secs(2)
            {
                // The broker does it in its own time; whoever reads next would miss them.
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        self.lock.release().await;
        Ok(())
    }
}

impl Core {
    async fn read_dead(&self, queue: &QueueName, operation: &'static str) -> Result<(Entry, Reading)> {
        let entry = self.known(queue, operation).await?;
        let turn = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner).entry(queue.clone()).or_default().clone();
        let turn = turn.lock_owned().await;
        let live = self.incoming.live(operation, self.patience()).await?;
        let name = self.names.dead(queue);
        let opened = live.bound(operation, async {
            let lock = self.lock(&live, &format!("dead.{queue}"), operation).await?;
            let channel = live.channel(operation, self.patience()).await?;
            let total = topology::count(&channel, &name).await.map_err(broken(operation))?;
            Ok((lock, channel, total))
        });
        let (lock, channel, total) = opened.await?;
        let lanes = entry.all_marks.iter().map(|mark| self.names.lane(queue, *mark)).collect();
        let close = CloseOnDrop::new(&self.tasks, &live, &channel);
        let (queue, unread, seen) = (queue.clone(), VecDeque::new(), HashSet::new());
        let (left, held, repeats) = (total, 0, 0);
        Ok((
            entry,
            Reading { live, channel, name, lanes, queue, total, left, unread, held, seen, repeats, lock, _close: close, _turn: turn },
        ))
    }

    pub(super) async fn dead_page(&self, queue: &QueueName, cursor: Option<&str>, limit: u32) -> Result<DeadLetterPage> {
        const OPERATION: &str = "queue.dead-letters";
        let cursor = cursor.map(read_cursor).transpose()?;
        let limit = usize::try_from(limit.clamp(1, PAGE_MAX)).unwrap_or(1);
        let (_, mut reading) = self.read_dead(queue, OPERATION).await?;
        // All of them, for each page: the broker keeps no order among letters that were put back.
        let mut page = BTreeMap::new();
        while let Some((copy, _)) = reading.next(OPERATION).await? {
            let died = copy.death.as_ref().map_or(0, |death| death.died_ms);
            let key = (died, copy.id.clone());
            if cursor.as_ref().is_none_or(|cursor| key > *cursor) {
                page.insert(key, copy);
            }
            if page.len() > limit + 1 {
                page.pop_last();
            }
        }
        reading.finish(0, OPERATION).await?;
        let next = if page.len() > limit { page.pop_last().and(page.last_key_value()) } else { None };
        let next = next.map(|((died, id), _)| format!("{died:x}-{id}"));
        Ok(DeadLetterPage { letters: page.into_values().map(|copy| copy.into_letter(queue)).collect(), next })
    }

    /// Forgets the chosen letters, and answers how many.
    pub(super) async fn purge_dead(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        const OPERATION: &str = "queue.purge";
        let chosen = chooser(queue, selection);
        let (_, mut reading) = self.read_dead(queue, OPERATION).await?;
        let mut purged = 0;
        while let Some((copy, message)) = reading.next(OPERATION).await? {
            if chosen(&copy) {
                reading.ack(&message, OPERATION).await?;
                purged += 1;
            }
        }
        reading.finish(purged, OPERATION).await?;
        Ok(purged)
    }

    /// Puts the chosen letters back as new, and answers how many.
    pub(super) async fn replay_dead(&self, queue: &QueueName, selection: Selection) -> Result<u64> {
        const OPERATION: &str = "queue.replay";
        let chosen = chooser(queue, selection);
        let (entry, mut reading) = self.read_dead(queue, OPERATION).await?;
        let (mut replayed, mut refused) = (0, None);
        while refused.is_none() {
            let (mut messages, mut routed) = (Vec::new(), Vec::new());
            while routed.len() < REPLAY {
                let Some((copy, message)) = reading.next(OPERATION).await? else { break };
                if chosen(&copy) {
                    routed.push(self.route(queue, &entry, copy.revived(), Duration::ZERO));
                    messages.push(message);
                }
            }
            if routed.is_empty() {
                break;
            }
            let sent = self.send_routed(routed, OPERATION).await?;
            for (message, sent) in messages.into_iter().zip(sent) {
                match sent.outcome(OPERATION) {
                    Ok(()) => {
                        reading.ack(&message, OPERATION).await?;
                        replayed += 1;
                    }
                    Err(error) => refused = Some(error),
                }
            }
        }
        reading.finish(replayed, OPERATION).await?;
        match refused {
            Some(error) if replayed == 0 => Err(error),
            _ => Ok(replayed),
        }
    }
}

fn chooser(queue: &QueueName, selection: Selection) -> impl Fn(&Copy) -> bool {
    let ids: HashSet<String> = match &selection {
        Selection::Ids(ids) => ids.iter().cloned().collect(),
        Selection::All | Selection::Matching(_) => HashSet::new(),
    };
    let queue = queue.clone();
    move |copy| match &selection {
        Selection::All => true,
        Selection::Ids(_) => ids.contains(&copy.message.id),
        Selection::Matching(filter) => {
            let message = Message { body: Bytes::new(), headers: Vec::new(), ..copy.message.clone() };
            filter.matches(&Copy { message, ..copy.clone() }.into_letter(&queue))
        }
    }
}

/// When the last letter given died, and which copy it is.
fn read_cursor(text: &str) -> Result<(u64, String)> {
    let read = text.split_once('-').and_then(|(died, copy)| Some((u64::from_str_radix(died, 16).ok()?, copy.to_owned())));
    read.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "queue.dead-letters", "this queue did not give that cursor"))
}
