//! The host's doors while something behind them is slow: a start, a stop, a change, a body that was refused.

use plinth_tests::{Gate, HostProcess, Package, TestHost, eventually};
use serde_json::json;
use std::{sync::Arc, time::Duration};

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
