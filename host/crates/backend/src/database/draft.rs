//! A parcel of the outbox before it is written, and as it is read again.

use super::outbox::Content;
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::AuditRecord,
    name::{QueueName, TopicName},
    queue::{Destination, Message},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Guest-controlled: what one transaction may put into the outbox.
const COUNT_MAX: usize = 1_000;
const BYTES_MAX: usize = 16 << 20;
const AUDIT: &str = "audit";

/// All of a message that is neither its body nor a time.
#[derive(Serialize, Deserialize)]
struct Head {
    id: String,
    content_type: String,
    headers: Vec<(String, String)>,
    routing_key: String,
    correlation_id: Option<String>,
    priority: u8,
}

/// A row of the outbox before it is written.
pub(super) struct Draft {
    pub(super) lane: String,
    pub(super) id: String,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    pub(super) delay_ms: i64,
    pub(super) expires_ms: Option<i64>,
}

impl Draft {
    pub(super) fn message(destination: &Destination, message: Message) -> Result<Self> {
        let lane = match destination {
            Destination::Topic(topic) => format!("topic:{topic}"),
            Destination::Queue(queue) => format!("queue:{queue}"),
        };
        let Message { id, body, content_type, headers, routing_key, correlation_id, priority, delay, expires } = message;
        let head = Head { id: id.clone(), content_type, headers, routing_key, correlation_id, priority };
        let head = serde_json::to_string(&head).map_err(|e| unwritable("outbox.publish").with_source(e))?;
        Ok(Self { lane, id, head, body: body.into(), delay_ms: millis(delay), expires_ms: expires.map(millis) })
    }

    pub(super) fn record(record: &AuditRecord) -> Result<Self> {
        let head = serde_json::to_string(record).map_err(|e| unwritable("outbox.audit").with_source(e))?;
        Ok(Self { lane: AUDIT.to_owned(), id: record.id.clone(), head, body: Vec::new(), delay_ms: 0, expires_ms: None })
    }

    /// Whether its delay or expiry counts from the commit.
    pub(super) fn is_timed(&self) -> bool {
        self.delay_ms > 0 || self.expires_ms.is_some()
    }
}

pub(super) fn unwritable(operation: &'static str) -> Error {
    Error::new(ErrorKind::Internal, operation, "cannot be written to the outbox")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// How much one transaction has put into the outbox so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    count: usize,
    bytes: usize,
}

impl Load {
    pub(super) fn is_empty(self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, draft: &Draft) -> Result<()> {
        self.count += 1;
        self.bytes += draft.head.len() + draft.body.len();
        if self.count > COUNT_MAX || self.bytes > BYTES_MAX {
            let why = format!("a transaction puts at most {COUNT_MAX} messages of {BYTES_MAX} bytes together into the outbox");
            return Err(Error::new(ErrorKind::LimitExceeded, "outbox.publish", why));
        }
        Ok(())
    }
}

/// The times of a row, in milliseconds; `gone` is the time since its commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) delay: u64,
    pub(super) expires: Option<u64>,
    pub(super) gone: u64,
}

/// What a row holds; one that cannot be read says why.
pub(super) fn read(lane: &str, head: &str, body: Vec<u8>, times: Times) -> Content {
    parse(lane, head, body, times).unwrap_or_else(|error| Content::Unreadable(error.to_string()))
}

fn parse(lane: &str, head: &str, body: Vec<u8>, times: Times) -> Result<Content, Box<dyn std::error::Error>> {
    if lane == AUDIT {
        return Ok(Content::Record(serde_json::from_str(head)?));
    }
    let destination = match lane.split_once(':') {
        Some(("topic", name)) => Destination::Topic(TopicName::new(name)?),
        Some(("queue", name)) => Destination::Queue(QueueName::new(name)?),
        _ => return Err("the lane is unknown".into()),
    };
    let Head { id, content_type, headers, routing_key, correlation_id, priority } = serde_json::from_str(head)?;
    let left = |time: u64| time.saturating_sub(times.gone);
    let message = Message {
        id,
        body: body.into(),
        content_type,
        headers,
        routing_key,
        correlation_id,
        priority,
        delay: Duration::from_millis(left(times.delay)),
        // Expired on the way: the queue shall say so, as for any other message.
        expires: times.expires.map(|e| Duration::from_millis(left(e).max(1))),
    };
    Ok(Content::Message(destination, message))
}
