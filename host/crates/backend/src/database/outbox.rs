//! The outbox relay: what a transaction left for queue and audit log is
//! delivered after its commit, at least once. Each lane is offered in order; it
//! arrives in order unless the receiver refuses one of a batch and takes the next.

use crate::failpoint::reach;
use async_trait::async_trait;
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{AuditLog, AuditRecord, RECORD_MAX},
    name::TopicName,
    queue::{Destination, Message, Queue},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Parcels read at a time; each may hold a body of `BODY_MAX`.
const BATCH: u32 = 64;
/// The wait after a first failure; doubles with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long queue and audit log may take for one delivery.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where an outbox is kept.
#[async_trait]
pub(super) trait OutboxStore: Send + Sync {
    /// The oldest committed parcels of lanes not in `skip`, oldest first.
    async fn waiting(&self, skip: &[String], most: u32) -> Result<Vec<Parcel>>;
    /// Forgets what was delivered; sets aside what never can be, with the reason.
    async fn settle(&self, delivered: &[i64], dead: &[(i64, String)]) -> Result<()>;
}

pub(super) struct Parcel {
    pub(super) sequence: i64,
    /// Parcels of one lane stay in order; `audit`, or a destination.
    pub(super) lane: String,
    pub(super) content: Content,
}

pub(super) enum Content {
    Message(Destination, Message),
    Record(Box<AuditRecord>),
    /// Was written by another version, or is damaged.
    Unreadable(String),
}

/// The task that empties one outbox.
pub(super) struct Relay<S> {
    pub(super) store: S,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) audit: Arc<dyn AuditLog>,
    /// Told after each commit that put something into the outbox.
    pub(super) wake: Arc<Notify>,
    /// Deliver what can be delivered now, then end.
    pub(super) drain: CancellationToken,
    /// The lanes that failed, and when to try them again.
    pub(super) held: HashMap<String, Hold>,
}

/// A lane that waits for its receiver to recover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    until: Instant,
    wait: Duration,
}

/// The name under which failures to read the outbox itself are held back.
const OUTBOX: &str = "outbox";

impl<S: OutboxStore> Relay<S> {
    pub(super) async fn run(mut self) {
        loop {
            let draining = self.drain.is_cancelled();
            if let Err(error) = self.pass().await {
                tracing::warn!(%error, "the outbox cannot be read");
                self.hold(OUTBOX);
            }
            if draining {
                return;
            }
            let retry = self.held.values().map(|hold| hold.until).min();
            let retry = async {
                match retry {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = retry => {}
                () = self.drain.cancelled() => {}
            }
        }
    }

    /// Delivers until all that is left belongs to lanes that are held.
    async fn pass(&mut self) -> Result<()> {
        loop {
            let now = Instant::now();
            let skip: Vec<String> = self.held.iter().filter(|(_, hold)| hold.until > now).map(|(lane, _)| lane.clone()).collect();
            if skip.iter().any(|lane| lane == OUTBOX) {
                return Ok(());
            }
            let parcels = self.store.waiting(&skip, BATCH).await?;
            if parcels.is_empty() {
                // Lanes whose time had come and that are empty by now.
                self.held.retain(|_, hold| hold.until > now);
                return Ok(());
            }
            let mut lanes: BTreeMap<String, Vec<Parcel>> = BTreeMap::new();
            for parcel in parcels {
                lanes.entry(parcel.lane.clone()).or_default().push(parcel);
            }
            reach("relay.read");
            for (lane, parcels) in lanes {
                self.deliver_lane(&lane, parcels).await?;
            }
            self.held.remove(OUTBOX);
        }
    }

    async fn deliver_lane(&mut self, lane: &str, parcels: Vec<Parcel>) -> Result<()> {
        let mut verdicts = Verdicts::default();
        let (mut messages, mut records) = (Vec::new(), Vec::new());
        let mut destination = None;
        for parcel in parcels {
            match parcel.content {
                Content::Message(to, message) => {
                    destination = Some(to);
                    messages.push((parcel.sequence, message));
                }
                Content::Record(record) => records.push((parcel.sequence, *record)),
                Content::Unreadable(why) => verdicts.dead.push((parcel.sequence, why)),
            }
        }
        if let Some(destination) = destination {
            self.publish(&destination, messages, &mut verdicts).await;
        }
        if !records.is_empty() {
            self.append(records, &mut verdicts).await;
        }
        for (sequence, reason) in &verdicts.dead {
            tracing::error!(lane, sequence, reason, "a message or record of the outbox can never be delivered");
        }
        reach("relay.delivered");
        self.store.settle(&verdicts.delivered, &verdicts.dead).await?;
        reach("relay.settled");
        match verdicts.failed {
            Some(error) => {
                tracing::warn!(lane, %error, "the outbox waits for its receiver");
                self.hold(lane);
            }
            None => drop(self.held.remove(lane)),
        }
        Ok(())
    }

    async fn publish(&self, destination: &Destination, messages: Vec<(i64, Message)>, verdicts: &mut Verdicts) {
        let (sequences, messages): (Vec<i64>, Vec<Message>) = messages.into_iter().unzip();
        match bounded("outbox.publish", self.queue.publish(destination, messages)).await {
            Ok(results) => {
                for (sequence, result) in sequences.into_iter().zip(results) {
                    verdicts.add(sequence, result);
                }
            }
            // The error is about the destination: it holds for each message.
            Err(error) if is_permanent(error.kind()) => verdicts.dead.extend(sequences.into_iter().map(|s| (s, error.to_string()))),
            Err(error) => verdicts.failed = Some(error),
        }
    }

    /// An append is all or none: if the records are refused, the bad one is found one by one.
    async fn append(&self, records: Vec<(i64, AuditRecord)>, verdicts: &mut Verdicts) {
        let all = records.iter().map(|(_, record)| record.clone()).collect();
        match bounded("outbox.audit", self.audit.append(all)).await {
            Ok(_) => verdicts.delivered.extend(records.into_iter().map(|(sequence, _)| sequence)),
            Err(error) if !is_permanent(error.kind()) => verdicts.failed = Some(error),
            Err(_) => {
                for (sequence, record) in records {
                    let result = bounded("outbox.audit", self.audit.append(vec![record])).await;
                    verdicts.add(sequence, result.map(drop));
                    if verdicts.failed.is_some() {
                        return;
                    }
                }
            }
        }
    }

    fn hold(&mut self, lane: &str) {
        let wait = self.held.get(lane).map_or(BACKOFF_MIN, |hold| (hold.wait * 2).min(BACKOFF_MAX));
        self.held.insert(lane.to_owned(), Hold { until: Instant::now() + wait, wait });
    }
}

#[derive(Default)]
struct Verdicts {
    delivered: Vec<i64>,
    dead: Vec<(i64, String)>,
    /// The first that may succeed later: the lane waits.
    failed: Option<Error>,
}

impl Verdicts {
    fn add(&mut self, sequence: i64, result: Result<()>) {
        match result {
            Ok(()) => self.delivered.push(sequence),
            Err(error) if is_permanent(error.kind()) => self.dead.push((sequence, error.to_string())),
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
    }
}

async fn bounded<T>(operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(ErrorKind::Timeout, operation, "the receiver does not answer");
    timeout(DELIVERY_TIMEOUT, work).await.map_err(late)?
}

/// Whether trying again cannot help.
fn is_permanent(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::Unroutable | ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Unverified => true,
        ErrorKind::WrongType | ErrorKind::InvalidStatement | ErrorKind::Constraint(_) => true,
        // A full queue empties; sizes were checked on the way in.
        ErrorKind::LimitExceeded => false,
        ErrorKind::Conflict | ErrorKind::Closed | ErrorKind::Timeout | ErrorKind::Unavailable => false,
        ErrorKind::OutcomeUnknown | ErrorKind::Failed | ErrorKind::Internal => false,
    }
}

/// Refused here, the guest learns of it; refused by the audit log, only the log would.
pub(super) fn check_record(record: &AuditRecord) -> Result<()> {
    if TopicName::new(&record.entry.action).is_err() || uuid::Uuid::try_parse(&record.id).is_err() {
        return Err(Error::new(ErrorKind::InvalidInput, "outbox.audit", "an action is words joined by dots, and an id a UUID"));
    }
    if record.entry.personal.is_some() {
        return Err(Error::new(ErrorKind::InvalidInput, "outbox.audit", "personal fields are stored sealed only"));
    }
    let size = serde_json::to_vec(record).map_or(usize::MAX, |json| json.len());
    if size > RECORD_MAX {
        return Err(Error::new(ErrorKind::LimitExceeded, "outbox.audit", format!("a record has at most {RECORD_MAX} bytes")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
