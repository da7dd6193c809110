//! Messages fetched ahead of the consumers of a queue, one shelf per lane.

use super::names::Mark;
use lapin::{Channel, message::Delivery};
use plinth_capability::name::QueueName;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// One delivery of the broker that is not settled there yet.
pub(super) struct Held {
    pub(super) delivery: Delivery,
    credit: Arc<Credit>,
    source: Arc<Source>,
}

/// Where deliveries come from; while one of these lives the channel does, and with it the deliveries.
pub(super) struct Source {
    pub(super) channel: Channel,
    /// The connection's end: the broker delivers again what came by it.
    pub(super) over: CancellationToken,
}

impl Held {
    pub(super) fn new(delivery: Delivery, source: &Arc<Source>, credit: &Arc<Credit>) -> Self {
        credit.out.fetch_add(1, Ordering::Relaxed);
        Self { delivery, credit: credit.clone(), source: source.clone() }
    }

    /// Whether it can still be settled at the broker.
    pub(super) fn usable(&self) -> bool {
        self.delivery.acker.usable() && !self.source.over.is_cancelled()
    }

    /// What the driver answers, or nothing once the connection is over: it may never answer what it was
    /// given in the moment in which the connection broke.
    pub(super) async fn told<T>(&self, telling: impl Future<Output = T>) -> Option<T> {
        self.source.over.run_until_cancelled(telling).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.credit.out.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many unsettled deliveries a lane has here, of how many the broker gives.
#[derive(Default)]
pub(super) struct Credit {
    pub(super) out: AtomicUsize,
    pub(super) most: AtomicUsize,
}

impl Credit {
    pub(super) fn used_up(&self) -> bool {
        self.out.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed)
    }
}

/// What is fetched of one queue, and who waits for it.
#[derive(Default)]
pub(super) struct Feed {
    shelf: Mutex<Shelf>,
    /// Something was put on the shelf.
    pub(super) stocked: Notify,
    /// Somebody asks, or asks for more than the lanes give.
    pub(super) asked: Notify,
    asking: AtomicUsize,
}

#[derive(Default)]
struct Shelf {
    lanes: BTreeMap<Mark, VecDeque<Held>>,
    /// What each lane had when fetching began and is still to come; until it
    /// has, a lower lane's message would overtake a higher one's.
    expected: HashMap<Mark, u64>,
    /// When it is no longer waited for.
    expected_until: Option<Instant>,
    last_asked: Option<Instant>,
}

impl Shelf {
    fn expected_of(&mut self, mark: Mark, change: impl FnOnce(&mut u64)) {
        let Some(left) = self.expected.get_mut(&mark) else { return };
        change(left);
        if *left == 0 {
            self.expected.remove(&mark);
        }
        if self.expected.is_empty() {
            self.expected_until = None;
        }
    }
}

impl Feed {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `most`, of the highest lanes first.
    pub(super) fn take(&self, most: usize) -> Vec<(Mark, Held)> {
        let mut shelf = self.shelf();
        if shelf.expected_until.is_some_and(|until| Instant::now() < until) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for (mark, lane) in shelf.lanes.iter_mut().rev() {
            let count = lane.len().min(most - taken.len());
            taken.extend(lane.drain(..count).map(|held| (*mark, held)));
        }
        taken
    }

    pub(super) fn put(&self, mark: Mark, held: Held) {
        let mut shelf = self.shelf();
        shelf.lanes.entry(mark).or_default().push_back(held);
        shelf.expected_of(mark, |left| *left = left.saturating_sub(1));
        drop(shelf);
        self.stocked.notify_waiters();
    }

    /// Back to the front, in the order they were taken.
    pub(super) fn put_back(&self, held: Vec<(Mark, Held)>) {
        let mut shelf = self.shelf();
        for (mark, held) in held.into_iter().rev() {
            shelf.lanes.entry(mark).or_default().push_front(held);
        }
        drop(shelf);
        self.stocked.notify_waiters();
    }

    /// Fetching begins. Until each of these lanes is open, and what it had has
    /// come, nothing is handed out, but no longer than to `until`.
    pub(super) fn expect(&self, marks: &[Mark], until: Instant) {
        let mut shelf = self.shelf();
        shelf.expected = marks.iter().map(|mark| (*mark, u64::MAX)).collect();
        shelf.expected_until = Some(until);
    }

    /// The lane is open and has so many messages.
    pub(super) fn opened(&self, mark: Mark, count: u64) {
        self.shelf().expected_of(mark, |left| *left = count);
        self.stocked.notify_waiters();
    }

    /// Whether, and until when, what is on the shelf is held back.
    pub(super) fn expecting(&self) -> Option<Instant> {
        self.shelf().expected_until.filter(|until| *until > Instant::now())
    }

    /// Fetching has ended: everything that is still on the shelf.
    pub(super) fn clear(&self) -> Vec<Held> {
        let mut shelf = self.shelf();
        (shelf.expected, shelf.expected_until) = (HashMap::new(), None);
        std::mem::take(&mut shelf.lanes).into_values().flatten().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.shelf().lanes.values().map(VecDeque::len).sum()
    }

    /// Counts as asking until it is dropped.
    pub(super) fn ask(self: &Arc<Self>) -> Asking {
        self.asking.fetch_add(1, Ordering::SeqCst);
        self.asked.notify_one();
        Asking(self.clone())
    }

    /// Since when nobody asks; `None` while somebody does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        if self.asking.load(Ordering::SeqCst) > 0 {
            return None;
        }
        Some(self.shelf().last_asked.unwrap_or_else(Instant::now))
    }
}

pub(super) struct Asking(Arc<Feed>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.shelf().last_asked = Some(Instant::now());
        self.0.asking.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The feeds of all queues consumed here.
#[derive(Default)]
pub(super) struct Feeds(Mutex<HashMap<QueueName, Arc<Feed>>>);

impl Feeds {
    /// The queue's feed; `start` is called with one that is new.
    pub(super) fn of(&self, queue: &QueueName, start: impl FnOnce(Arc<Feed>)) -> Arc<Feed> {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = feeds.get(queue) {
            return feed.clone();
        }
        let feed = Arc::new(Feed::default());
        feeds.insert(queue.clone(), feed.clone());
        start(feed.clone());
        feed
    }

    pub(super) fn fetched(&self, queue: &QueueName) -> u64 {
        let feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.get(queue).map_or(0, |feed| u64::try_from(feed.len()).unwrap_or(u64::MAX))
    }
}
