//! Queues, audit log and metrics over HTTP.

use super::{Host, request};
use plinth_capability::queue::{DeadLetterFilter, Selection};
use serde_json::{Value, json};
use tower::ServiceExt;

#[tokio::test]
async fn queues_are_listed_with_their_depth() {
    let host = Host::new();
    let depth = json!({"ready": 1, "delayed": 2, "in_flight": 3, "dead": 4});
    let desk = json!({"queue": "events/desk", "depth": depth});
    let all = host.get("/v1/queues").await.json();
    assert_eq!((&all["queues"][0], all["queues"].as_array().unwrap().len()), (&desk, 2));
    assert_eq!(host.get("/v1/queues/events%2Fdesk").await.json(), desk);
    host.get("/v1/queues/none").await.problem(404, "not-found");
    host.get("/v1/queues/a%20b").await.problem(400, "invalid-input");
}

#[tokio::test]
async fn dead_letters_are_shown_in_pages() {
    let host = Host::new();
    let page = host.get("/v1/queues/jobs/dead-letters?cursor=c-1&limit=7").await.json();
    let first = &page["dead_letters"][0];
    assert_eq!((&first["text"], &first["attempts"], &first["last_error"]), (&json!("text"), &json!(7), &json!("c-1")));
    assert_eq!((&page["dead_letters"][1]["data_base64"], &page["next"]), (&json!("/w=="), &json!("c-2")));
    for limit in ["0", "1001", "x"] {
        host.get(&format!("/v1/queues/jobs/dead-letters?limit={limit}")).await.problem(400, "bad-query");
    }
}

#[tokio::test]
async fn dead_letters_are_selected_to_be_put_back_or_forgotten() {
    let host = Host::new();
    let of = |reason: &str| DeadLetterFilter { reason: Some(reason.to_owned()), ..DeadLetterFilter::default() };
    let every = json!({"reason": "expired", "destination": "a.b", "died_after_ms": 1, "died_before_ms": 2});
    let every_filter =
        DeadLetterFilter { destination: Some("a.b".into()), died_after_ms: Some(1), died_before_ms: Some(2), ..of("expired") };
    let good = [
        (json!({"all": true}), Selection::All),
        (json!({"ids": ["m-1"]}), Selection::Ids(vec!["m-1".into()])),
        (json!({"ids": []}), Selection::Ids(Vec::new())),
        (json!({"matching": {"reason": "rejected"}}), Selection::Matching(of("rejected"))),
        (json!({"matching": {"reason": "attempts-exhausted"}}), Selection::Matching(of("attempts-exhausted"))),
        (json!({"matching": every}), Selection::Matching(every_filter)),
    ];
    let bad = [
        json!({}),
        json!({"all": false}),
        json!({"all": true, "ids": []}),
        json!({"all": true, "matching": {"reason": "expired"}}),
        json!({"ids": ["m-1"], "matching": {"reason": "expired"}}),
        json!({"ids": vec!["m"; 1_001]}),
        json!({"matching": {}}),
        json!({"matching": {"reason": "tired"}}),
        json!({"matching": {"died_before": 2}}),
    ];
    let json_body = [("content-type", "application/json")];
    let purge = async |body: &Value| host.send(request("DELETE", "/v1/queues/jobs/dead-letters", &json_body, body.to_string())).await;
    for (body, _) in &good {
        assert_eq!(host.post("/v1/queues/jobs/replay", body.clone()).await.json(), json!({"replayed": 2}), "{body}");
        assert_eq!(purge(body).await.json(), json!({"purged": 3}), "{body}");
    }
    for body in bad {
        host.post("/v1/queues/jobs/replay", body.clone()).await.problem(400, "bad-body");
        purge(&body).await.problem(400, "bad-body");
    }
    // A proxy that drops the body of a DELETE must not make it one of all.
    host.send(request("DELETE", "/v1/queues/jobs/dead-letters", &json_body, "")).await.problem(400, "bad-body");
    host.send(request("DELETE", "/v1/queues/jobs/dead-letters", &[], "")).await.problem(415, "unsupported-media-type");
    let expected: Vec<_> = good.into_iter().map(|(_, selection)| selection).collect();
    assert_eq!(*host.doubles.queue.replayed.lock().unwrap(), expected);
    assert_eq!(*host.doubles.queue.purged.lock().unwrap(), expected);
}

#[tokio::test]
async fn an_audit_record_is_stamped_by_the_host() {
    let host = Host::new();
    let entry = json!({"action": "desk.open", "subject": {"kind": "desk", "id": "1"}, "outcome": {"result": "denied", "reason": "closed"},
        "summary": "s", "changes": [{"field": "f", "before": null, "after": "x"}], "attributes": {"a": "b"}});
    let reply = host.post("/v1/audit", entry.clone()).await;
    assert_eq!(reply.status, 201);
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let shown = host.get(&format!("/v1/audit/{id}")).await.json();
    assert_eq!((&shown["actor"], &shown["plugin_id"], &shown["sequence"]), (&json!("anonymous"), &json!("api"), &json!(0)));
    for member in ["action", "subject", "outcome", "summary", "changes", "attributes"] {
        assert_eq!(shown[member], entry[member], "{member}");
    }
    host.get("/v1/audit/none").await.problem(404, "not-found");
    let forged = json!({"action": "a.b", "subject": {"kind": "k", "id": "1"}, "actor": "user:1"});
    host.post("/v1/audit", forged).await.problem(400, "bad-body");
}

/// An answer that ended well is whole; any other one does not end well.
#[tokio::test]
async fn an_export_that_cannot_go_on_breaks_off() {
    let host = Host::new();
    for (query, whole) in [("", true), ("?subject_kind=breaks", false), ("?cursor=circle", false)] {
        let response = host.router.clone().oneshot(request("GET", &format!("/v1/audit/export{query}"), &[], "")).await.unwrap();
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_ok(), whole, "{query}");
    }
}

#[tokio::test]
async fn an_audit_query_hands_on_every_condition() {
    let host = Host::new();
    let query = "subject_kind=k&subject_id=i&action=a.b&from_ms=1&until_ms=2&actor=u&plugin=p&outcome=denied&cursor=c&limit=3";
    assert_eq!(host.get(&format!("/v1/audit?{query}")).await.json(), json!({"records": [], "next": null}));
    assert_eq!(host.get("/v1/audit").await.json()["next"], "c");
    let asked = host.doubles.audit.asked.lock().unwrap().clone();
    let (filter, cursor, limit) = &asked[0];
    let told = [&filter.subject_kind, &filter.subject_id, &filter.action_prefix, &filter.actor, &filter.plugin_id, &filter.outcome];
    assert_eq!(told.map(|t| t.as_deref().unwrap()), ["k", "i", "a.b", "u", "p", "denied"]);
    assert_eq!((filter.from_ms, filter.until_ms, cursor.as_deref(), *limit), (Some(1), Some(2), Some("c"), 3));
    for bad in ["limit=0", "limit=1001", "outcome=maybe", "who=me", "from_ms=-1"] {
        host.get(&format!("/v1/audit?{bad}")).await.problem(400, "bad-query");
    }
}

#[tokio::test]
async fn metrics_are_text_and_json() {
    let host = Host::new();
    let text = host.get("/metrics").await;
    assert_eq!(
        (&text.body[..], &text.headers["content-type"]),
        (&b"# HELP a b\n"[..], &"text/plain; version=0.0.4; charset=utf-8".parse().unwrap())
    );
    let json = json!({"series": [{"name": "x_total", "labels": {"route": "/"}, "value": 5.0}]});
    assert_eq!(host.get("/v1/metrics?prefix=x&limit=5").await.json(), json);
    host.get("/v1/metrics?limit=0").await.problem(400, "bad-query");
}
