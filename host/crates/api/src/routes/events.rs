//! Publish CloudEvents: structured, binary and batched.

use super::Capabilities;
use crate::{
    cloudevents::{CloudEvent, InvalidEvent, invalid, message_from_event, percent_decode},
    error::{ApiError, Result},
    event_json,
    problem::{self, Problems},
};
use axum::{
    Json as Answer,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use plinth_capability::{
    name::TopicName,
    queue::{Destination, PUBLISH_MAX, Queue},
};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(publish))
}

/// A CloudEvent in structured mode; extension attributes may be added.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `event_json` reads by hand")]
struct CloudEventBody {
    /// `1.0`
    specversion: String,
    id: String,
    /// A URI reference; with `id` it names the event.
    source: String,
    /// The topic: dotted words.
    r#type: String,
    subject: Option<String>,
    /// RFC 3339.
    time: Option<String>,
    datacontenttype: Option<String>,
    dataschema: Option<String>,
    data: Option<serde_json::Value>,
    data_base64: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct AcceptedEvent {
    /// Of the message: derived from `source` and `id`, so a repeat has the same.
    id: String,
    topic: String,
}

#[derive(Serialize, ToSchema)]
struct AcceptedBatch {
    /// In the order sent.
    events: Vec<AcceptedEvent>,
}

/// Publish events to the plugins that listen to their type.
///
/// Structured mode, binary mode (`ce-` headers, the body is the data) or a
/// batch of structured events. A repeat of `source` and `id` within a day is
/// dropped, so it is safe to send again what was not answered; of a batch that
/// fails, send all of it again.
#[utoipa::path(post, path = "/v1/events", tag = "events",
    request_body(content((CloudEventBody = "application/cloudevents+json"),
                         (Vec<CloudEventBody> = "application/cloudevents-batch+json"),
                         (Vec<u8> = "*/*")), description = "One event, or in batch mode a list of them."),
    responses((status = 202, description = "Durably stored for every listener there is. In batch mode: `events`, a list of these.", body = AcceptedEvent),
              Problems))]
async fn publish(State(capabilities): State<Capabilities>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Response> {
    let body = body?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let queue = capabilities.queue.as_ref();
    if kind == "application/cloudevents-batch+json" {
        let events = batch(&body)?;
        return Ok((StatusCode::ACCEPTED, Answer(AcceptedBatch { events: send(queue, events).await? })).into_response());
    }
    let event = match kind.as_str() {
        "application/cloudevents+json" => event_json::read(&body),
        _ if headers.contains_key("ce-specversion") => binary(&headers, content_type, body),
        _ => return Err(ApiError::new(problem::UNSUPPORTED_MEDIA_TYPE, "send a CloudEvent: structured, batched, or with `ce-` headers")),
    };
    let accepted = send(queue, vec![event.map_err(bad_event)?]).await?.into_iter().next();
    let accepted = accepted.ok_or_else(|| ApiError::new(problem::INTERNAL, "the event was not answered"))?;
    Ok((StatusCode::ACCEPTED, Answer(accepted)).into_response())
}

fn bad_event(error: InvalidEvent) -> ApiError {
    ApiError::new(problem::BAD_EVENT, error.to_string())
}

/// All events are checked before any is published.
fn batch(body: &Bytes) -> Result<Vec<CloudEvent>> {
    let results = event_json::read_batch(body).map_err(bad_event)?;
    if results.len() > PUBLISH_MAX {
        return Err(ApiError::new(problem::BAD_EVENT, format!("at most {PUBLISH_MAX} events are taken at once")));
    }
    let (mut events, mut problems) = (Vec::new(), Vec::new());
    for (position, result) in results.into_iter().enumerate() {
        match result {
            Ok(event) => events.push(event),
            Err(error) => problems.push(format!("event {position}: {error}")),
        }
    }
    match problems.len() {
        0 => Ok(events),
        count => Err(ApiError::with_problems(problem::BAD_EVENT, format!("{count} events are not valid; none was published"), problems)),
    }
}

fn binary(headers: &HeaderMap, content_type: &str, body: Bytes) -> Result<CloudEvent, InvalidEvent> {
    let mut attributes = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        match value.to_str().ok().and_then(header_text) {
            Some(text) => attributes.push((name.to_owned(), text)),
            None => return invalid(name, "is not percent-encoded UTF-8"),
        }
    }
    if !content_type.is_empty() {
        if attributes.iter().any(|(name, _)| name == "datacontenttype") {
            return invalid("datacontenttype", "is the content-type header in binary mode");
        }
        attributes.push(("datacontenttype".to_owned(), content_type.to_owned()));
    }
    CloudEvent::new(attributes, body)
}

/// The HTTP binding's way to carry text: percent-encoded, perhaps within quotes.
fn header_text(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else { return percent_decode(value) };
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        text.push(if c == '\\' { rest.next()? } else { c });
    }
    percent_decode(&text)
}

/// Publishes topic by topic and answers in the order of `events`.
async fn send(queue: &dyn Queue, events: Vec<CloudEvent>) -> Result<Vec<AcceptedEvent>> {
    let mut accepted = Vec::with_capacity(events.len());
    let mut topics: BTreeMap<TopicName, Vec<_>> = BTreeMap::new();
    for event in events {
        let topic = event.topic().clone();
        let message = message_from_event(event);
        accepted.push(AcceptedEvent { id: message.id.clone(), topic: topic.as_str().to_owned() });
        topics.entry(topic).or_default().push(message);
    }
    for (topic, messages) in topics {
        let results = queue.publish(&Destination::Topic(topic), messages).await?;
        results.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)], content_type: &str) -> Result<CloudEvent, String> {
        let headers = headers.iter().map(|(n, v)| (http::HeaderName::from_static(n), http::HeaderValue::from_static(v))).collect();
        binary(&headers, content_type, Bytes::from_static(b"x")).map_err(|e| e.attribute)
    }

    #[test]
    fn binary_mode_reads_the_headers() {
        let good = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/a"), ("ce-type", "a.b")];
        let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
        let subject = |value| {
            let message = message_from_event(read(&with(&[("ce-subject", value), ("accept", "*/*")]), "text/plain").unwrap());
            assert_eq!(message.content_type, "text/plain");
            message.headers.into_iter().find(|(n, _)| n == "ce-subject").unwrap().1
        };
        assert_eq!(subject("plain"), "plain");
        assert_eq!(subject("%E7%94%B3%20x"), "申 x");
        assert_eq!(subject(r#""quoted \" text""#), "quoted \" text");
        assert_eq!(read(&with(&[("ce-subject", "%ff")]), ""), Err("subject".into()));
        assert_eq!(read(&with(&[("ce-datacontenttype", "a/b")]), "a/b"), Err("datacontenttype".into()));
        assert_eq!(read(&good[..3], ""), Err("type".into()));
    }
}
