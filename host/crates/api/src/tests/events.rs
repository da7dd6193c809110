//! Events and tasks, from a client's request to the queue's message.

use super::{Host, request};
use plinth_capability::queue::{Destination, Message};
use serde_json::json;
use std::time::Duration;

const STRUCTURED: &str = "application/cloudevents+json";
const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/desk","type":"a.b","subject":"A-1","data":{"x":1.10}}"#;

async fn publish(host: &Host, kind: &str, body: &str) -> super::Reply {
    host.send(request("POST", "/v1/events", &[("content-type", kind)], body.to_owned())).await
}

fn only_message(host: &Host) -> (Destination, Message) {
    let published = host.doubles.queue.published.lock().unwrap();
    assert_eq!(published.len(), 1);
    published[0].clone()
}

#[tokio::test]
async fn a_structured_event_is_published_under_its_type() {
    let host = Host::new();
    let reply = publish(&host, STRUCTURED, EVENT).await;
    assert_eq!(reply.status, 202);
    let (destination, message) = only_message(&host);
    let Destination::Topic(topic) = destination else { panic!("not a topic") };
    assert_eq!((topic.as_str(), &message.body[..], message.content_type.as_str()), ("a.b", &br#"{"x":1.10}"#[..], "application/json"));
    assert_eq!(reply.json(), json!({"id": message.id, "topic": "a.b"}));
}

#[tokio::test]
async fn binary_and_structured_mode_make_the_same_message() {
    let (structured, binary) = (Host::new(), Host::new());
    publish(&structured, STRUCTURED, EVENT).await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/desk"),
        ("ce-type", "a.b"),
        ("ce-subject", "A-1"),
        ("content-type", "application/json"),
    ];
    assert_eq!(binary.send(request("POST", "/v1/events", &headers, r#"{"x":1.10}"#)).await.status, 202);
    assert_eq!(only_message(&structured), only_message(&binary));
}

#[tokio::test]
async fn a_batch_is_published_whole_or_not_at_all() {
    let host = Host::new();
    let kind = "application/cloudevents-batch+json";
    let other = EVENT.replace("a.b", "c.d");
    let bad = publish(&host, kind, &format!(r#"[{EVENT},{{}},{other}]"#)).await.problem(400, "bad-event");
    assert_eq!(bad.problems.len(), 1);
    assert!(bad.problems[0].starts_with("event 1: "), "{:?}", bad.problems);
    assert!(host.doubles.queue.published.lock().unwrap().is_empty());
    let good = publish(&host, kind, &format!(r#"[{other},{EVENT}]"#)).await.json();
    assert_eq!((&good["events"][0]["topic"], &good["events"][1]["topic"]), (&json!("c.d"), &json!("a.b")));
    assert_eq!(host.doubles.queue.published.lock().unwrap().len(), 2);
    assert_eq!(publish(&host, kind, "[]").await.json(), json!({"events": []}));
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let host = Host::new();
    publish(&host, "application/json", EVENT).await.problem(415, "unsupported-media-type");
    publish(&host, STRUCTURED, "[]").await.problem(400, "bad-event");
    publish(&host, STRUCTURED, &EVENT.replace("1.0\"", "0.3\"")).await.problem(400, "bad-event");
    publish(&host, STRUCTURED, &EVENT.replace("a.b", "a b")).await.problem(400, "bad-event");
    assert!(host.doubles.queue.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_task_reaches_its_queue_with_all_its_settings() {
    let host = Host::new();
    let task = json!({"payload": {"a": [1, null]}, "routing_key": "r", "correlation_id": "c", "message_id": "m-1",
        "delay_ms": 5, "expires_ms": 9, "priority": 7, "headers": {"h": "1"}});
    assert_eq!(host.post("/v1/tasks/events%2Fdesk", task).await.json(), json!({"id": "m-1"}));
    let (destination, message) = only_message(&host);
    let Destination::Queue(queue) = destination else { panic!("not a queue") };
    assert_eq!(queue.as_str(), "events/desk");
    let expected = Message {
        id: "m-1".into(),
        body: r#"{"a":[1,null]}"#.into(),
        content_type: "application/json".into(),
        headers: vec![("h".into(), "1".into())],
        routing_key: "r".into(),
        correlation_id: Some("c".into()),
        priority: 7,
        delay: Duration::from_millis(5),
        expires: Some(Duration::from_millis(9)),
    };
    assert_eq!(message, expected);
}

#[tokio::test]
async fn a_task_is_refused_where_it_cannot_go() {
    let host = Host::new();
    host.post("/v1/tasks/unknown", json!({"payload": 1})).await.problem(404, "unroutable");
    host.post("/v1/tasks/jobs", json!({})).await.problem(400, "bad-body");
    host.post("/v1/tasks/jobs", json!({"payload": 1, "data_base64": ""})).await.problem(400, "bad-body");
    host.post("/v1/tasks/jobs", json!({"data_base64": "?"})).await.problem(400, "bad-body");
    host.post("/v1/tasks/jobs", json!({"payload": 1, "headers": {"Plinth-Depth": "0"}})).await.problem(400, "bad-body");
    host.post("/v1/tasks/..%2Fetc", json!({"payload": 1})).await.problem(400, "invalid-input");
    assert!(host.doubles.queue.published.lock().unwrap().is_empty());
    let id = host.post("/v1/tasks/jobs", json!({"data_base64": "AP8="})).await.json()["id"].as_str().unwrap().to_owned();
    let (_, message) = only_message(&host);
    assert_eq!((&message.body[..], message.content_type.as_str(), message.id), (&[0, 255][..], "application/octet-stream", id));
}
