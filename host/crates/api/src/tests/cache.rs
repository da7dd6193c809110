//! Conditional requests and batches on cache entries.

use super::{Host, request};
use http::header;
use serde_json::json;
use std::time::Duration;

const ENTRY: &str = "/v1/cache/shared/desk/entries/a%2Fb";

#[tokio::test]
async fn an_entry_is_written_read_and_deleted() {
    let host = Host::new();
    host.get(ENTRY).await.problem(404, "not-found");
    let put = host.send(request("PUT", &format!("{ENTRY}?ttl_ms=5000&tags=x,y"), &[], "value")).await;
    assert_eq!((put.status.as_u16(), &put.headers[header::ETAG]), (204, &"\"v%201\"".parse().unwrap()));
    let write = host.doubles.cache.write_of("shared/desk", "a/b").unwrap();
    assert_eq!((write.ttl, write.tags.len()), (Some(Duration::from_secs(5)), 2));
    let got = host.get(ENTRY).await;
    assert_eq!((got.status.as_u16(), &got.body[..], &got.headers[header::ETAG]), (200, &b"value"[..], &put.headers[header::ETAG]));
    assert_eq!(got.headers[header::CONTENT_TYPE], "application/octet-stream");
    let known = [("if-none-match", "\"v%201\"")];
    assert_eq!(host.send(request("GET", ENTRY, &known, "")).await.status, 304);
    assert_eq!(host.send(request("DELETE", ENTRY, &[], "")).await.status, 204);
    host.get(ENTRY).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_condition_that_does_not_hold_writes_nothing() {
    let host = Host::new();
    let put = async |name, value, body| host.send(request("PUT", ENTRY, &[(name, value)], body)).await;
    put("if-match", "\"v%201\"", "a").await.problem(412, "precondition-failed");
    assert_eq!(put("if-none-match", "*", "b").await.status, 204);
    put("if-none-match", "*", "c").await.problem(412, "precondition-failed");
    put("if-match", "\"v%209\"", "d").await.problem(412, "precondition-failed");
    assert_eq!(&host.get(ENTRY).await.body[..], b"b");
    let swapped = put("if-match", "\"v%201\"", "e").await;
    assert_eq!((swapped.status.as_u16(), &swapped.headers[header::ETAG]), (204, &"\"v%202\"".parse().unwrap()));
    assert_eq!(&host.get(ENTRY).await.body[..], b"e");
    put("if-match", "v1", "f").await.problem(400, "bad-header");
    put("if-none-match", "\"v1\"", "g").await.problem(400, "bad-header");
    let both = [("if-match", "\"v%202\""), ("if-none-match", "*")];
    host.send(request("PUT", ENTRY, &both, "h")).await.problem(400, "bad-header");
}

#[tokio::test]
async fn bad_names_are_refused() {
    let host = Host::new();
    for uri in ["/v1/cache/sha%20red/desk/entries/a", "/v1/cache/shared/..%2Fetc/entries/a", "/v1/cache/shared/desk/entries/a%00b"] {
        host.get(uri).await.problem(400, "invalid-input");
    }
    host.get("/v1/cache/shared/desk/entries/%ff").await.problem(400, "bad-path");
    let unknown = format!("{ENTRY}?tll_ms=5");
    host.send(request("PUT", &unknown, &[], "x")).await.problem(400, "bad-query");
}

#[tokio::test]
async fn a_batch_deletes_writes_and_reads_in_this_order() {
    let host = Host::new();
    let batch = "/v1/cache/shared/desk/batch";
    let set = json!({"set": [{"key": "a", "text": "1"}, {"key": "b", "value_base64": "/w==", "ttl_ms": 7}]});
    assert_eq!(host.post(batch, set).await.json(), json!({"entries": [], "stored": 2, "deleted": 0}));
    let all = json!({"delete": ["a", "none"], "set": [{"key": "c", "text": "3"}], "get": ["a", "b", "c"]});
    let answer = host.post(batch, all).await.json();
    assert_eq!((&answer["deleted"], &answer["stored"]), (&json!(1), &json!(1)));
    assert_eq!(answer["entries"][0], json!({"key": "a", "found": false}));
    assert_eq!(answer["entries"][1]["value_base64"], "/w==");
    assert_eq!((&answer["entries"][1]["text"], &answer["entries"][2]["text"]), (&json!(null), &json!("3")));
    let write = host.doubles.cache.write_of("shared/desk", "b").unwrap();
    assert_eq!(write.ttl, Some(Duration::from_millis(7)));
    let both = json!({"set": [{"key": "a", "text": "1", "value_base64": ""}], "delete": ["b"]});
    host.post(batch, both).await.problem(400, "bad-body");
    assert!(host.doubles.cache.write_of("shared/desk", "b").is_some(), "a refused batch changed something");
    let many: Vec<_> = (0..1_001).map(|n| n.to_string()).collect();
    host.post(batch, json!({"get": many})).await.problem(400, "bad-body");
}

#[tokio::test]
async fn touch_and_invalidate_tell_what_they_found() {
    let host = Host::new();
    host.send(request("PUT", &format!("{ENTRY}?tags=x"), &[], "v")).await;
    let touch = async |key| host.post("/v1/cache/shared/desk/touch", json!({"key": key, "ttl_ms": 9})).await.json();
    assert_eq!((touch("a/b").await, touch("none").await), (json!({"touched": true}), json!({"touched": false})));
    assert_eq!(host.doubles.cache.write_of("shared/desk", "a/b").unwrap().ttl, Some(Duration::from_millis(9)));
    let invalidate = async |tag| host.post("/v1/cache/shared/desk/invalidate", json!({"tags": [tag]})).await.json();
    assert_eq!((invalidate("y").await, invalidate("x").await), (json!({"invalidated": 0}), json!({"invalidated": 1})));
}
