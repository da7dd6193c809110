//! What holds for every route: admission, ids, limits, and that nothing answers but with a problem.

use super::{Host, doubles::Doubles, request};
use crate::{
    auth::digest_of,
    config::{ApiConfig, KeyConfig},
};
use axum::body::Body;
use http::header;
use serde_json::json;

fn keyed() -> Host {
    let sha256 = digest_of(b"a long token").iter().map(|b| format!("{b:02x}")).collect();
    let keys = vec![KeyConfig { id: "ops".into(), sha256, roles: vec!["operator".into()] }];
    Host::with(ApiConfig { keys, ..ApiConfig::default() })
}

#[tokio::test]
async fn with_keys_every_route_but_the_probes_asks_for_one() {
    let host = keyed();
    for uri in ["/v1/queues", "/metrics", "/openapi.json", "/v1/audit", "/nowhere", "/v1/plugins"] {
        let reply = host.get(uri).await;
        reply.problem(401, "unauthenticated");
        assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    for uri in ["/healthz", "/startupz", "/readyz"] {
        assert_ne!(host.get(uri).await.status, 401, "{uri}");
    }
    let key = [("authorization", "Bearer a long token"), ("host", "plinth.example")];
    assert_eq!(host.send(request("GET", "/v1/queues", &key, "")).await.status, 200);
    host.send(request("GET", "/nowhere", &key, "")).await.problem(404, "no-such-route");
}

#[tokio::test]
async fn the_actor_of_an_audit_record_is_the_key() {
    let host = keyed();
    let headers = [("authorization", "Bearer a long token"), ("content-type", "application/json"), ("x-request-id", "req-1")];
    let entry = json!({"action": "desk.open", "subject": {"kind": "desk", "id": "1"}});
    assert_eq!(host.send(request("POST", "/v1/audit", &headers, entry.to_string())).await.status, 201);
    let records = host.doubles.audit.records.lock().unwrap();
    assert_eq!((records[0].actor.as_str(), records[0].invocation_id.as_str()), ("key:ops", "req-1"));
}

#[tokio::test]
async fn without_keys_foreign_names_and_other_sites_are_refused() {
    let host = Host::new();
    host.send(request("GET", "/v1/queues", &[("host", "evil.example")], "")).await.problem(421, "foreign-host");
    let cross = [("sec-fetch-site", "cross-site"), ("content-type", "application/json")];
    host.send(request("POST", "/v1/queues/jobs/replay", &cross, r#"{"all":true}"#)).await.problem(403, "cross-site");
    assert!(host.doubles.queue.replayed.lock().unwrap().is_empty());
    assert_eq!(host.send(request("GET", "/healthz", &[("host", "10.0.0.7:7300")], "")).await.status, 200);
}

#[tokio::test]
async fn missing_routes_and_methods_are_problems() {
    let host = Host::new();
    for uri in ["/", "/v1", "/v1/nothing", "/healthz/", "/v1/queues/a/b/c"] {
        host.get(uri).await.problem(404, "no-such-route");
    }
    for (method, uri, allow) in [("DELETE", "/v1/queues", "GET,HEAD"), ("POST", "/healthz", "GET,HEAD"), ("GET", "/v1/events", "POST")] {
        let reply = host.send(request(method, uri, &[], "")).await;
        reply.problem(405, "method-not-allowed");
        assert_eq!(reply.headers[header::ALLOW], allow, "{method} {uri}");
    }
    let head = host.send(request("HEAD", "/v1/queues", &[], "")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn unreadable_bodies_are_problems() {
    let host = Host::new();
    let uri = "/v1/tasks/jobs";
    let send = async |kind, body: &'static str| host.send(request("POST", uri, &[("content-type", kind)], body)).await;
    send("text/plain", "{}").await.problem(415, "unsupported-media-type");
    send("application/json", "{").await.problem(400, "bad-body");
    send("application/json", r#"{"payload":1,"unknown":2}"#).await.problem(400, "bad-body");
    send("application/json", r#"{"payload":1,"priority":"high"}"#).await.problem(400, "bad-body");
    host.get("/v1/audit?limit=many").await.problem(400, "bad-query");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_also_without_its_length() {
    let host = Host::with(ApiConfig { body_bytes: 64, ..ApiConfig::default() });
    let stated = request("PUT", "/v1/cache/a/b/entries/c", &[("content-length", "65")], "x".repeat(65));
    host.send(stated).await.problem(413, "body-too-large");
    let chunks = || futures::stream::iter((0..65).map(|_| Ok::<_, std::io::Error>("x")));
    host.send(request("PUT", "/v1/cache/a/b/entries/c", &[], Body::from_stream(chunks()))).await.problem(413, "body-too-large");
    let json = [("content-type", "application/json")];
    host.send(request("POST", "/v1/tasks/jobs", &json, Body::from_stream(chunks()))).await.problem(413, "body-too-large");
    assert_eq!(host.send(request("PUT", "/v1/cache/a/b/entries/c", &[], "x".repeat(64))).await.status, 204);
}

#[tokio::test]
async fn a_request_id_is_kept_or_made() {
    let host = Host::new();
    let kept = host.send(request("GET", "/healthz", &[("x-request-id", "mine-1")], "")).await;
    assert_eq!(kept.headers["x-request-id"], "mine-1");
    let made = host.send(request("GET", "/healthz", &[("x-request-id", "not mine")], "")).await;
    assert_ne!(made.headers["x-request-id"], "not mine");
}

#[tokio::test]
async fn a_panic_is_one_answer_and_not_the_end() {
    let host = Host::new();
    host.get("/v1/cache/a/b/entries/panics").await.problem(500, "internal");
    assert_eq!(host.get("/v1/queues").await.status, 200);
}

#[tokio::test]
async fn the_cause_of_an_outage_stays_in_the_log() {
    let reply = Host::new().get("/v1/cache/a/b/entries/breaks").await;
    let problem = reply.problem(503, "unavailable");
    assert_eq!(problem.detail, "the cache is away");
    assert!(!String::from_utf8_lossy(&reply.body).contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_ended() {
    Host::new().get("/v1/cache/a/b/entries/hangs").await.problem(504, "request-timeout");
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_allowed_are_shed_and_room_comes_back() {
    let host = Host::with(ApiConfig { max_in_flight: 2, ..ApiConfig::default() });
    let hang = || host.get("/v1/cache/a/b/entries/hangs");
    let (mut first, mut second) = (Box::pin(hang()), Box::pin(hang()));
    assert!(futures::poll!(first.as_mut()).is_pending() && futures::poll!(second.as_mut()).is_pending());
    host.get("/v1/queues").await.problem(503, "overloaded");
    assert_eq!(host.get("/healthz").await.status, 200);
    drop(first);
    assert_eq!(host.get("/v1/queues").await.status, 200);
    second.await.problem(504, "request-timeout");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let host = Host::over(Doubles::default(), ApiConfig::default());
    host.get("/v1/queues/jobs").await;
    host.get("/v1/queues/none").await;
    host.get("/nowhere/4711").await;
    let counted = host.doubles.metrics.added.lock().unwrap();
    let route = "plinth_http_requests_total /v1/queues/{queue}";
    assert_eq!(*counted, [format!("{route} 2xx"), format!("{route} 4xx"), "plinth_http_requests_total none 4xx".to_owned()]);
}
