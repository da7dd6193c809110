//! Counting: what is in a queue, and how much more may go in.

use super::{
    Core,
    catalog::Entry,
    error::{broken, late},
    topology,
};
use futures::future::try_join_all;
use plinth_capability::{Result, name::QueueName, now_ms, queue::Depth};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

const OPERATION: &str = "queue.depth";
/// How long a measured room is believed, since other hosts fill it too.
const BELIEVED: Duration = Duration::from_secs(5);

/// What this process has sent to wait, by the time it ends. The levels of delay
/// are shared by all queues, so the broker cannot say whose a waiting message is.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<QueueName, BTreeMap<u64, u64>>>);

impl Waiting {
    pub(super) fn add(&self, queue: &QueueName, until_ms: u64) {
        // Coarser the farther away, so that a queue has a few thousand times at most.
        let grain = (until_ms.saturating_sub(now_ms()) / 64).max(50);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(queue.clone()).or_default().entry(until_ms.div_ceil(grain) * grain).or_default() += 1;
    }

    fn count(&self, queue: &QueueName) -> u64 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = all.get_mut(queue) else { return 0 };
        *times = times.split_off(&now_ms());
        times.values().sum()
    }
}

/// How many more messages each queue may take before it is measured again.
#[derive(Default)]
pub(super) struct Rooms(Mutex<HashMap<QueueName, (u64, Instant)>>);

impl Rooms {
    fn take(&self, queue: &QueueName, wanted: u64) -> bool {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match rooms.get_mut(queue) {
            Some((left, measured)) if *left >= wanted && measured.elapsed() < BELIEVED => {
                *left -= wanted;
                true
            }
            _ => false,
        }
    }

    fn measured(&self, queue: &QueueName, left: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.clone(), (left, Instant::now()));
    }
}

impl Core {
    pub(super) async fn depth_of(&self, queue: &QueueName, entry: &Entry) -> Result<Depth> {
        let live = self.incoming.live(OPERATION, self.patience()).await?;
        let channel = live.channel(OPERATION, self.patience()).await?;
        let lanes: Vec<_> = entry.all_marks.iter().map(|mark| self.names.lane(queue, *mark)).collect();
        let dead = self.names.dead(queue);
        let counts = async {
            tokio::try_join!(try_join_all(lanes.iter().map(|lane| topology::count(&channel, lane))), topology::count(&channel, &dead))
        };
        let counts = timeout(self.patience(), counts).await.map_err(|_| late(OPERATION))?;
        let (ready, dead) = counts.map_err(broken(OPERATION))?;
        let fetched = self.feeds.fetched(queue);
        let in_flight = self.leases.count(queue);
        Ok(Depth { ready: ready.iter().sum::<u64>() + fetched, delayed: self.waiting.count(queue), in_flight, dead })
    }

    /// How many of `wanted` messages the fullest of the queues takes. Counting
    /// costs a round trip, so half of the room found is given away without counting.
    pub(super) async fn room(&self, queues: &[(QueueName, Entry)], wanted: usize) -> Result<usize> {
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let mut least = wanted;
        for (queue, entry) in queues {
            if wanted == 0 || self.rooms.take(queue, wanted) {
                continue;
            }
            let depth = self.depth_of(queue, entry).await?;
            let free = entry.spec.max_depth.saturating_sub(depth.ready + depth.delayed + depth.in_flight);
            self.rooms.measured(queue, free.saturating_sub(wanted) / 2);
            least = least.min(free);
        }
        Ok(usize::try_from(least).unwrap_or(usize::MAX))
    }
}
