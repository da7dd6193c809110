//! P1 and P3: messages published and consumed through RabbitMQ while it is broken.

use crate::{
    Scale,
    broker::{FAULTS, Fault, Setup},
    cell::{Cell, Report},
};
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::join_all;
use plinth_capability::{
    ErrorKind,
    name::QueueName,
    queue::{Destination, Message, Queue, QueueSpec, Settlement},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Publishers, each with one message on its way.
const PUBLISHERS: usize = 8;
/// How long what was acknowledged may take to come, after everything works again.
const PATIENCE: Duration = Duration::from_secs(120);
/// Before a publish that was refused is repeated under the same id.
const PAUSE: Duration = Duration::from_millis(50);
/// With a consumer that fails: one message in this many can never succeed.
const POISON: u64 = 50;
/// And one delivery in this many fails though its message is good.
const FAILS: u64 = 10;
const ATTEMPTS: u32 = 4;

/// The last error where a broker that takes no messages did not take the last retry either.
const LAPSED: &str = "the lease ended";

/// What becomes of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// P1: each is acknowledged at once.
    Reads,
    /// P3: some fail, some are never settled, some can never succeed.
    Fails,
}

pub(crate) async fn campaign(name: &'static str, consumer: Consumer, scale: Scale, wanted: &dyn Fn(&str) -> bool) -> Result<Report> {
    let mut cells = Vec::new();
    for fault in FAULTS.iter().filter(|fault| wanted(fault.name) && (scale.long || fault.quick)) {
        println!("{name}: {}", fault.name);
        cells.push(cell(fault, consumer, scale).await.with_context(|| format!("cell {}", fault.name))?);
    }
    Ok(Report { name, cells })
}

async fn cell(fault: &Fault, consumer: Consumer, scale: Scale) -> Result<Cell> {
    let setup = Setup::start(fault).await?;
    let name = QueueName::new("promise").map_err(|e| anyhow::anyhow!("{e}"))?;
    let queue = setup.queue().await?;
    let spec = QueueSpec { max_attempts: ATTEMPTS, backoff_ms: 20, backoff_max_ms: 200, lease_ms: 5_000, ..QueueSpec::default() };
    queue.declare(&name, &spec).await?;
    let seen = Arc::new(Seen::default());
    let (stop_publishing, stop_consuming) = (CancellationToken::new(), CancellationToken::new());
    let mut consuming = JoinSet::new();
    consuming.spawn(consume(setup.queue().await?, name.clone(), consumer, seen.clone(), stop_consuming.clone()));
    let book = Arc::new(Book::new());
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        publishers.spawn(publish(queue.clone(), name.clone(), number, book.clone(), stop_publishing.clone()));
    }
    book.enough(scale.before()).await;
    let broke = Instant::now();
    fault.run(&setup, scale.fault()).await?;
    let mended = Instant::now();
    book.enough(book.acked() + scale.after()).await;
    stop_publishing.cancel();
    while let Some(publisher) = publishers.join_next().await {
        publisher.context("a publisher panicked")?;
    }
    // Everything acknowledged has its end: done once, or a dead letter.
    let late = arrived(&book, &seen, &*queue, &name, consumer).await?;
    stop_consuming.cancel();
    consuming.join_next().await.context("there is a consumer")?.context("the consumer panicked")?;
    Ok(book.judge(fault.name, &seen, &late, broke, mended))
}

/// What was acknowledged and has had no end when patience did; dead letters are an end for poison.
struct Late {
    lost: HashSet<String>,
    broken: Vec<String>,
}

async fn arrived(book: &Book, seen: &Seen, queue: &dyn Queue, name: &QueueName, consumer: Consumer) -> Result<Late> {
    let began = Instant::now();
    loop {
        let dead = if consumer == Consumer::Fails { dead_letters(queue, name).await.unwrap_or_default() } else { HashMap::new() };
        let done = seen.done();
        let lost: HashSet<String> = book.acknowledged().into_iter().filter(|id| !done.contains_key(id) && !dead.contains_key(id)).collect();
        if !lost.is_empty() && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        let mut broken = Vec::new();
        for (id, error) in &dead {
            if !poison(id) {
                broken.push(format!("{id} is good and died: {error}"));
            } else if !error.contains(&why(id)) && !error.contains(LAPSED) {
                broken.push(format!("{id} died without its error: {error}"));
            }
        }
        broken.extend(done.keys().filter(|id| consumer == Consumer::Fails && poison(id)).map(|id| format!("{id} is poison and was done")));
        broken.truncate(5);
        return Ok(Late { lost, broken });
    }
}

async fn dead_letters(queue: &dyn Queue, name: &QueueName) -> plinth_capability::Result<HashMap<String, String>> {
    let (mut all, mut cursor) = (HashMap::new(), None);
    loop {
        let page = queue.dead_letters(name, cursor.as_deref(), 1_000).await?;
        all.extend(page.letters.into_iter().map(|letter| (letter.message_id, letter.last_error)));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

fn poison(id: &str) -> bool {
    id.ends_with("-poison")
}

/// The error a poisoned message always fails with.
fn why(id: &str) -> String {
    format!("cannot be done: {id}")
}

async fn publish(queue: Arc<dyn Queue>, name: QueueName, publisher: usize, book: Arc<Book>, stop: CancellationToken) {
    let to = Destination::Queue(name);
    for number in 0_u64.. {
        if stop.is_cancelled() {
            return;
        }
        let kind = if number.is_multiple_of(POISON) { "-poison" } else { "" };
        let id = format!("{publisher}-{number}{kind}");
        book.offer(&id);
        // The end of the campaign waits for the answer: an id is repeated until it has one.
        loop {
            let began = Instant::now();
            let answer = queue.publish(&to, vec![message(&id)]).await.and_then(|mut each| each.pop().unwrap_or(Ok(())));
            match answer {
                Ok(()) => {
                    book.ack(&id, began);
                    break;
                }
                Err(error) => book.fail(error.kind(), began),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: Bytes::from(id.to_owned()),
        content_type: "text/plain".to_owned(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority: 5,
        delay: Duration::ZERO,
        expires: None,
    }
}

async fn consume(queue: Arc<dyn Queue>, name: QueueName, consumer: Consumer, seen: Arc<Seen>, stop: CancellationToken) {
    let count = AtomicU64::new(0);
    while !stop.is_cancelled() {
        let deliveries = match queue.consume(&name, 64, Duration::from_secs(1)).await {
            Ok(deliveries) => deliveries,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let settled = deliveries.iter().map(|delivery| async {
            let id = &delivery.message.id;
            let fails = consumer == Consumer::Fails && count.fetch_add(1, Ordering::Relaxed).is_multiple_of(FAILS);
            let settlement = match consumer {
                Consumer::Fails if poison(id) => Settlement::Retry { after: None, error: why(id) },
                // A good message fails for a while, and not so often that its attempts run out.
                Consumer::Fails if fails && delivery.attempt < ATTEMPTS - 1 => {
                    Settlement::Retry { after: None, error: "not now".to_owned() }
                }
                _ => Settlement::Ack,
            };
            let done = settlement == Settlement::Ack;
            if done {
                seen.count(id);
            }
            // What could not be settled comes again, and is counted again.
            let _ = queue.settle(delivery, settlement).await;
        });
        join_all(settled).await;
    }
}

/// How often each message was done.
#[derive(Default)]
struct Seen(Mutex<HashMap<String, u64>>);

impl Seen {
    fn count(&self, id: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default() += 1;
    }

    fn done(&self) -> HashMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What publishers did and were told.
struct Book(Mutex<Entries>, tokio::sync::watch::Sender<u64>);

#[derive(Default)]
struct Entries {
    offered: HashSet<String>,
    acked: HashSet<String>,
    unknown: u64,
    /// When a try began, how long it took, and whether it was acknowledged.
    tries: Vec<(Instant, Duration, bool)>,
}

impl Book {
    fn new() -> Self {
        Self(Mutex::default(), tokio::sync::watch::Sender::new(0))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn offer(&self, id: &str) {
        self.with(|entries| entries.offered.insert(id.to_owned()));
    }

    fn ack(&self, id: &str, began: Instant) {
        self.with(|entries| {
            entries.acked.insert(id.to_owned());
            entries.tries.push((began, began.elapsed(), true));
        });
        self.1.send_modify(|acked| *acked += 1);
    }

    fn fail(&self, kind: ErrorKind, began: Instant) {
        self.with(|entries| {
            entries.unknown += u64::from(kind == ErrorKind::OutcomeUnknown);
            entries.tries.push((began, began.elapsed(), false));
        });
    }

    fn acked(&self) -> u64 {
        *self.1.borrow()
    }

    fn acknowledged(&self) -> HashSet<String> {
        self.with(|entries| entries.acked.clone())
    }

    /// Returns when this many were acknowledged.
    async fn enough(&self, acked: u64) {
        let _ = self.1.subscribe().wait_for(|now| *now >= acked).await;
    }

    fn judge(&self, name: &str, seen: &Seen, late: &Late, broke: Instant, mended: Instant) -> Cell {
        let done = seen.done();
        self.with(|entries| {
            let p99 = |from: Option<Instant>, until: Option<Instant>| {
                let within = |at: Instant| from.is_none_or(|from| at >= from) && until.is_none_or(|until| at < until);
                let mut times: Vec<Duration> = entries.tries.iter().filter(|(at, _, _)| within(*at)).map(|(_, took, _)| *took).collect();
                times.sort_unstable();
                times.get((times.len() * 99 / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
            };
            let failed = entries.tries.iter().filter(|(at, took, ok)| !ok && *at + *took >= broke).map(|(at, took, _)| *at + *took).min();
            let back = entries.tries.iter().filter(|(at, _, ok)| *ok && *at >= mended).map(|(at, took, _)| *at + *took).min();
            Cell {
                name: name.to_owned(),
                offered: entries.offered.len() as u64,
                acked: entries.acked.len() as u64,
                lost: late.lost.len() as u64,
                duplicated: done.values().filter(|times| **times > 1).count() as u64,
                unexpected: done.keys().filter(|id| !entries.offered.contains(*id)).count() as u64,
                unknown: entries.unknown,
                unacked: entries.offered.difference(&entries.acked).count() as u64,
                p99: [p99(None, Some(broke)), p99(Some(broke), Some(mended)), p99(Some(mended), None)],
                detected: failed.map(|at| at.saturating_duration_since(broke)),
                recovered: back.map(|at| at.saturating_duration_since(mended)),
                broken: late.broken.clone(),
            }
        })
    }
}

impl Scale {
    /// Acknowledgements before the fault and after it; together with those during it a cell has its 10,000.
    fn before(self) -> u64 {
        if self.long { 4_000 } else { 300 }
    }

    fn after(self) -> u64 {
        if self.long { 6_000 } else { 300 }
    }

    fn fault(self) -> Duration {
        Duration::from_secs(if self.long { 20 } else { 3 })
    }
}
