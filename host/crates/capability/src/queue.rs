//! The queue capability: messages that are kept until somebody has dealt with them.

use crate::{
    Result,
    name::{QueueName, TopicName, TopicPattern},
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Guest-controlled: bytes of one message body.
pub const BODY_MAX: usize = 1 << 20;
/// Guest-controlled: bytes of all headers of one message.
pub const HEADERS_MAX: usize = 16 << 10;
/// Guest-controlled: messages in one publish call.
pub const PUBLISH_MAX: usize = 1_000;
/// Guest-controlled: the longest delay or expiry.
pub const DELAY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Repeats of a message id to the same queue within this time are dropped.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Copied to every queue bound to a pattern that matches; possibly none.
    Topic(TopicName),
    /// Exactly this queue.
    Queue(QueueName),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// At most 128 bytes; repeats are recognised by it.
    pub id: String,
    pub body: Bytes,
    pub content_type: String,
    pub headers: Vec<(String, String)>,
    pub routing_key: String,
    pub correlation_id: Option<String>,
    /// 0 (lowest) to 9.
    pub priority: u8,
    pub delay: Duration,
    /// From now, delay included; `None` never expires.
    pub expires: Option<Duration>,
}

/// How one queue treats its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct QueueSpec {
    /// Deliveries before a message becomes a dead letter.
    pub max_attempts: u32,
    /// Wait before the second delivery; doubles with each further one.
    pub backoff_ms: u32,
    /// The longest such wait.
    pub backoff_max_ms: u32,
    /// A delivery not settled within this time is delivered again.
    pub lease_ms: u32,
    /// Messages a queue holds at most; publishing beyond is `LimitExceeded`.
    pub max_depth: u64,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self { max_attempts: 5, backoff_ms: 500, backoff_max_ms: 60_000, lease_ms: 30_000, max_depth: 1_000_000 }
    }
}

/// One delivery of one message; `token` settles exactly this delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub queue: QueueName,
    pub message: Message,
    /// Topic or queue it was published to.
    pub destination: String,
    /// 1 for the first delivery.
    pub attempt: u32,
    pub enqueued_at_ms: u64,
    pub token: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Done: forget the message.
    Ack,
    /// Deliver again, no earlier than `after` (default: the queue's backoff with
    /// jitter); a dead letter once the attempts are used up.
    Retry { after: Option<Duration>, error: String },
    /// Trying again cannot help.
    Dead { reason: String },
    /// Not tried at all (the host stops): available at once, the attempt does not count.
    Release,
}

/// Why a message is dead: a closed set of codes and the last error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub message_id: String,
    pub queue: QueueName,
    pub destination: String,
    pub content_type: String,
    pub body: Vec<u8>,
    pub headers: Vec<(String, String)>,
    pub attempts: u32,
    /// `rejected`, `attempts-exhausted` or `expired`.
    pub reason: String,
    pub last_error: String,
    pub enqueued_at_ms: u64,
    pub died_at_ms: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// Deliverable now.
    pub ready: u64,
    /// Waiting for a delay or a backoff to end.
    pub delayed: u64,
    /// Delivered and not yet settled.
    pub in_flight: u64,
    pub dead: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPage {
    pub letters: Vec<DeadLetter>,
    pub next: Option<String>,
}

/// Which dead letters to put back or to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    All,
    Ids(Vec<String>),
    Matching(DeadLetterFilter),
}

/// Conditions on a dead letter. All that are given must hold; without any, every letter meets them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// One of the codes of [`DeadLetter::reason`].
    pub reason: Option<String>,
    /// Topic or queue it was published to.
    pub destination: Option<String>,
    /// Died at or after this Unix time.
    pub died_after_ms: Option<u64>,
    /// Died before this Unix time.
    pub died_before_ms: Option<u64>,
}

impl DeadLetterFilter {
    /// For backends that cannot leave the comparing to their storage.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let Self { reason, destination, died_after_ms, died_before_ms } = self;
        reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && destination.as_ref().is_none_or(|destination| *destination == letter.destination)
            && died_after_ms.is_none_or(|after| after <= letter.died_at_ms)
            && died_before_ms.is_none_or(|before| letter.died_at_ms < before)
    }
}

/// # Contract
///
/// - `published_is_delivered`: a message whose publish was answered `Ok` is delivered with all its fields, also after the process was killed.
/// - `unsettled_is_redelivered`: a delivery not settled within its lease is delivered again with the next attempt number.
/// - `ack_forgets`: an acked message is never delivered again.
/// - `stale_token_changes_nothing`: settling a delivery whose lease has passed to another is `Conflict` and changes nothing.
/// - `retry_backs_off`: `Retry` redelivers no earlier than `after`, or than the queue's doubling backoff less its jitter of at most half.
/// - `attempts_are_bounded`: after `max_attempts` deliveries a retried message is a dead letter with reason `attempts-exhausted` and its last error.
/// - `dead_keeps_the_reason`: `Dead` makes a dead letter with reason `rejected` and the text given.
/// - `release_does_not_count`: `Release` makes the message available at once under the same attempt number.
/// - `higher_priority_first`: of the ready messages a higher priority is delivered first, equal ones oldest first.
/// - `delay_is_respected`: a delayed message is not delivered before its time, and is after.
/// - `expired_is_a_dead_letter`: a message not delivered within `expires` becomes a dead letter with reason `expired`.
/// - `topic_reaches_every_bound_queue`: a topic message is copied to each queue bound by a matching pattern, once per queue.
/// - `topic_without_queue_is_ok`: a topic message that matches nothing is `Ok` and dropped.
/// - `unknown_queue_is_unroutable`: publishing to a queue never declared is `Unroutable`.
/// - `repeat_is_dropped`: the same message id to the same queue within the window is `Ok` and delivered once, also after the first was acked.
/// - `batch_answers_each`: `publish` answers one result per message in order; a bad one does not stop the others.
/// - `bad_message_is_refused`: a priority over 9, a body over `BODY_MAX`, a delay over `DELAY_MAX` or an empty id is a typed error.
/// - `depth_counts`: `depth` counts ready, delayed, in-flight and dead messages.
/// - `dead_letters_page`: `dead_letters` lists oldest first, in pages, each once.
/// - `replay_puts_back`: `replay` makes dead letters ready with attempt 1 and answers how many.
/// - `purge_forgets`: `purge` forgets dead letters and nothing else, for good, and answers how many; their ids stay repeats.
/// - `selection_is_obeyed`: `replay` and `purge` touch the dead letters selected and no others; an unknown id selects nothing.
/// - `full_queue_refuses`: publishing into a queue of `max_depth` messages is `LimitExceeded`.
/// - `consumers_share`: two consumers of one queue never hold the same delivery at once.
///
/// # Cancel safety
///
/// A dropped `publish` may or may not have happened: repeat it under the same
/// ids. A dropped `consume` leaves its messages to redelivery after the lease. A
/// dropped `replay` or `purge` may have dealt with some of its letters: repeat it.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Creates the queue or changes its settings; keeps its messages.
    async fn declare(&self, queue: &QueueName, spec: &QueueSpec) -> Result<()>;
    /// Replaces the patterns that feed `queue`.
    async fn bind(&self, queue: &QueueName, patterns: &[TopicPattern]) -> Result<()>;
    /// `Ok` per message means: durably stored for every queue it goes to.
    async fn publish(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>>;
    /// Up to `max` deliveries; waits up to `wait` for the first.
    async fn consume(&self, queue: &QueueName, max: u32, wait: Duration) -> Result<Vec<Delivery>>;
    async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Result<()>;
    async fn queues(&self) -> Result<Vec<QueueName>>;
    async fn depth(&self, queue: &QueueName) -> Result<Depth>;
    async fn dead_letters(&self, queue: &QueueName, cursor: Option<&str>, limit: u32) -> Result<DeadLetterPage>;
    async fn replay(&self, queue: &QueueName, selection: Selection) -> Result<u64>;
    async fn purge(&self, queue: &QueueName, selection: Selection) -> Result<u64>;
    /// Whether the backend answers; the reason if not.
    async fn health(&self) -> Result<()>;
}
