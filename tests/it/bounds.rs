//! What bounds one plugin for the good of all: shares, limits of the operator, what a refusal leaves behind.

use plinth_tests::{Neighbour, Package, TestHost, eventually};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

fn misbehave() -> Package {
    Package::fixture("misbehave")
}

/// What the operator says of queues holds for those that plugins take from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_as_the_operator_set_them() {
    let config = "[queue]\nbackend = 'embedded'\n[queues.settings]\nmax-attempts = 2\nbackoff-ms = 1\n[queues.named]\nmisbehave = { max-attempts = 3 }";
    let host = TestHost::with(config).await;
    host.installed(&misbehave()).await;
    let host = host.restart().await;
    let event = host.event("misbehave.event", "1", "trap", &json!({})).await;
    let task = json!({"payload": 1, "routing_key": "trap", "message_id": "task-1"});
    assert_eq!(host.post("/v1/tasks/misbehave", &task).await.status, 202);
    for (queue, id, attempts) in [("events/misbehave", event.as_str(), 2), ("misbehave", "task-1", 3)] {
        let dead = host.dead_letter(queue, id).await;
        assert_eq!((&dead["reason"], &dead["attempts"]), (&json!("attempts-exhausted"), &json!(attempts)), "{queue}: {dead}");
    }
    host.stop().await;
}

/// How many run at once, how many more wait and how long: what the manifest
/// says, and what becomes of calls that come while so many run.
struct Line {
    concurrency: u32,
    waiting: u32,
    wait_ms: u32,
    /// Of calls beyond those that run.
    answered: usize,
    refused: usize,
    why: &'static str,
    retry_after: &'static str,
}

const LINES: &[Line] = &[
    Line { concurrency: 1, waiting: 0, wait_ms: 1_000, answered: 0, refused: 3, why: "is full", retry_after: "1" },
    Line { concurrency: 1, waiting: 2, wait_ms: 20_000, answered: 2, refused: 3, why: "is full", retry_after: "20" },
    Line { concurrency: 3, waiting: 1, wait_ms: 20_000, answered: 1, refused: 2, why: "is full", retry_after: "20" },
    Line { concurrency: 1, waiting: 5, wait_ms: 200, answered: 0, refused: 3, why: "did not move in time", retry_after: "1" },
];

/// For how long all places are taken.
const HELD_MS: &str = "1800";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifest_bounds_who_runs_and_who_waits() {
    let host = TestHost::start().await;
    let neighbour = Neighbour::start(&host, 50).await;
    // Side by side: each plugin has a line of its own.
    futures::future::join_all(LINES.iter().enumerate().map(|(number, line)| stand_in(&host, format!("line-{number}"), line))).await;
    neighbour.stop().await.assert_unharmed();
    host.stop().await;
}

async fn stand_in(host: &TestHost, name: String, line: &Line) {
    let package = misbehave().named(&name).with("limits", "wall-ms", 30_000).with("limits", "concurrency", line.concurrency);
    host.installed(&package.with("limits", "waiting", line.waiting).with("limits", "wait-ms", line.wait_ms)).await;
    let hold = || host.request(Method::POST, &format!("/x/{name}/long-statement")).header("plinth-timeout-ms", HELD_MS);
    let held: JoinSet<_> = (0..line.concurrency)
        .map(|_| {
            let (client, request) = ((**host).clone(), hold());
            async move { client.send(request).await.code() }
        })
        .collect();
    let live = async || host.metric("plinth_live_calls", &[("plugin", &name)]).await;
    eventually("every place is taken", async || (live().await >= f64::from(line.concurrency)).then_some(())).await;
    let calls = (0..line.answered + line.refused).map(|_| host.act(&name, "echo", b"in line"));
    let (answered, refused): (Vec<_>, Vec<_>) = futures::future::join_all(calls).await.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((answered.len(), refused.len()), (line.answered, line.refused), "{name}: {:?}", refused.first().map(ToString::to_string));
    for answer in refused {
        answer.assert_problem(503, "unavailable");
        assert!(answer.why().contains(line.why), "{name}: {answer}");
        assert_eq!(answer.header("retry-after"), line.retry_after, "{name}: {answer}");
    }
    assert!(held.join_all().await.iter().all(|code| code == "deadline"), "{name}: a place was not taken");
    let labels = [("plugin", name.as_str()), ("outcome", "unavailable")];
    assert_eq!(host.metric("plinth_hook_calls_total", &labels).await, line.refused as f64, "{name}");
}

/// Lines of /metrics that name this plugin version.
async fn series(host: &TestHost, version: &str) -> usize {
    let text = host.get("/metrics").await.text();
    text.lines().filter(|line| line.contains(&format!("plugin_version=\"{version}\""))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_plugin_never_takes_every_instance() {
    let host = TestHost::with("[engine]\ninstances = 8").await;
    let greedy = misbehave().with("limits", "concurrency", 100).with("limits", "wall-ms", 10_000).with("limits", "cpu-ms", 5_000);
    let change = host.installed(&greedy).await;
    assert!(change["notices"].to_string().contains("limits.concurrency is 2 here"), "{change}");
    assert_eq!(host.slot("misbehave").await["limits"]["concurrency"], 2);
    host.installed(&Neighbour::package()).await;
    let mut flood = JoinSet::new();
    for _ in 0..20 {
        let client = (*host).clone();
        flood.spawn(async move { client.act("misbehave", "infinite-loop", b"").await.status });
    }
    eventually("a flood that runs", async || (host.metric("plinth_live_calls", &[("plugin", "misbehave")]).await >= 2.0).then_some(()))
        .await;
    for _ in 0..20 {
        Neighbour::shot(&host)(0).await.unwrap();
    }
    flood.abort_all();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_guests_share_one_budget_of_memory() {
    let host = TestHost::with("[engine]\ntotal-memory-bytes = 8388608").await;
    host.installed(&misbehave()).await;
    let bomb = host.act("misbehave", "memory-bomb", b"").await;
    bomb.assert_problem(503, "limit");
    assert!(bomb.why().contains("more memory than the host has for all plugins"), "{bomb}");
    assert_eq!(host.act("misbehave", "ok", b"").await.status, 200);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_limits_cannot_be_exceeded() {
    let host = TestHost::with("[plugins.limits-max]\nwall-ms = 3000").await;
    let answer = host.install(&misbehave().with("limits", "wall-ms", 3_001)).await;
    answer.assert_problem(422, "manifest-invalid");
    assert!(answer.why().contains("limits.wall-ms = 3001 is over what this host allows, 3000"), "{answer}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_candidate_and_a_dry_run_leave_no_series() {
    let host = TestHost::start().await;
    host.installed(&misbehave()).await;
    assert!(series(&host, "1.0.0").await > 0);
    let sick = Package::fixture("sick").named("misbehave").versioned("2.0.0");
    assert_ne!(host.install(&sick).await.status, 200);
    assert_eq!(series(&host, "2.0.0").await, 0);
    assert_eq!(host.upload(&misbehave().versioned("3.0.0"), "&dry_run=true").await.status, 200);
    assert_eq!(series(&host, "3.0.0").await, 0);
    assert!(series(&host, "1.0.0").await > 0, "the version that runs kept its own");
    host.delete("/v1/plugins/misbehave").await.ok();
    eventually("no series of a removed plugin", async || {
        let text = host.get("/metrics").await.text();
        (!text.lines().any(|line| line.contains("plugin=\"misbehave\""))).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_calls_use_cpu_too() {
    let host = TestHost::start().await;
    host.installed(&misbehave()).await;
    for _ in 0..100 {
        assert_eq!(host.act("misbehave", "ok", b"").await.status, 200);
    }
    let cpu = host.metric("plinth_guest_cpu_seconds_total", &[("plugin", "misbehave")]).await;
    assert!(cpu > 0.0 && cpu < 10.0, "{cpu}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_manifest_does_not_bind_is_denied() {
    let host = TestHost::start().await;
    host.installed(&misbehave().edit(|manifest| {
        let get_only = toml::from_str("methods = ['GET']").unwrap();
        manifest["hooks"].as_table_mut().unwrap().insert("http".into(), toml::Value::Table(get_only));
    }))
    .await;
    assert_eq!(host.send(host.request(Method::GET, "/x/misbehave/ok")).await.status, 200);
    let denied = host.send(host.request(Method::POST, "/x/misbehave/ok")).await;
    denied.assert_problem(403, "denied");
    assert!(denied.why().contains("binds no method `POST`"), "{denied}");
    assert_eq!(host.metric("plinth_hook_calls_total", &[("plugin", "misbehave"), ("outcome", "denied")]).await, 1.0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_swaps_to_one_version_end_on_it() {
    let host = TestHost::start().await;
    host.installed(&misbehave()).await;
    host.installed(&misbehave().marked("second").versioned("2.0.0")).await;
    for round in 0..20 {
        let wanted = ["1.0.0", "2.0.0"][round % 2];
        let mut swaps = JoinSet::new();
        for _ in 0..3 {
            let client = (*host).clone();
            swaps.spawn(async move { client.post("/v1/plugins/misbehave/swap", &json!({ "version": wanted })).await.ok() });
        }
        for change in swaps.join_all().await {
            assert_eq!(change["version"], wanted, "{change}");
        }
        assert_eq!(host.slot("misbehave").await["version"], wanted);
    }
    host.stop().await;
}
