//! Handing out what was fetched: leased, known by the inbox, not expired.

use super::{
    Core,
    catalog::Entry,
    feed::{Feed, Held},
    fetch,
    lease::Lease,
    names::Mark,
    settle::{ack, put_back_at_broker},
    wire::{self, Copy},
};
use crate::queue::policy::EXPIRED;
use plinth_capability::{Error, ErrorKind, Result, inbox::Arrival, name::QueueName, now_ms, queue::Delivery};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

const OPERATION: &str = "queue.consume";
/// Caller-controlled: deliveries of one call.
const CONSUME_MAX: u32 = 1_000;
/// Caller-controlled: how long one call waits.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Copies remembered of which a delivery did not count.
const INNOCENT_MAX: usize = 100_000;

/// Deliveries that never left this process before their connection broke, by copy.
#[derive(Default)]
pub(super) struct Innocent(Mutex<HashMap<String, u32>>);

impl Core {
    pub(super) async fn consume_some(self: &Arc<Self>, queue: &QueueName, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        let max = usize::try_from(max.clamp(1, CONSUME_MAX)).unwrap_or(1);
        let entry = match timeout_at(deadline.max(Instant::now() + self.patience()), self.known(queue, OPERATION)).await {
            Ok(entry) => entry?,
            Err(_) => return Err(super::error::late(OPERATION)),
        };
        let feed = self.feeds.of(queue, |feed| {
            self.fetchers.spawn(fetch::run(self.clone(), queue.clone(), feed, self.stop.clone()));
        });
        let _asking = feed.ask();
        loop {
            let mut stocked = std::pin::pin!(feed.stocked.notified());
            stocked.as_mut().enable();
            let taken = feed.take(max);
            if !taken.is_empty() {
                let deliveries = self.hand_out(queue, &entry, &feed, taken).await?;
                if !deliveries.is_empty() {
                    return Ok(deliveries);
                }
                continue;
            }
            feed.asked.notify_one();
            let held_back = feed.expecting().unwrap_or(deadline);
            tokio::select! {
                () = stocked => {}
                () = tokio::time::sleep_until(deadline.min(held_back)) => {
                    if Instant::now() >= deadline {
                        break;
                    }
                }
                () = self.closing.cancelled() => break,
            }
        }
        if self.incoming.is_up() || self.closing.is_cancelled() {
            return Ok(Vec::new());
        }
        Err(Error::new(ErrorKind::Unavailable, OPERATION, "the broker cannot be reached now"))
    }

    /// Deliveries of earlier sendings and of this one at the broker, less those that nobody got.
    pub(super) fn attempts_before(&self, held: &Held, copy: &Copy) -> u32 {
        let at_broker = wire::redeliveries(&held.delivery.properties, held.delivery.redelivered);
        let innocent = self.innocent.0.lock().unwrap_or_else(PoisonError::into_inner).get(&copy.id).copied().unwrap_or(0);
        copy.attempts.saturating_add(at_broker.saturating_sub(innocent))
    }

    /// They went back with the connection without having been handed out.
    pub(super) fn innocent(&self, left: &[Held]) {
        let mut innocent = self.innocent.0.lock().unwrap_or_else(PoisonError::into_inner);
        if innocent.len() + left.len() > INNOCENT_MAX {
            innocent.clear();
        }
        for copy in left.iter().filter_map(|held| wire::copy_id(&held.delivery.properties)) {
            *innocent.entry(copy).or_default() += 1;
        }
    }

    pub(super) fn forget_innocent(&self, copy: &str) {
        let mut innocent = self.innocent.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !innocent.is_empty() {
            innocent.remove(copy);
        }
    }

    async fn hand_out(self: &Arc<Self>, queue: &QueueName, entry: &Entry, feed: &Feed, taken: Vec<(Mark, Held)>) -> Result<Vec<Delivery>> {
        let (now, until) = (now_ms(), Instant::now() + Duration::from_millis(entry.spec.lease_ms.into()));
        let (mut dying, mut leased, mut arrivals, mut deliveries) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (mark, mut held) in taken {
            if !held.usable() {
                continue;
            }
            let data = std::mem::take(&mut held.delivery.data);
            let copy = Copy::read(&held.delivery.properties, data, queue);
            if copy.expires_at_ms().is_some_and(|at| at <= now) {
                dying.push((held, copy.dead(EXPIRED, String::new()), Duration::ZERO));
                continue;
            }
            let attempt = self.attempts_before(&held, &copy).saturating_add(1);
            arrivals.push(Arrival::new(copy.message.id.as_str(), copy.id.as_str()));
            let mut delivery = Delivery {
                queue: queue.clone(),
                message: copy.message.clone(),
                destination: copy.destination.clone(),
                attempt,
                enqueued_at_ms: copy.enqueued_ms,
                token: String::new(),
            };
            // Leased before the inbox is asked: if this future is dropped there, the lease ends.
            let id = self.leases.add(Lease { held, mark, copy, attempt, queue: queue.clone(), until });
            delivery.token = self.leases.token(id);
            leased.push(id);
            deliveries.push(delivery);
        }
        if !dying.is_empty() {
            self.bury(queue.clone(), entry.clone(), dying);
        }
        if arrivals.is_empty() {
            return Ok(Vec::new());
        }
        let owners = match self.inbox.claim(queue, &arrivals).await {
            Ok(owners) => owners,
            Err(error) => {
                self.take_back(feed, leased);
                return Err(error);
            }
        };
        let mut mine = Vec::with_capacity(deliveries.len());
        for ((delivery, id), owner) in deliveries.into_iter().zip(leased).zip(owners) {
            if owner {
                mine.push(delivery);
            } else if let Some(lease) = self.leases.take(id) {
                // A repeat. If the ack is lost it comes again, and is dropped again.
                let _forgotten = ack(&lease.held).await;
            }
        }
        Ok(mine)
    }

    fn take_back(&self, feed: &Feed, leased: Vec<u64>) {
        let leases = leased.into_iter().filter_map(|id| self.leases.take(id));
        let back = leases.map(|mut lease| {
            lease.held.delivery.data = lease.copy.message.body.to_vec();
            (lease.mark, lease.held)
        });
        feed.put_back(back.collect());
    }

    fn bury(self: &Arc<Self>, queue: QueueName, entry: Entry, dying: Vec<(Held, Copy, Duration)>) {
        let core = self.clone();
        self.tasks.spawn(async move {
            for (held, moved) in core.move_all(&queue, &entry, dying, OPERATION).await {
                if moved.is_err() {
                    put_back_at_broker(held).await;
                }
            }
        });
    }
}
