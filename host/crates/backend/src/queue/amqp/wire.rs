//! One copy of a message as it travels: what is ours in headers, the body as it is.

use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString},
};
use plinth_capability::{
    name::QueueName,
    now_ms,
    queue::{DeadLetter, Message},
};
use std::time::Duration;
use uuid::Uuid;

const PERSISTENT: u8 = 2;
const COPY: &str = "plinth-copy";
const ATTEMPTS: &str = "plinth-attempts";
const DESTINATION: &str = "plinth-destination";
const ENQUEUED: &str = "plinth-enqueued-ms";
const PRIORITY: &str = "plinth-priority";
const DELAY: &str = "plinth-delay-ms";
const EXPIRES: &str = "plinth-expires-ms";
const ROUTING_KEY: &str = "plinth-routing-key";
const CONTENT_TYPE: &str = "plinth-content-type";
const CORRELATION: &str = "plinth-correlation-id";
const HEADERS: &str = "plinth-headers";
const LAST_ERROR: &str = "plinth-last-error";
const REASON: &str = "plinth-reason";
const DIED: &str = "plinth-died-ms";

/// A message on its way, with what the broker does not know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) message: Message,
    /// Made once per publish, kept by retries, releases and replays.
    pub(super) id: String,
    pub(super) destination: String,
    pub(super) enqueued_ms: u64,
    /// Deliveries that are over.
    pub(super) attempts: u32,
    pub(super) last_error: String,
    pub(super) death: Option<Death>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) reason: String,
    pub(super) died_ms: u64,
}

impl Copy {
    pub(super) fn new(message: Message, destination: &str) -> Self {
        let (id, enqueued_ms) = (Uuid::now_v7().to_string(), now_ms());
        Self { message, id, destination: destination.to_owned(), enqueued_ms, attempts: 0, last_error: String::new(), death: None }
    }

    /// When it expires, in Unix milliseconds.
    pub(super) fn expires_at_ms(&self) -> Option<u64> {
        let expires = u64::try_from(self.message.expires?.as_millis()).unwrap_or(u64::MAX);
        Some(self.enqueued_ms.saturating_add(expires))
    }

    pub(super) fn dead(mut self, reason: &str, error: String) -> Self {
        self.last_error = error;
        self.death = Some(Death { reason: reason.to_owned(), died_ms: now_ms() });
        self
    }

    /// Put back by an operator: it has had its time, so it does not expire again.
    pub(super) fn revived(mut self) -> Self {
        self.message.expires = None;
        self.attempts = 0;
        self.last_error = String::new();
        self.death = None;
        self
    }

    /// `lives` is how long the broker keeps it in a queue nobody reads.
    pub(super) fn properties(&self, lives: Option<Duration>) -> BasicProperties {
        let mut table = Table(FieldTable::default());
        table.text(COPY, &self.id);
        table.number(ATTEMPTS, self.attempts.into());
        table.text(DESTINATION, &self.destination);
        table.number(ENQUEUED, self.enqueued_ms);
        table.number(PRIORITY, self.message.priority.into());
        let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(short(&self.message.id));
        // The broker's own fields hold 255 bytes, ours may be longer.
        match ShortString::try_new(self.message.content_type.as_str()) {
            Ok(text) => properties = properties.with_content_type(text),
            Err(_) => table.text(CONTENT_TYPE, &self.message.content_type),
        }
        match self.message.correlation_id.as_deref().map(ShortString::try_new) {
            None => {}
            Some(Ok(text)) => properties = properties.with_correlation_id(text),
            Some(Err(_)) => table.text(CORRELATION, self.message.correlation_id.as_deref().unwrap_or_default()),
        }
        if !self.message.delay.is_zero() {
            table.number(DELAY, millis(self.message.delay));
        }
        if let Some(expires) = self.message.expires {
            table.number(EXPIRES, millis(expires));
        }
        if !self.message.routing_key.is_empty() {
            table.text(ROUTING_KEY, &self.message.routing_key);
        }
        if !self.message.headers.is_empty() {
            table.pairs(HEADERS, &self.message.headers);
        }
        if !self.last_error.is_empty() {
            table.text(LAST_ERROR, &self.last_error);
        }
        if let Some(death) = &self.death {
            table.text(REASON, &death.reason);
            table.number(DIED, death.died_ms);
        }
        if let Some(lives) = lives {
            properties = properties.with_expiration(short(&millis(lives).to_string()));
        }
        properties.with_headers(table.0)
    }

    /// Reads what arrived. A message that something else put into the queue is
    /// taken as well as it can be.
    pub(super) fn read(properties: &BasicProperties, data: Vec<u8>, queue: &QueueName) -> Self {
        let none = FieldTable::default();
        let table = properties.headers().as_ref().unwrap_or(&none);
        let property = |own: &str, field: &Option<ShortString>| text(table, own).or_else(|| field.as_ref().map(ToString::to_string));
        let copy = text(table, COPY);
        let id = properties.message_id().as_ref().map(ToString::to_string).filter(|id| !id.is_empty());
        let id = id.or_else(|| copy.clone()).unwrap_or_else(|| Uuid::now_v7().to_string());
        let message = Message {
            body: Bytes::from(data),
            content_type: property(CONTENT_TYPE, properties.content_type()).unwrap_or_default(),
            headers: pairs(table, HEADERS),
            routing_key: text(table, ROUTING_KEY).unwrap_or_default(),
            correlation_id: property(CORRELATION, properties.correlation_id()),
            priority: number(table, PRIORITY).and_then(|p| u8::try_from(p).ok()).unwrap_or(0).min(9),
            delay: Duration::from_millis(number(table, DELAY).unwrap_or(0)),
            expires: number(table, EXPIRES).map(Duration::from_millis),
            id: id.clone(),
        };
        Self {
            message,
            id: copy.unwrap_or(id),
            destination: text(table, DESTINATION).unwrap_or_else(|| queue.to_string()),
            enqueued_ms: number(table, ENQUEUED).unwrap_or_else(now_ms),
            attempts: number(table, ATTEMPTS).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            last_error: text(table, LAST_ERROR).unwrap_or_default(),
            death: text(table, REASON).map(|reason| Death { reason, died_ms: number(table, DIED).unwrap_or(0) }),
        }
    }

    pub(super) fn into_letter(self, queue: &QueueName) -> DeadLetter {
        let Death { reason, died_ms } = self.death.unwrap_or(Death { reason: String::new(), died_ms: 0 });
        DeadLetter {
            message_id: self.message.id,
            queue: queue.clone(),
            destination: self.destination,
            content_type: self.message.content_type,
            body: self.message.body.to_vec(),
            headers: self.message.headers,
            attempts: self.attempts,
            reason,
            last_error: self.last_error,
            enqueued_at_ms: self.enqueued_ms,
            died_at_ms: died_ms.max(self.enqueued_ms),
        }
    }
}

/// Which copy the broker gave back as unroutable.
pub(super) fn copy_id(properties: &BasicProperties) -> Option<String> {
    text(properties.headers().as_ref()?, COPY)
}

/// Times the broker has delivered this very copy before.
pub(super) fn redeliveries(properties: &BasicProperties, redelivered: bool) -> u32 {
    let counted = properties.headers().as_ref().and_then(|table| number(table, "x-delivery-count"));
    counted.map_or(u32::from(redelivered), |n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// What the broker says of a message it took out of a queue itself: reason, and when (Unix seconds).
pub(super) fn broker_death(properties: &BasicProperties, lanes: &[String]) -> Option<(String, u64)> {
    let table = properties.headers().as_ref()?;
    let AMQPValue::FieldArray(deaths) = table.inner().get("x-death")? else { return None };
    deaths.as_slice().iter().find_map(|death| {
        let death = death.as_field_table()?;
        let queue = text(death, "queue")?;
        lanes.contains(&queue).then(|| (text(death, "reason").unwrap_or_default(), number(death, "time").unwrap_or(0)))
    })
}

struct Table(FieldTable);

impl Table {
    fn text(&mut self, key: &'static str, value: &str) {
        self.0.insert(key.into(), long(value));
    }

    fn number(&mut self, key: &'static str, value: u64) {
        self.0.insert(key.into(), AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    // A list and not a table: it keeps order, repeats and long names.
    fn pairs(&mut self, key: &'static str, pairs: &[(String, String)]) {
        let flat = pairs.iter().flat_map(|(name, value)| [long(name), long(value)]).collect::<Vec<_>>();
        self.0.insert(key.into(), AMQPValue::FieldArray(FieldArray::from(flat)));
    }
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// For text that was checked to be short; cut rather than fatal if it was not.
fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn text(table: &FieldTable, key: &str) -> Option<String> {
    as_text(table.inner().get(key)?)
}

fn number(table: &FieldTable, key: &str) -> Option<u64> {
    match table.inner().get(key)? {
        AMQPValue::LongLongInt(n) => u64::try_from(*n).ok(),
        AMQPValue::LongInt(n) => u64::try_from(*n).ok(),
        AMQPValue::LongUInt(n) => Some(u64::from(*n)),
        AMQPValue::ShortInt(n) => u64::try_from(*n).ok(),
        AMQPValue::ShortUInt(n) => Some(u64::from(*n)),
        AMQPValue::ShortShortInt(n) => u64::try_from(*n).ok(),
        AMQPValue::ShortShortUInt(n) => Some(u64::from(*n)),
        AMQPValue::Timestamp(n) => Some(*n),
        _ => None,
    }
}

fn pairs(table: &FieldTable, key: &str) -> Vec<(String, String)> {
    let Some(AMQPValue::FieldArray(flat)) = table.inner().get(key) else { return Vec::new() };
    flat.as_slice().chunks_exact(2).filter_map(|pair| Some((as_text(pair.first()?)?, as_text(pair.last()?)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*};

    prop_compose! {
        fn messages()(
            id in ".{1,30}", body in vec(any::<u8>(), 0..50), content_type in ".{0,300}", headers in vec((".{0,300}", ".{0,20}"), 0..4),
            routing_key in ".{0,300}", correlation_id in option::of(".{0,300}"), priority in 0u8..=9, delay in 0u64..1_000_000,
            expires in option::of(0u64..1_000_000),
        ) -> Message {
            let (delay, expires) = (Duration::from_millis(delay), expires.map(Duration::from_millis));
            Message { id, body: Bytes::from(body), content_type, headers, routing_key, correlation_id, priority, delay, expires }
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read(message in messages(), attempts in any::<u32>(), error in ".{0,300}", dead in any::<bool>()) {
            let mut copy = Copy { attempts, last_error: error.clone(), ..Copy::new(message, "to") };
            if dead {
                copy = copy.dead("rejected", error);
            }
            let queue = QueueName::new("work").unwrap();
            let read = Copy::read(&copy.properties(None), copy.message.body.to_vec(), &queue);
            prop_assert_eq!(read, copy);
        }
    }

    #[test]
    fn a_message_of_somebody_else_is_taken() {
        let queue = QueueName::new("work").unwrap();
        let properties = BasicProperties::default().with_message_id("m".into());
        let read = Copy::read(&properties, vec![1], &queue);
        assert_eq!((read.message.id.as_str(), read.id.as_str(), read.destination.as_str(), read.attempts), ("m", "m", "work", 0));
        assert!(!Copy::read(&BasicProperties::default(), vec![], &queue).message.id.is_empty());
    }
}
