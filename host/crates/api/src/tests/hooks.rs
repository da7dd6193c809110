//! The whole router over a runtime without plugins: what is decided before a plugin is asked.

use super::{Host, doubles::Doubles, request};
use crate::{
    config::ApiConfig,
    readiness::{HostPhase, Readiness},
    router::{Api, router},
};
use axum::body::Body;
use bytes::Bytes;
use plinth_runtime::{CompilerConfig, EngineConfig, GrantPolicy, Parts, QueuesConfig, Runtime, RuntimeConfig};
use serde_json::json;
use std::time::Duration;
use tokio_util::task::TaskTracker;

async fn host(config: ApiConfig) -> Host {
    let (doubles, readiness) = (Doubles::default(), Readiness::new());
    let code = tempfile::tempdir().unwrap();
    let runtime = RuntimeConfig {
        engine: EngineConfig { instances: 2, ..EngineConfig::default() },
        compiler: CompilerConfig::new("/nowhere".into()),
        code_dir: code.path().to_owned(),
        host_key: [7; 32],
        component_max_bytes: 1 << 20,
        limits_max: plinth_runtime::limits::Limits::ceiling(),
        grants: GrantPolicy::Approved,
        queues: QueuesConfig::default(),
        guest_threads: 1,
        waiting: 1,
        wait: Duration::from_millis(1),
        drain_deadline: Duration::from_secs(1),
        faults: None,
    };
    let parts = Parts { capabilities: doubles.capabilities(), state: doubles.state(), fleet: None };
    let runtime = Runtime::start(runtime, parts).await.unwrap();
    let (capabilities, state, tasks) = (doubles.capabilities(), doubles.state(), TaskTracker::new());
    readiness.set(HostPhase::Ready);
    let router = router(Api { runtime, capabilities, state, readiness: readiness.clone(), tasks, config });
    Host { router, doubles, readiness }
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_not_an_outage() {
    let host = host(ApiConfig::default()).await;
    for uri in ["/x/desk", "/x/desk/", "/x/desk/a/b?c=d"] {
        let reply = host.get(uri).await;
        reply.problem(404, "no-such-plugin");
        assert!(reply.headers.contains_key("plinth-invocation") && !reply.headers.contains_key("plinth-version"));
    }
    host.get("/x/Desk/a").await.problem(400, "invalid-input");
    host.get("/x").await.problem(404, "no-such-route");
    for uri in ["/v1/plugins/desk", "/v1/plugins/desk/versions"] {
        host.get(uri).await.problem(404, "no-such-plugin");
    }
    host.send(request("DELETE", "/v1/plugins/desk", &[], "")).await.problem(404, "no-such-plugin");
    host.post("/v1/plugins/desk/rollback", json!(null)).await.problem(404, "no-such-plugin");
    host.post("/v1/plugins/desk/swap", json!({"version": "1", "digest": "2"})).await.problem(400, "bad-body");
    assert_eq!(host.get("/v1/plugins").await.json(), json!({"generation": 0, "plugins": []}));
}

#[tokio::test]
async fn plugin_routes_have_the_same_door() {
    let host = host(ApiConfig::default()).await;
    host.send(request("GET", "/x/desk", &[("host", "evil.example")], "")).await.problem(421, "foreign-host");
    host.send(request("POST", "/x/desk", &[("origin", "http://evil.example")], "")).await.problem(403, "cross-site");
    host.send(request("GET", "/x/desk", &[("plinth-timeout-ms", "soon")], "")).await.problem(400, "bad-header");
}

#[tokio::test(start_paused = true)]
async fn a_body_for_a_plugin_is_bounded_in_size_and_time() {
    let host = host(ApiConfig { body_bytes: 64, ..ApiConfig::default() }).await;
    let send = async |headers: &[(&str, &str)], body| host.send(request("POST", "/x/desk/a", headers, body)).await;
    send(&[("content-length", "65")], Body::from("x".repeat(65))).await.problem(413, "body-too-large");
    let chunks = (0..65).map(|_| Ok::<_, std::io::Error>("x"));
    send(&[], Body::from_stream(futures::stream::iter(chunks))).await.problem(413, "body-too-large");
    send(&[], Body::from("x".repeat(64))).await.problem(404, "no-such-plugin");
    let broken = futures::stream::iter([Ok(Bytes::from_static(b"x")), Err(std::io::Error::other("canary"))]);
    let problem = send(&[], Body::from_stream(broken)).await.problem(400, "bad-body");
    assert!(!problem.detail.contains("canary"));
    let stalled = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    send(&[], Body::from_stream(stalled)).await.problem(408, "body-timeout");
}

#[tokio::test]
async fn an_upload_must_have_its_parts() {
    let host = host(ApiConfig { body_bytes: 64, component_bytes: 4_096, ..ApiConfig::default() }).await;
    let part = |name: &str, text: &str| format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    let upload = async |parts: &[String]| {
        let body = parts.concat() + "--b--\r\n";
        host.send(request("POST", "/v1/plugins", &[("content-type", "multipart/form-data; boundary=b")], body)).await
    };
    let manifest = || part("manifest", "name = 7");
    let detail = async |parts: &[String]| upload(parts).await.problem(400, "bad-body").detail;
    assert_eq!(detail(&[manifest()]).await, "the part `component` is missing");
    assert_eq!(detail(&[part("component", "x")]).await, "the part `manifest` is missing");
    assert_eq!(detail(&[manifest(), manifest()]).await, "the part `manifest` comes twice");
    assert_eq!(detail(&[part("other", "x")]).await, "there is no part named `other`");
    assert!(detail(&[manifest(), part("component", "x"), part("config", "{")]).await.contains("`config` is not JSON"));
    let refused = upload(&[manifest(), part("component", &"x".repeat(100))]).await.problem(422, "manifest-invalid");
    assert!(!refused.problems.is_empty());
    upload(&[manifest(), part("component", &"x".repeat(5_000))]).await.problem(413, "body-too-large");
    host.post("/v1/plugins", json!({})).await.problem(400, "bad-body");
    host.send(request("POST", "/v1/plugins?aprove_grants=true", &[], "")).await.problem(400, "bad-query");
}

#[tokio::test]
async fn a_question_nobody_answers_is_an_abstention() {
    let host = host(ApiConfig::default()).await;
    let question = json!({"subject": "A-1", "payload": {"a": 1}, "attributes": {"tenant": "red"}});
    assert_eq!(host.post("/v1/decisions/desk.open", question.clone()).await.json(), json!({"verdict": "abstain", "answers": []}));
    host.post("/v1/decisions/not%20a%20point", question).await.problem(400, "invalid-input");
    host.post("/v1/decisions/desk.open", json!({"subject": "A-1"})).await.problem(400, "bad-body");
    host.post("/v1/decisions/desk.open", json!({"subject": "s".repeat(600), "payload": 1})).await.problem(400, "bad-body");
}
