//! The host's doors while something behind them is slow: a start, a stop, a change, a body that was refused.

use plinth_tests::{Client, Gate, HostProcess, Package, TestHost, eventually, seeded};
use rand::{Rng, rngs::StdRng};
use reqwest::Method;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Touches its database when it is activated, and so can be held there.
fn held(version: &str) -> Package {
    // The probe's own limit is the shorter one then.
    Package::plugin("applications").versioned(version).marked(version).with("limits", "wall-ms", 30_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starting_host_answers_and_says_so() {
    let gate = Arc::new(Gate::at("database"));
    let host = TestHost::behind(&gate).await;
    host.installed(&held("1.0.0")).await;
    host.installed(&Package::fixture("misbehave")).await;
    let before = host.get("/v1/plugins").await.ok();
    gate.close();
    let mut host = host.restarting(|_| {}).await;
    eventually("a plugin that is being brought back", async || (gate.waiting() == 1).then_some(())).await;
    host.assert_alive().await;
    let started = host.get("/startupz").await;
    started.assert_problem(503, "starting");
    assert!(started.why().contains("0 of 2 plugins are back"), "{started}");
    let ready = host.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["phase"]), (503, &json!("starting")), "{ready}");
    for answer in [
        host.act("misbehave", "echo", b"").await,
        host.get("/v1/plugins").await,
        host.install(&Package::fixture("healthy")).await,
        host.delete("/v1/plugins/misbehave").await,
        host.get("/nowhere").await,
    ] {
        answer.assert_problem(503, "starting");
        assert!(!answer.header("retry-after").is_empty(), "{:?}", answer.headers);
    }
    assert!(host.get("/metrics").await.text().contains("plinth_registry_generation"));
    let early = host.running.runtime.remove(&serde_json::from_value(json!("misbehave")).unwrap()).await.unwrap_err();
    assert_eq!(early.code(), "loader-unavailable", "nothing is changed that is not back yet");
    gate.open();
    host.ready().await;
    for probe in ["/startupz", "/readyz"] {
        assert_eq!(host.get(probe).await.status, 200);
    }
    assert_eq!(host.act("misbehave", "echo", b"back").await.text(), "back");
    assert_eq!(host.get("/v1/plugins").await.ok(), before);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starting_host_can_be_stopped() {
    let gate = Arc::new(Gate::at("database"));
    let host = TestHost::behind(&gate).await;
    host.installed(&held("1.0.0")).await;
    let before = host.get("/v1/plugins").await.ok();
    gate.close();
    let host = host.restarting(|_| {}).await;
    eventually("a plugin that is being brought back", async || (gate.waiting() == 1).then_some(())).await;
    // Stops and starts again: what was not brought back is still installed.
    let mut host = host.restarting(|_| gate.open()).await;
    host.ready().await;
    assert_eq!(host.get("/v1/plugins").await.ok(), before);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_stops_a_starting_host_within_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(folder.path(), &[]).await;
    host.installed(&Package::fixture("misbehave")).await;
    let patient = |package: Package| package.with("limits", "cpu-ms", 30_000).with("limits", "wall-ms", 30_000);
    host.installed(&patient(Package::fixture("misbehave-slow-start"))).await;
    host.stop().await;
    let host = HostProcess::starting(folder.path(), &[]).await;
    host.get("/startupz").await.assert_problem(503, "starting");
    let took = host.stop().await;
    // The plugin would go on for ten seconds, the host may for fifteen.
    assert!(took < Duration::from_secs(8), "after {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_candidate_holds_up_no_other_plugin() {
    let gate = Arc::new(Gate::at("database"));
    let host = TestHost::behind(&gate).await;
    let [first, second] = ["1.0.0", "2.0.0"].map(|version| Package::fixture("misbehave").marked(version).versioned(version));
    // Compiled while nobody waits at the gate.
    host.installed(&first).await;
    host.installed(&second).await;
    gate.close();
    let (client, mut slow) = ((*host).clone(), JoinSet::new());
    slow.spawn(async move { client.install(&held("1.0.0")).await });
    eventually("a candidate that is being activated", async || (gate.waiting() == 1).then_some(())).await;
    let swapped = host.installed(&first).await;
    let back = host.post("/v1/plugins/misbehave/rollback", &json!({})).await.ok();
    let removed = host.delete("/v1/plugins/misbehave").await.ok();
    assert_eq!(gate.waiting(), 1, "the slow one was to be in progress all the while");
    assert!(slow.try_join_next().is_none());
    gate.open();
    let change = slow.join_next().await.unwrap().unwrap().ok();
    let generations = [&swapped, &back, &removed, &change].map(|change| change["generation"].as_u64().unwrap());
    assert_eq!(generations, [3, 4, 5, 6], "in the order in which they were published");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_one_plugin_follow_each_other() {
    let gate = Arc::new(Gate::at("database"));
    let host = TestHost::behind(&gate).await;
    let versions = ["1.0.0", "2.0.0", "3.0.0"];
    // Compiled once each, so that they come to their turn at the same time.
    host.installed(&Package::fixture("misbehave")).await;
    for version in versions {
        host.installed(&held(version)).await;
    }
    gate.close();
    let mut changes = JoinSet::new();
    for version in versions {
        let client = (*host).clone();
        changes.spawn(async move { client.install(&held(version)).await.ok() });
    }
    eventually("a candidate that is being activated", async || (gate.waiting() == 1).then_some(())).await;
    for _ in versions {
        host.installed(&Package::fixture("misbehave")).await;
    }
    assert_eq!(gate.waiting(), 1);
    gate.open();
    let mut done = changes.join_all().await;
    done.sort_by_key(|change| change["generation"].as_u64());
    assert_eq!(host.slot("applications").await["version"], done[2]["version"], "the last one answers");
    for (one, next) in [(0, 1), (1, 2)] {
        assert_eq!(done[next]["replaced"], done[one]["version"], "each saw the one before");
    }
    assert_eq!(gate.most(), 1, "two candidates of one plugin were activated at once");
    host.stop().await;
}

/// One client's changes of one plugin, at random; the generations it was told.
async fn churn(client: Client, plugin: &'static str, mut random: StdRng) -> Vec<u64> {
    const CHANGES: usize = 12;
    let path = format!("/v1/plugins/{plugin}");
    let package = |version: &str| Package::fixture("misbehave").named(plugin).marked(version).versioned(version);
    let mut generations = Vec::new();
    for _ in 0..CHANGES {
        let answer = match random.random_range(0..6) {
            0 | 1 => client.install(&package("1.0.0")).await,
            2 | 3 => client.install(&package("2.0.0")).await,
            4 => client.post(&format!("{path}/rollback"), &json!({})).await,
            _ => client.delete(&path).await,
        };
        match answer.status {
            200 | 201 => generations.extend(answer.json()["generation"].as_u64()),
            // Somebody else has removed it.
            _ => assert!(["no-such-plugin", "no-previous-version"].contains(&answer.code().as_str()), "{answer}"),
        }
    }
    assert!(generations.is_sorted(), "{generations:?}");
    generations
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changes_at_once_leave_what_is_stored_and_count_one_by_one() {
    let host = TestHost::start().await;
    let (mut seen, stop) = (host.running.runtime.changes(), CancellationToken::new());
    let mut watching = JoinSet::new();
    let until = stop.clone();
    watching.spawn(async move {
        let mut published = vec![*seen.borrow_and_update()];
        while let Some(Ok(())) = until.run_until_cancelled(seen.changed()).await {
            published.push(*seen.borrow_and_update());
        }
        published
    });
    let mut clients = JoinSet::new();
    for (number, plugin) in (0..).zip(["one", "two", "three", "four"].into_iter().cycle().take(12)) {
        clients.spawn(churn((*host).clone(), plugin, seeded(plugin, number)));
    }
    let mut generations: Vec<u64> = clients.join_all().await.concat();
    generations.sort_unstable();
    let last = host.running.runtime.generation();
    assert_eq!(generations, (1..=last).collect::<Vec<_>>(), "each change has its own generation, and none is missing");
    stop.cancel();
    let published = watching.join_next().await.unwrap().unwrap();
    assert!(published.is_sorted_by(|a, b| a < b), "{published:?}");
    let recorded = host.audit("action=host.plugin&outcome=success").await.len();
    assert_eq!(recorded as u64, last, "each change is recorded");
    let before = host.get("/v1/plugins").await.ok();
    let host = host.restart().await;
    assert_eq!(host.get("/v1/plugins").await.ok(), before, "what answers is what is stored");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_too_large_is_always_answered() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    for round in 0..30 {
        for path in ["/v1/audit", "/x/misbehave/echo"] {
            let body = vec![b' '; (2 + round % 3) << 20];
            let request = host.request(Method::POST, path).header("content-type", "application/json").body(body);
            host.send(request).await.assert_problem(413, "body-too-large");
        }
    }
    host.stop().await;
}
