//! CloudEvents 1.0 as messages: what of an event goes where, there and back.
//!
//! | CloudEvent | message | event of a hook |
//! |---|---|---|
//! | `type` | destination: the topic of that name | `topic` |
//! | `source` and `id` | `id`: `ce-` and the SHA-256 of both, so a repeat is recognised as the standard asks | `id` |
//! | `id` | header `ce-id` | attribute `ce-id` |
//! | `source` | header `ce-source` | attribute `ce-source` |
//! | `subject` | header `ce-subject` | `subject` |
//! | `time` | header `ce-time` | `occurred_at_ms` |
//! | `datacontenttype` | `content_type` | the payload's content type |
//! | `dataschema`, extension `x` | headers `ce-dataschema`, `ce-x` | attributes of the same name |
//! | data | body | the payload's data |
//!
//! A message that a plugin published has none of these headers: its topic is
//! where it was published to, its id the message's, its subject the header
//! `subject` or else the routing key, its time when it was queued, and its
//! attributes the remaining headers.

use crate::{auth::digest_of, time::parse_rfc3339_ms};
use bytes::Bytes;
use plinth_capability::{
    name::TopicName,
    queue::{Delivery, HEADERS_MAX, Message},
};
use plinth_runtime::hook::{Event, Payload};
use std::time::Duration;

const ID: &str = "ce-id";
const SOURCE: &str = "ce-source";
const SUBJECT: &str = "ce-subject";
const TIME: &str = "ce-time";

/// Attributes with a meaning of their own; all others are extensions.
const KNOWN: [&str; 9] = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"];

/// A checked event: only [`CloudEvent::new`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvent {
    topic: TopicName,
    id: String,
    source: String,
    content_type: String,
    /// `subject`, `time`, `dataschema` and extensions, as `ce-` headers.
    headers: Vec<(String, String)>,
    data: Bytes,
}

/// An attribute that breaks the standard, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{attribute}` {why}")]
pub struct InvalidEvent {
    pub attribute: String,
    pub why: &'static str,
}

pub(crate) fn invalid<T>(attribute: &str, why: &'static str) -> Result<T, InvalidEvent> {
    Err(InvalidEvent { attribute: attribute.escape_debug().take(64).collect(), why })
}

impl CloudEvent {
    /// Checks the context attributes, given by name without `ce-`, and takes the data as it is.
    pub fn new(attributes: Vec<(String, String)>, data: Bytes) -> Result<Self, InvalidEvent> {
        for (position, (name, value)) in attributes.iter().enumerate() {
            check_attribute(name, value)?;
            if attributes.iter().take(position).any(|(other, _)| other == name) {
                return invalid(name, "comes twice");
            }
        }
        let get = |name: &str| attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let required = |name: &str| match get(name) {
            Some(value) => Ok(value),
            None => invalid(name, "is missing"),
        };
        if required("specversion")? != "1.0" {
            return invalid("specversion", "must be `1.0`");
        }
        let (id, source, kind) = (required("id")?, required("source")?, required("type")?);
        let Ok(topic) = TopicName::new(&kind) else {
            return invalid("type", "must be words of letters, digits, `-` and `_` joined by dots, at most 200 bytes");
        };
        let no_data = if data.is_empty() { "application/octet-stream" } else { "application/json" };
        let content_type = get("datacontenttype").unwrap_or_else(|| no_data.to_owned());
        let carried = |name: &str| !["specversion", "id", "source", "type", "datacontenttype"].contains(&name);
        let headers: Vec<_> = attributes.into_iter().filter(|(n, _)| carried(n)).map(|(n, v)| (format!("ce-{n}"), v)).collect();
        if headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() + id.len() + source.len() + 64 > HEADERS_MAX {
            return invalid("attributes", "have more bytes together than a message's headers may");
        }
        Ok(Self { topic, id, source, content_type, headers, data })
    }

    pub fn topic(&self) -> &TopicName {
        &self.topic
    }
}

fn check_attribute(name: &str, value: &str) -> Result<(), InvalidEvent> {
    if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return invalid(name, "is no attribute name: 1 to 64 lower-case letters and digits");
    }
    if name == "data" {
        return invalid(name, "is not a context attribute");
    }
    if value.chars().any(|c| c.is_control() || ('\u{fdd0}'..='\u{fdef}').contains(&c) || (c as u32) & 0xfffe == 0xfffe) {
        return invalid(name, "has characters that an attribute must not have");
    }
    let must_not_be_empty = KNOWN.contains(&name);
    if must_not_be_empty && value.is_empty() {
        return invalid(name, "must not be empty");
    }
    match name {
        "time" if parse_rfc3339_ms(value).is_none() => invalid(name, "must be an RFC 3339 date-time, not before 1970"),
        "source" | "dataschema" if !is_uri_reference(value) => invalid(name, "must be a URI reference"),
        "dataschema" if !value.contains(':') => invalid(name, "must be an absolute URI"),
        "datacontenttype" if !is_media_type(value) => invalid(name, "must be a media type"),
        _ => Ok(()),
    }
}

/// The characters of RFC 3986, and each `%` with two hex digits.
fn is_uri_reference(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    let escapes = text.split('%').skip(1).all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2);
    text.bytes().all(allowed) && escapes
}

fn is_media_type(text: &str) -> bool {
    let token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    let kind = text.split(';').next().unwrap_or_default().trim();
    kind.split_once('/').is_some_and(|(main, sub)| token(main) && token(sub))
}

/// The message to publish to [`CloudEvent::topic`].
pub fn message_from_event(event: CloudEvent) -> Message {
    let CloudEvent { topic: _, id, source, content_type, mut headers, data } = event;
    let message_id = message_id(&source, &id);
    headers.extend([(ID.to_owned(), id), (SOURCE.to_owned(), source)]);
    Message {
        id: message_id,
        body: data,
        content_type,
        headers,
        routing_key: String::new(),
        correlation_id: None,
        priority: 0,
        delay: Duration::ZERO,
        expires: None,
    }
}

/// The length of the source tells where the id begins, so that no two pairs share a text.
fn message_id(source: &str, id: &str) -> String {
    let digest = digest_of(format!("{}:{source}{id}", source.len()).as_bytes());
    digest.iter().fold("ce-".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// What the host hands to an event listener.
pub fn event_from_delivery(delivery: &Delivery) -> Event {
    let Message { id, body, content_type, headers, routing_key, .. } = &delivery.message;
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let subject_header = if header(ID).is_some() { SUBJECT } else { "subject" };
    let subject = header(subject_header).unwrap_or(routing_key).to_owned();
    let occurred = header(TIME).and_then(parse_rfc3339_ms).unwrap_or(delivery.enqueued_at_ms);
    let shown_elsewhere = |name: &str| name == subject_header || name == TIME;
    Event {
        id: id.clone(),
        topic: delivery.destination.clone(),
        subject,
        occurred_at_ms: occurred,
        payload: Payload { content_type: content_type.clone(), data: body.clone() },
        attributes: headers.iter().filter(|(name, _)| !shown_elsewhere(name)).cloned().collect(),
    }
}

/// None if an escape is broken or the bytes are not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => {
                let digit = |b: Option<u8>| (b? as char).to_digit(16);
                u8::try_from(digit(rest.next())? << 4 | digit(rest.next())?).ok()?
            }
            _ => byte,
        };
        bytes.push(decoded);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_capability::name::QueueName;

    const GOOD: [(&str, &str); 4] = [("specversion", "1.0"), ("id", "1"), ("source", "/desk"), ("type", "a.b")];

    fn event(more: &[(&str, &str)]) -> Result<CloudEvent, InvalidEvent> {
        let own = |(n, v): &(&str, &str)| (n.to_string(), v.to_string());
        let replaced = |n: &str| more.iter().any(|(other, _)| *other == n);
        let attributes = GOOD.iter().filter(|(n, _)| !replaced(n)).chain(more.iter().filter(|(_, v)| *v != "-")).map(own);
        CloudEvent::new(attributes.collect(), Bytes::from_static(b"{}"))
    }

    #[track_caller]
    fn refused(more: &[(&str, &str)], attribute: &str) {
        assert_eq!(event(more).map_err(|e| e.attribute), Err(attribute.to_owned()), "{more:?}");
    }

    fn delivery(topic: &str, message: Message) -> Delivery {
        let queue = QueueName::new("events/desk").unwrap();
        Delivery { queue, message, destination: topic.to_owned(), attempt: 1, enqueued_at_ms: 99, token: "t".into() }
    }

    #[test]
    fn an_event_reaches_the_listener_with_all_it_said() {
        let more = [
            ("subject", "A-2026-1"),
            ("time", "2026-01-31T12:00:00.5+08:00"),
            ("datacontenttype", "text/plain; charset=utf-8"),
            ("dataschema", "https://schema.example/a"),
            ("tenant", "红"),
        ];
        let event = event(&more).unwrap();
        assert_eq!(event.topic().as_str(), "a.b");
        let message = message_from_event(event);
        assert!(message.id.len() <= 128);
        let heard = event_from_delivery(&delivery("a.b", message.clone()));
        assert_eq!((heard.id, heard.topic, heard.subject), (message.id, "a.b".into(), "A-2026-1".into()));
        assert_eq!(heard.occurred_at_ms, 1_769_832_000_500);
        assert_eq!(heard.payload, Payload { content_type: "text/plain; charset=utf-8".into(), data: Bytes::from_static(b"{}") });
        let attributes = [("ce-dataschema", "https://schema.example/a"), ("ce-tenant", "红"), ("ce-id", "1"), ("ce-source", "/desk")];
        assert_eq!(heard.attributes, attributes.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn the_message_id_tells_events_apart_by_source_and_id() {
        let id = |source: &str, id: &str| message_from_event(event(&[("source", source), ("id", id)]).unwrap()).id;
        assert_eq!(id("/a", "1"), id("/a", "1"));
        assert_ne!(id("/a", "1"), id("/b", "1"));
        assert_ne!(id("/a", "b1"), id("/ab", "1"));
    }

    #[test]
    fn a_plugins_message_is_an_event_too() {
        let mut message = message_from_event(event(&[]).unwrap());
        message.headers = vec![("tenant".into(), "red".into())];
        message.routing_key = "A-1".into();
        let heard = event_from_delivery(&delivery("t.x", message.clone()));
        assert_eq!((heard.topic.as_str(), heard.subject.as_str(), heard.occurred_at_ms), ("t.x", "A-1", 99));
        assert_eq!(heard.attributes, message.headers);
        message.headers.push(("subject".into(), "A-2".into()));
        let heard = event_from_delivery(&delivery("t.x", message));
        assert_eq!((heard.subject.as_str(), heard.attributes.len()), ("A-2", 1));
    }

    #[test]
    fn what_breaks_the_standard_is_named() {
        for required in ["specversion", "id", "source", "type"] {
            refused(&[(required, "-")], required);
            refused(&[(required, "")], required);
        }
        refused(&[("specversion", "0.3")], "specversion");
        refused(&[("type", "not a topic")], "type");
        refused(&[("source", "with space")], "source");
        refused(&[("source", "/bad%2")], "source");
        refused(&[("time", "yesterday")], "time");
        refused(&[("subject", "")], "subject");
        refused(&[("dataschema", "/relative")], "dataschema");
        refused(&[("datacontenttype", "json")], "datacontenttype");
        refused(&[("Tenant", "x")], "Tenant");
        refused(&[("ten-ant", "x")], "ten-ant");
        refused(&[("data", "x")], "data");
        refused(&[("tenant", "a\u{0}b")], "tenant");
        refused(&[("tenant", "1"), ("tenant", "2")], "tenant");
        refused(&[("tenant", &"x".repeat(HEADERS_MAX))], "attributes");
        assert!(event(&[("id", &"i".repeat(500)), ("tenant", "")]).is_ok());
    }

    #[test]
    fn escapes_are_undone_or_refused() {
        assert_eq!(percent_decode("a%20b%E2%82%ac").as_deref(), Some("a b€"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }
}
