//! The relay against receivers that fail, in paused time.

use super::*;
use plinth_capability::{
    audit::{AuditFilter, AuditPage, Receipt, StoredRecord},
    name::{QueueName, TopicPattern},
    queue::{DeadLetterPage, Delivery, Depth, QueueSpec, Selection, Settlement},
};
use std::sync::Mutex;

/// An outbox in memory; what is set aside is kept with its reason.
#[derive(Default)]
struct Store {
    parcels: Mutex<Vec<(i64, String, Message)>>,
    dead: Mutex<Vec<(i64, String)>>,
    /// Deliveries whose settling is lost, as by a kill.
    lost: Mutex<u32>,
}

#[async_trait]
impl OutboxStore for Arc<Store> {
    async fn waiting(&self, skip: &[String], most: u32) -> Result<Vec<Parcel>> {
        let parcels = self.parcels.lock().unwrap();
        let due = parcels.iter().filter(|(_, lane, _)| !skip.contains(lane)).take(most as usize);
        Ok(due
            .map(|(sequence, lane, message)| {
                let content = Content::Message(Destination::Queue(QueueName::new(lane).unwrap()), message.clone());
                Parcel { sequence: *sequence, lane: lane.clone(), content }
            })
            .collect())
    }

    async fn settle(&self, delivered: &[i64], dead: &[(i64, String)]) -> Result<()> {
        let mut lost = self.lost.lock().unwrap();
        if *lost > 0 {
            *lost -= 1;
            return Err(Error::new(ErrorKind::Unavailable, "test.settle", "lost"));
        }
        self.dead.lock().unwrap().extend_from_slice(dead);
        self.parcels.lock().unwrap().retain(|(s, ..)| !delivered.contains(s) && !dead.iter().any(|(d, _)| d == s));
        Ok(())
    }
}

/// Takes messages, except that `refusals` are answered first, per queue.
#[derive(Default)]
struct Receiver {
    got: Mutex<Vec<(String, String)>>,
    refusals: Mutex<HashMap<String, Vec<ErrorKind>>>,
}

#[async_trait]
impl Queue for Receiver {
    async fn publish(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>> {
        let Destination::Queue(queue) = destination else { panic!("a topic") };
        let mut refusals = self.refusals.lock().unwrap();
        let mut refuse = || refusals.get_mut(queue.as_str()).filter(|list| !list.is_empty()).map(|list| list.remove(0));
        let mut take = |message: Message| match (message.id.as_str(), refuse()) {
            ("bad", _) => Err(Error::new(ErrorKind::InvalidInput, "test.publish", "bad")),
            (_, Some(kind)) => Err(Error::new(kind, "test.publish", "refused")),
            (id, None) => {
                self.got.lock().unwrap().push((queue.to_string(), id.to_owned()));
                Ok(())
            }
        };
        Ok(messages.into_iter().map(&mut take).collect())
    }
    async fn declare(&self, _: &QueueName, _: &QueueSpec) -> Result<()> {
        panic!("not for a relay")
    }
    async fn bind(&self, _: &QueueName, _: &[TopicPattern]) -> Result<()> {
        panic!("not for a relay")
    }
    async fn consume(&self, _: &QueueName, _: u32, _: Duration) -> Result<Vec<Delivery>> {
        panic!("not for a relay")
    }
    async fn settle(&self, _: &Delivery, _: Settlement) -> Result<()> {
        panic!("not for a relay")
    }
    async fn queues(&self) -> Result<Vec<QueueName>> {
        panic!("not for a relay")
    }
    async fn depth(&self, _: &QueueName) -> Result<Depth> {
        panic!("not for a relay")
    }
    async fn dead_letters(&self, _: &QueueName, _: Option<&str>, _: u32) -> Result<DeadLetterPage> {
        panic!("not for a relay")
    }
    async fn replay(&self, _: &QueueName, _: Selection) -> Result<u64> {
        panic!("not for a relay")
    }
    async fn purge(&self, _: &QueueName, _: Selection) -> Result<u64> {
        panic!("not for a relay")
    }
    async fn health(&self) -> Result<()> {
        panic!("not for a relay")
    }
}

/// An audit log that refuses any append with a record whose action is `bad`.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

#[async_trait]
impl AuditLog for Log {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        if records.iter().any(|record| record.entry.action == "bad") {
            return Err(Error::new(ErrorKind::InvalidInput, "test.append", "bad"));
        }
        self.0.lock().unwrap().extend(records.into_iter().map(|record| record.id));
        Ok(Vec::new())
    }
    async fn find(&self, _: &AuditFilter, _: Option<&str>, _: u32) -> Result<AuditPage> {
        panic!("not for a relay")
    }
    async fn record(&self, _: &str) -> Result<Option<StoredRecord>> {
        panic!("not for a relay")
    }
    async fn count(&self) -> Result<u64> {
        panic!("not for a relay")
    }
    async fn health(&self) -> Result<()> {
        panic!("not for a relay")
    }
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: Default::default(),
        content_type: String::new(),
        headers: vec![],
        routing_key: String::new(),
        correlation_id: None,
        priority: 0,
        delay: Duration::ZERO,
        expires: None,
    }
}

struct Bench {
    store: Arc<Store>,
    receiver: Arc<Receiver>,
    wake: Arc<Notify>,
    drain: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
}

impl Bench {
    /// `parcels` are lanes and message ids; `refusals` are what a lane answers first.
    fn start(parcels: &[(&str, &str)], refusals: &[(&str, &[ErrorKind])], lost: u32) -> Self {
        let numbered = (1..).zip(parcels).map(|(sequence, (lane, id))| (sequence, (*lane).to_owned(), message(id))).collect();
        let store = Arc::new(Store { parcels: Mutex::new(numbered), lost: Mutex::new(lost), ..Store::default() });
        let refusals = refusals.iter().map(|(lane, kinds)| ((*lane).to_owned(), kinds.to_vec())).collect();
        let receiver = Arc::new(Receiver { refusals: Mutex::new(refusals), ..Receiver::default() });
        let (wake, drain) = (Arc::new(Notify::new()), CancellationToken::new());
        let relay = Relay {
            store: Arc::clone(&store),
            queue: Arc::clone(&receiver) as Arc<dyn Queue>,
            audit: Arc::new(Log::default()),
            wake: Arc::clone(&wake),
            drain: drain.clone(),
            held: HashMap::new(),
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(relay.run());
        Self { store, receiver, wake, drain, tasks }
    }

    /// Lets the relay work until the outbox is empty, then ends it.
    async fn finish(mut self) -> Vec<(String, String)> {
        let began = Instant::now();
        while !self.store.parcels.lock().unwrap().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(600), "the outbox does not empty");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.drain.cancel();
        self.tasks.join_next().await.unwrap().unwrap();
        self.receiver.got.lock().unwrap().clone()
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(lane, id)| ((*lane).to_owned(), (*id).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_fails_waits_and_does_not_hold_up_the_others() {
    let busy = [ErrorKind::Unavailable; 5];
    let bench = Bench::start(&[("slow", "1"), ("fast", "2"), ("slow", "3")], &[("slow", &busy)], 0);
    let began = Instant::now();
    let got = bench.finish().await;
    // The receiver refused five times in all, the fifth time only the first of the two.
    assert_eq!(got, pairs(&[("fast", "2"), ("slow", "3"), ("slow", "1")]));
    assert!(began.elapsed() >= BACKOFF_MIN, "it waited");
}

#[tokio::test(start_paused = true)]
async fn waits_double_up_to_the_longest() {
    let busy = vec![ErrorKind::LimitExceeded; 12];
    let bench = Bench::start(&[("slow", "1")], &[("slow", &busy)], 0);
    let began = Instant::now();
    assert_eq!(bench.finish().await, pairs(&[("slow", "1")]));
    // 0.1 + 0.2 + ... + 25.6 = 51.1 s, then three times 30 s.
    let waited = began.elapsed().as_secs();
    assert!((141..=142).contains(&waited), "waited {waited} s");
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_delivered_is_set_aside() {
    let bench = Bench::start(&[("a", "1"), ("a", "bad"), ("gone", "2"), ("a", "3")], &[("gone", &[ErrorKind::Unroutable])], 0);
    let store = Arc::clone(&bench.store);
    assert_eq!(bench.finish().await, pairs(&[("a", "1"), ("a", "3")]));
    let dead = store.dead.lock().unwrap().clone();
    assert_eq!(dead.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [2, 3]);
    assert!(dead[0].1.contains("bad") && dead[1].1.contains("refused"), "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_settling_is_lost_is_repeated_under_its_id() {
    let bench = Bench::start(&[("a", "1")], &[], 1);
    assert_eq!(bench.finish().await, pairs(&[("a", "1"), ("a", "1")]));
}

#[tokio::test(start_paused = true)]
async fn a_commit_wakes_the_relay() {
    let bench = Bench::start(&[], &[], 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.store.parcels.lock().unwrap().push((9, "a".to_owned(), message("late")));
    bench.wake.notify_one();
    assert_eq!(bench.finish().await, pairs(&[("a", "late")]));
}

#[tokio::test]
async fn one_bad_record_does_not_take_its_neighbours_along() {
    let log = Arc::new(Log::default());
    let relay = Relay {
        store: Arc::new(Store::default()),
        queue: Arc::new(Receiver::default()),
        audit: Arc::clone(&log) as Arc<dyn AuditLog>,
        wake: Arc::default(),
        drain: CancellationToken::new(),
        held: HashMap::new(),
    };
    let record = |id: &str, action: &str| {
        let json = serde_json::json!({"id": id, "recorded_at_ms": 1, "actor": "system", "plugin_id": "p", "plugin_version": "1",
            "invocation_id": "i", "entry": {"action": action, "subject": {"kind": "k", "id": "s"}, "outcome": {"result": "success"},
            "summary": "", "changes": [], "attributes": []}});
        serde_json::from_value::<AuditRecord>(json).unwrap()
    };
    let mut verdicts = Verdicts::default();
    relay.append(vec![(1, record("a", "x.y")), (2, record("b", "bad")), (3, record("c", "x.y"))], &mut verdicts).await;
    assert_eq!(verdicts.delivered, [1, 3]);
    assert_eq!(verdicts.dead.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [2]);
    assert_eq!(*log.0.lock().unwrap(), ["a", "c"]);
}
