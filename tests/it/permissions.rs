//! What a plugin may do: what was granted to it, and nothing that it claims.

use plinth_tests::{Package, TestHost, eventually};
use reqwest::Method;
use serde_json::{Value, json};

/// Everything the greedy fixture asks for, as an operator reads it.
const ASKED: [&str; 14] = [
    "audit.personal: write of persons",
    "audit.read: query the audit log",
    "audit.write: *",
    "cache.applications: Shared ReadWrite",
    "cache.own: Own ReadWrite",
    "database.scratch: Own ReadWrite",
    "database.ticketing: Shared ReadWrite",
    "log: write log lines",
    "metrics: record samples",
    "queue.again: publish to topic misbehave.event",
    "queue.status-changes: publish to topic ticketing.application.status-changed",
    "queue.tasks: publish to queue misbehave",
    "secrets.keys: use key applicants",
    "secrets.reveal: read secret database-password",
];

fn greedy() -> Package {
    Package::fixture("misbehave-overask").edit(|manifest| drop(manifest.remove("limits")))
}

fn problems(answer: &plinth_tests::Answer) -> Vec<String> {
    let mut problems: Vec<String> = serde_json::from_value(answer.json()["problems"].clone()).unwrap();
    problems.sort();
    problems
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_grant_asked_for_is_named_until_approved() {
    let host = TestHost::start().await;
    let answer = host.install(&greedy().unapproved()).await;
    answer.assert_problem(403, "grants-not-approved");
    assert_eq!(problems(&answer), ASKED);
    host.installed(&greedy()).await;
    // With the grant the very call of the rows below is let through.
    assert_eq!(host.act("misbehave", "others-key", b"").await.status, 200);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_approval_passes_the_operators_list() {
    let config = "[plugins.grants.misbehave.cache.own]\nscope = 'own'\n[plugins.grants.misbehave.log]\nenabled = true\n\
        [plugins.grants.misbehave.cache.applications]\nscope = 'shared'\naccess = 'read-only'";
    let host = TestHost::with(config).await;
    let answer = host.install(&greedy()).await;
    answer.assert_problem(403, "grants-not-approved");
    let listed = ["cache.own: Own ReadWrite", "log: write log lines"];
    let beyond: Vec<&str> = ASKED.into_iter().filter(|grant| !listed.contains(grant)).collect();
    assert_eq!(problems(&answer), beyond);
    // Nor does a plugin that is not on the list get anything.
    host.install(&greedy().named("unlisted")).await.assert_problem(403, "grants-not-approved");
    host.installed(&Package::fixture("healthy")).await;
    host.stop().await;
}

/// What the manifest does not request is not linked, whoever approves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interface_without_a_grant_is_not_linked() {
    let host = TestHost::start().await;
    let rows = [
        ("cache", "plinth:cache/buckets"),
        ("database", "plinth:database/sql"),
        ("queue", "plinth:queue/publisher"),
        ("audit", "plinth:audit/writer"),
        ("metrics", "plinth:metrics/instruments"),
        ("log", "plinth:log/log"),
    ];
    for (grant, interface) in rows {
        let package = Package::fixture("misbehave").edit(|manifest| drop(manifest["grants"].as_table_mut().unwrap().remove(grant)));
        let answer = host.install(&package).await;
        answer.assert_problem(422, "preflight-failed");
        assert!(answer.why().contains(&format!("asks for {interface}, not granted")), "{grant}: {answer}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_others_is_denied_and_unchanged() {
    let host = TestHost::start().await;
    host.installed(&Package::plugin("applications")).await;
    host.installed(&Package::fixture("misbehave")).await;
    let entry = "/v1/cache/shared/applications/entries/application:A-2026-000001";
    let put = host.request(Method::PUT, entry).body("theirs");
    assert_eq!(host.send(put).await.status, 204);
    // As a listener it would see what it publishes under a topic of others.
    host.declare("witness", json!({})).await;
    for (behaviour, code, text) in [
        ("others-key", "cache", "no grant for"),
        ("others-queue", "queue", "no grant for"),
        ("others-table", "database", "no grant for"),
        ("reserved-table", "database", "_plinth"),
        ("others-action", "audit", "no grant for"),
    ] {
        let answer = host.act("misbehave", behaviour, b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (422, code), "{behaviour}: {answer}");
        assert!(answer.text().contains(text), "{behaviour}: {answer}");
    }
    assert_eq!(host.get(entry).await.text(), "theirs");
    assert!(host.audit("action=application").await.is_empty(), "a record of others was written");
    let queues = host.get("/v1/queues").await.ok();
    let full = |queue: &&Value| queue["depth"].as_object().unwrap().values().any(|depth| depth != 0);
    assert_eq!(queues["queues"].as_array().unwrap().iter().find(full), None, "something was published");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_actor_is_not_believed() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    let answer = host.act("misbehave", "forged-actor", b"").await;
    assert_eq!(answer.status, 200, "{answer}");
    let record = host.get(&format!("/v1/audit/{}", answer.text())).await.ok();
    assert_eq!(
        (&record["actor"], &record["plugin_id"], &record["plugin_version"], &record["invocation_id"]),
        (&json!("plugin:misbehave"), &json!("misbehave"), &json!("1.0.0"), &json!(answer.header("plinth-invocation")))
    );
    let served = (json!(answer.header("plinth-digest")), json!(answer.header("plinth-generation").parse::<u64>().unwrap()));
    assert_eq!((&record["plugin_digest"], &record["generation"]), (&served.0, &served.1));
    assert_eq!(record["attributes"]["actor"], "user:admin", "the claim is kept as what it is");
    host.stop().await;
}

/// A plugin that answers each event with the same event comes to an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_hooks_is_bounded() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    host.declare("events/misbehave", json!({"max-attempts": 1})).await;
    host.event("misbehave.event", "first", "republish", &json!(0)).await;
    let dead = eventually("the end of the chain", async || {
        let page = host.get("/v1/queues/events%2Fmisbehave/dead-letters").await.ok();
        page["dead_letters"].as_array().unwrap().first().cloned()
    })
    .await;
    assert!(dead["last_error"].as_str().unwrap().contains("in a chain of hooks; 8 is the limit"), "{dead}");
    assert_eq!(dead["text"], "8", "the last turn");
    let handled = host.metric("plinth_hook_calls_total", &[("plugin", "misbehave"), ("hook", "event-listener"), ("outcome", "ok")]).await;
    assert_eq!(handled, 8.0);
    host.stop().await;
}
