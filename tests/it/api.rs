//! The HTTP API end to end, with plugins behind it.

use plinth_tests::{Answer, Client, Package, TestHost, eventually, exposition};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugins_life_over_http() {
    let host = TestHost::start().await;
    assert_eq!(host.get("/v1/plugins").await.ok()["plugins"], json!([]));
    let first = Package::plugin("review-rules-v1");
    let dry = host.upload(&first, "&dry_run=true").await.ok();
    assert!(dry["notices"].is_array(), "{dry}");
    let installed = host.install(&first).await;
    assert_eq!(installed.status, 201, "{installed}");
    let second = host.install(&Package::plugin("review-rules-v2")).await;
    assert_eq!((second.status, &second.json()["replaced"]), (200, &json!("1.0.0")), "{second}");
    let slot = host.slot("review-rules").await;
    assert_eq!((&slot["version"], &slot["state"], &slot["generation"]), (&json!("2.0.0"), &json!("live"), &json!(2)));
    assert_eq!(slot["limits"]["wall-ms"], 500);
    let versions = host.get("/v1/plugins/review-rules/versions").await.ok();
    let told: Vec<_> = versions["versions"].as_array().unwrap().iter().map(|v| (v["version"].clone(), v["active"].clone())).collect();
    assert_eq!(told, [(json!("2.0.0"), json!(true)), (json!("1.0.0"), json!(false))]);
    assert_eq!(host.post("/v1/plugins/review-rules/swap", &json!({"version": "1.0.0"})).await.ok()["version"], "1.0.0");
    assert_eq!(host.post("/v1/plugins/review-rules/rollback", &json!({})).await.ok()["version"], "2.0.0");
    assert_eq!(host.delete("/v1/plugins/review-rules").await.ok()["generation"], 5);
    host.get("/v1/plugins/review-rules").await.assert_problem(404, "no-such-plugin");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_a_problem() {
    let host = TestHost::start().await;
    let swap = async |body: Value| host.post("/v1/plugins/a/swap", &body).await;
    let rows: Vec<(Answer, u16, &str)> = vec![
        (host.get("/nowhere").await, 404, "no-such-route"),
        (host.delete("/v1/plugins").await, 405, "method-not-allowed"),
        (host.get("/v1/plugins/Not%20A%20Name").await, 400, "invalid-input"),
        (host.get("/v1/audit?limit=0").await, 400, "bad-query"),
        (host.get("/v1/audit?unknown=1").await, 400, "bad-query"),
        (host.get("/v1/audit/none").await, 404, "not-found"),
        (host.get("/v1/cache/shared/b/entries/none").await, 404, "not-found"),
        (host.post("/v1/tasks/nobody", &json!({"payload": 1})).await, 404, "unroutable"),
        (host.post("/v1/tasks/nobody", &json!({})).await, 400, "bad-body"),
        (host.post("/v1/events", &json!({})).await, 415, "unsupported-media-type"),
        (swap(json!({})).await, 400, "bad-body"),
        (swap(json!({"version": "1"})).await, 404, "no-such-plugin"),
        (host.send(host.request(Method::POST, "/v1/plugins").body("x")).await, 400, "bad-body"),
        (host.send(host.request(Method::GET, "/v1/plugins").header("host", "evil.example")).await, 421, "foreign-host"),
        (host.send(host.request(Method::POST, "/v1/audit").header("origin", "http://evil.example")).await, 403, "cross-site"),
    ];
    for (answer, status, code) in rows {
        answer.assert_problem(status, code);
    }
    host.stop().await;
}

/// Tasks and events that end at a hook which rejects them can be read as dead letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_whole_in_every_mode() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    let structured = host.event("misbehave.event", "1", "guest-error-reject", &json!({"amount": 1})).await;
    assert_eq!(host.event("misbehave.event", "1", "guest-error-reject", &json!({"amount": 1})).await, structured, "a repeat");
    let binary =
        host.request(Method::POST, "/v1/events").header("ce-specversion", "1.0").header("ce-id", "2").header("ce-source", "/tests");
    let binary = binary.header("ce-type", "misbehave.event").header("ce-subject", "guest-error-reject").header("content-type", "text/csv");
    let binary = host.send(binary.body("a,b")).await.ok()["id"].as_str().unwrap().to_owned();
    let one =
        |id: &str| json!({"specversion": "1.0", "id": id, "source": "/b", "type": "misbehave.event", "subject": "guest-error-reject"});
    let batch = host.request(Method::POST, "/v1/events").header("content-type", "application/cloudevents-batch+json");
    let batch = host.send(batch.body(json!([one("3"), one("4")]).to_string())).await.ok();
    for (id, text) in [(structured.as_str(), "{\"amount\":1}"), (&binary, "a,b"), (batch["events"][0]["id"].as_str().unwrap(), "")] {
        let dead = host.dead_letter("events/misbehave", id).await;
        assert_eq!((dead["text"].as_str(), &dead["headers"]["ce-subject"]), (Some(text), &json!("guest-error-reject")), "{dead}");
    }
    eventually("four dead letters, the repeat not among them", async || {
        let depth = host.get("/v1/queues/events%2Fmisbehave").await.ok()["depth"].clone();
        (depth == json!({"ready": 0, "delayed": 0, "in_flight": 0, "dead": 4})).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_wait_their_delay_and_dead_letters_are_replayed() {
    let host = TestHost::start().await;
    host.declare("misbehave", json!({})).await;
    let task = |id: &str, priority: u8, delay: u64| json!({"payload": id, "routing_key": "guest-error-reject", "message_id": id, "priority": priority, "delay_ms": delay});
    // Queued before anybody handles them, so that the order is the queue's.
    for (id, priority, delay) in [("low", 0, 0), ("high", 9, 0), ("late", 9, 1_500), ("middle", 5, 0)] {
        assert_eq!(host.post("/v1/tasks/misbehave", &task(id, priority, delay)).await.status, 202);
    }
    let one_by_one = Package::fixture("misbehave").with("limits", "concurrency", 1);
    host.installed(&one_by_one).await;
    let dead = async |count: usize| {
        eventually(&format!("{count} dead letters"), async || {
            let page = host.get("/v1/queues/misbehave/dead-letters").await.ok();
            let letters = page["dead_letters"].as_array().unwrap().clone();
            (letters.len() == count).then_some(letters)
        })
        .await
    };
    let letters = dead(4).await;
    let late = letters.iter().find(|letter| letter["message_id"] == "late").unwrap();
    let time = |letter: &Value, member: &str| letter[member].as_u64().unwrap();
    assert!(time(late, "died_at_ms") >= time(late, "enqueued_at_ms") + 1_500, "{late}");
    assert_eq!(letters.last().unwrap()["message_id"], "late");
    assert_eq!(host.post("/v1/queues/misbehave/replay", &json!({"ids": ["low"]})).await.ok()["replayed"], 1);
    let again = dead(4).await;
    assert!(again.iter().any(|letter| letter["message_id"] == "low" && letter["attempts"] == 1));
    assert_eq!(host.post("/v1/queues/misbehave/replay", &json!({"all": true})).await.ok()["replayed"], 4);
    dead(4).await;
    let page = host.get("/v1/queues/misbehave/dead-letters?limit=3").await.ok();
    let rest = host.get(&format!("/v1/queues/misbehave/dead-letters?limit=3&cursor={}", page["next"].as_str().unwrap())).await.ok();
    assert_eq!(rest["dead_letters"].as_array().unwrap().len(), 1, "{rest}");
    let purge = async |selection: Value| {
        let request = host.request(Method::DELETE, "/v1/queues/misbehave/dead-letters").json(&selection);
        host.send(request).await.ok()["purged"].clone()
    };
    assert_eq!(purge(json!({"ids": ["low", "never"]})).await, 1);
    assert_eq!(purge(json!({"matching": {"reason": "expired"}})).await, 0);
    assert_eq!(purge(json!({"matching": {"reason": "rejected", "destination": "misbehave"}})).await, 3);
    dead(0).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_decide_in_order_and_see_amendments() {
    let host = TestHost::start().await;
    let asked = |name: &str, order: i64| {
        let points = vec!["misbehave.decision".to_owned()];
        Package::fixture("misbehave")
            .named(name)
            .with("hooks.decision", "order", order)
            .edit(|m| m["hooks"]["decision"]["points"] = points.into())
    };
    for (name, order) in [("last", 30), ("first", 10), ("middle", 20)] {
        host.installed(&asked(name, order)).await;
    }
    let decide =
        async |subject: &str| host.post("/v1/decisions/misbehave.decision", &json!({"subject": subject, "payload": {"a": 1}})).await.ok();
    let names =
        |answer: &Value| answer["answers"].as_array().unwrap().iter().map(|a| a["plugin"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let amended = decide("echo").await;
    assert_eq!((&amended["verdict"], &amended["payload"]), (&json!("amend"), &json!({"a": 1})), "{amended}");
    assert_eq!(names(&amended), ["first", "middle", "last"]);
    // Bytes that are no JSON are handed on as they are, from one to the next.
    let raw = decide("huge-result:0").await;
    assert_eq!((&raw["verdict"], &raw["payload_base64"]), (&json!("amend"), &json!("")), "{raw}");
    let denied = decide("guest-error-reject").await;
    assert_eq!((&denied["verdict"], names(&denied)), (&json!("deny"), vec!["first".to_owned()]), "the first denial ends it");
    let nobody = host.post("/v1/decisions/nobody.asks", &json!({"subject": "x", "payload": null})).await.ok();
    assert_eq!(nobody, json!({"verdict": "abstain", "answers": []}));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_over_http_is_the_plugins_cache() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    let entry = "/v1/cache/misbehave/own/entries/key";
    let put = async |value: &str, header: &str, tag: &str| {
        let request = host.request(Method::PUT, &format!("{entry}?tags=a,b")).body(value.to_owned());
        host.send(if header.is_empty() { request } else { request.header(header, tag) }).await
    };
    let first = put("one", "if-none-match", "*").await;
    assert_eq!(first.status, 204, "{first}");
    assert_eq!(host.act("misbehave", "cache-get", b"").await.text(), "one");
    put("two", "if-none-match", "*").await.assert_problem(412, "precondition-failed");
    assert_eq!(put("two", "if-match", first.header("etag")).await.status, 204);
    put("three", "if-match", first.header("etag")).await.assert_problem(412, "precondition-failed");
    let read = host.get(entry).await;
    assert_eq!(read.text(), "two");
    let same = host.send(host.request(Method::GET, entry).header("if-none-match", read.header("etag"))).await;
    assert_eq!(same.status, 304);
    let bulk = "/v1/cache/misbehave/own";
    let batch = json!({"set": [{"key": "x", "text": "1"}], "get": ["x", "key", "none"], "delete": ["key"]});
    let answer = host.post(&format!("{bulk}/batch"), &batch).await.ok();
    let found: Vec<_> = answer["entries"].as_array().unwrap().iter().map(|e| e["found"].as_bool().unwrap()).collect();
    assert_eq!((found, &answer["deleted"]), (vec![true, false, false], &json!(1)), "{answer}");
    put("tagged", "", "").await;
    assert_eq!(host.post(&format!("{bulk}/touch"), &json!({"key": "key", "ttl_ms": 60_000})).await.ok(), json!({"touched": true}));
    assert_eq!(host.post(&format!("{bulk}/invalidate"), &json!({"tags": ["b"]})).await.ok(), json!({"invalidated": 1}));
    assert_eq!(host.act("misbehave", "cache-get", b"").await.text(), "");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_records_are_appended_and_found() {
    let host = TestHost::start().await;
    for number in 0..5 {
        let outcome = if number == 3 { json!({"result": "denied", "reason": "no"}) } else { json!({"result": "success"}) };
        let entry = json!({"action": "test.made", "subject": {"kind": "thing", "id": format!("t{}", number % 2)}, "outcome": outcome});
        let receipt = host.post("/v1/audit", &entry).await;
        assert_eq!(receipt.status, 201, "{receipt}");
        let record = host.get(&format!("/v1/audit/{}", receipt.json()["id"].as_str().unwrap())).await.ok();
        assert_eq!((&record["plugin_id"], &record["sequence"]), (&json!("api"), &receipt.json()["sequence"]), "{record}");
    }
    for (conditions, count) in [
        ("action=test", 5),
        ("action=test.made&subject_id=t0", 3),
        ("action=test&outcome=denied", 1),
        ("action=tes", 0),
        ("action=test&plugin=api&subject_kind=thing&subject_id=t1", 2),
        ("action=test&actor=nobody", 0),
    ] {
        assert_eq!(host.audit(conditions).await.len(), count, "{conditions}");
    }
    let page = host.get("/v1/audit?action=test&limit=3").await.ok();
    let rest = host.get(&format!("/v1/audit?action=test&limit=3&cursor={}", page["next"].as_str().unwrap())).await.ok();
    assert_eq!((page["records"].as_array().unwrap().len(), rest["records"].as_array().unwrap().len()), (3, 2));
    host.get("/v1/audit?cursor=forged").await.assert_problem(400, "invalid-input");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_taken_by_prometheus() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    host.act("misbehave", "metric-flood:3", b"").await;
    host.act("misbehave", "trap", b"").await;
    assert_eq!(host.metric("misbehave_samples_total", &[("plugin", "misbehave")]).await, 3.0);
    let answer = host.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"), "{:?}", answer.headers);
    let text = answer.text();
    for name in ["plinth_hook_calls_total", "plinth_live_calls", "plinth_registry_generation", "misbehave_samples_total"] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing");
    }
    assert_eq!(exposition::problems(&text), Vec::<String>::new());
    promtool(&text);
    host.stop().await;
}

/// Prometheus' own judgement, where it is installed; the strict reader has judged already.
fn promtool(text: &str) {
    let child = Command::new("promtool").args(["check", "metrics"]).stdin(std::process::Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("promtool is not installed; the text was read by the strict reader alone");
        return;
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "promtool does not take /metrics");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_lists_every_route() {
    let host = TestHost::start().await;
    let document = host.get("/openapi.json").await.ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/healthz",
        "/startupz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/v1/plugins",
        "/v1/plugins/{plugin}",
        "/v1/plugins/{plugin}/versions",
        "/v1/plugins/{plugin}/rollback",
        "/v1/plugins/{plugin}/swap",
        "/x/{plugin}/{path}",
        "/v1/events",
        "/v1/tasks/{queue}",
        "/v1/queues",
        "/v1/queues/{queue}",
        "/v1/queues/{queue}/dead-letters",
        "/v1/queues/{queue}/replay",
        "/v1/decisions/{point}",
        "/v1/audit",
        "/v1/audit/{id}",
        "/v1/metrics",
        "/v1/cache/{namespace}/{bucket}/entries/{key}",
        "/v1/cache/{namespace}/{bucket}/batch",
        "/v1/cache/{namespace}/{bucket}/touch",
        "/v1/cache/{namespace}/{bucket}/invalidate",
    ] {
        assert!(paths.contains_key(path), "{path} is not in the document");
    }
    // And none in the document is answered as if it were not there.
    for path in paths.keys() {
        let filled = path.split('/').map(|part| if part.starts_with('{') { "a" } else { part }).collect::<Vec<_>>().join("/");
        let answer = Client::new(host.base()).get(&filled).await;
        assert!(answer.status != 404 || answer.code() != "no-such-route", "{path} is documented and not served");
    }
    host.stop().await;
}
