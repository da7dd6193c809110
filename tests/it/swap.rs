//! Versions change while traffic flows: swap, roll back, quarantine, remove, restart.

use plinth_tests::{Answer, Load, Neighbour, Package, TestHost, eventually, load::Shot};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const SWAPS: usize = 50;

fn first() -> Package {
    Package::fixture("misbehave")
}

fn second() -> Package {
    Package::fixture("misbehave").marked("second").versioned("2.0.0")
}

/// Swaps that have begun and swaps that were answered, as a request sees them.
#[derive(Default)]
struct Swaps {
    begun: AtomicUsize,
    done: AtomicUsize,
}

/// Each answer is of one version, and of the new one if it began after the swap.
fn checked(host: &TestHost, swaps: &Arc<Swaps>, digests: &[String; 2]) -> Shot {
    let (client, swaps, digests) = ((**host).clone(), swaps.clone(), digests.clone());
    Arc::new(move |number| {
        let (client, swaps, digests) = (client.clone(), swaps.clone(), digests.clone());
        Box::pin(async move {
            let body = format!("call {number}");
            let done = swaps.done.load(Ordering::SeqCst);
            let request = client.request(Method::POST, "/x/misbehave/echo").body(body.clone());
            let answer: Answer = client.try_send(request).await.map_err(|e| format!("{e:?}"))?;
            let begun = swaps.begun.load(Ordering::SeqCst);
            let version = ["1.0.0", "2.0.0"].iter().position(|version| *version == answer.header("plinth-version"));
            let digest = digests.iter().position(|digest| *digest == answer.header("plinth-digest"));
            match (version, digest) {
                _ if answer.status != 200 || answer.text() != body => Err(format!("{answer}")),
                (Some(version), Some(digest)) if version != digest => Err("a version under another's digest".to_owned()),
                (Some(version), Some(_)) if begun == done && version != done % 2 => Err(format!("old version after swap {done}")),
                (Some(_), Some(_)) => Ok(()),
                _ => Err(format!("names no version: {:?}", answer.headers)),
            }
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_swaps_lose_no_request_and_mix_no_versions() {
    let host = TestHost::start().await;
    let neighbour: Load = Neighbour::start(&host, 50).await;
    let packages = [first(), second()];
    // Seen once each, so that every swap is one of compiled code.
    let (two, one) = (host.installed(&packages[1]).await, host.installed(&packages[0]).await);
    let digests = [&one, &two].map(|change| change["digest"].as_str().unwrap().to_owned());
    let others = host.slot(Neighbour::NAME).await["generation"].clone();
    let swaps = Arc::new(Swaps::default());
    let load = Load::start(150, checked(&host, &swaps, &digests));
    let before = one["generation"].as_u64().unwrap();
    for number in 1..=SWAPS {
        swaps.begun.store(number, Ordering::SeqCst);
        let change = match number % 5 {
            0 => host.post("/v1/plugins/misbehave/rollback", &json!({})).await.ok(),
            1 => host.post("/v1/plugins/misbehave/swap", &json!({"digest": digests[number % 2]})).await.ok(),
            _ => host.installed(&packages[number % 2]).await,
        };
        swaps.done.store(number, Ordering::SeqCst);
        assert_eq!(change["digest"], digests[number % 2]);
        assert_eq!(change["generation"], before + number as u64);
    }
    load.stop().await.assert_unharmed();
    neighbour.stop().await.assert_unharmed();
    assert_eq!(host.slot(Neighbour::NAME).await["generation"], others, "a slot that nobody changed has moved");
    eventually("no call lives on any version", async || {
        let live = host.metric("plinth_live_calls", &[("plugin", "misbehave")]).await;
        (live == 0.0).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_on_the_version_it_began_on() {
    let host = TestHost::start().await;
    let patient =
        |package: Package| package.with("limits", "wall-ms", 30_000).with("limits", "cpu-ms", 20_000).with("limits", "host-calls", 100_000);
    let one = host.installed(&patient(first())).await;
    let live = async || host.metric("plinth_live_calls", &[("plugin", "misbehave"), ("digest", one["digest"].as_str().unwrap())]).await;
    let client = (*host).clone();
    let mut long = std::pin::pin!(client.act("misbehave", "slow:1500", b""));
    let running = eventually("the long call runs", async || (live().await == 1.0).then_some(()));
    tokio::select! {
        answer = &mut long => panic!("ended before it was seen: {answer}"),
        () = running => {}
    }
    host.installed(&patient(second())).await;
    assert_eq!(host.act("misbehave", "echo", b"new").await.header("plinth-version"), "2.0.0");
    let answer = long.await;
    assert_eq!((answer.status, answer.header("plinth-version")), (200, "1.0.0"), "{answer}");
    eventually("the old version is empty", async || (live().await == 0.0).then_some(())).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_back_and_removing() {
    let host = TestHost::start().await;
    host.post("/v1/plugins/misbehave/rollback", &json!({})).await.assert_problem(404, "no-such-plugin");
    host.installed(&first()).await;
    host.post("/v1/plugins/misbehave/rollback", &json!({})).await.assert_problem(409, "no-previous-version");
    host.installed(&second()).await;
    let back = host.post("/v1/plugins/misbehave/rollback", &json!({})).await.ok();
    assert_eq!((&back["version"], &back["replaced"], &back["compile_cached"]), (&json!("1.0.0"), &json!("2.0.0"), &json!(true)));
    host.post("/v1/plugins/misbehave/swap", &json!({"version": "7.0.0"})).await.assert_problem(404, "no-such-version");
    assert_eq!(host.post("/v1/plugins/misbehave/swap", &json!({"version": "2.0.0"})).await.ok()["version"], "2.0.0");
    host.delete("/v1/plugins/misbehave").await.ok();
    host.get("/x/misbehave/echo").await.assert_problem(404, "no-such-plugin");
    host.delete("/v1/plugins/misbehave").await.assert_problem(404, "no-such-plugin");
    host.stop().await;
}

/// Five traps of the newest version.
async fn break_it(host: &TestHost, plugin: &str, state: &str) -> Value {
    for _ in 0..5 {
        host.act(plugin, "trap", b"").await.assert_problem(502, "trap");
    }
    eventually(&format!("{plugin} is {state}"), async || {
        let slot = host.slot(plugin).await;
        (slot["state"] == state).then_some(slot)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_traps_bring_the_previous_version_back() {
    let host = TestHost::start().await;
    host.installed(&first()).await;
    let bad = host.installed(&second()).await;
    let slot = break_it(&host, "misbehave", "fell-back").await;
    assert_eq!(slot["version"], "1.0.0");
    assert!(slot["reason"].as_str().unwrap().contains("quarantined after repeated traps"), "{slot}");
    assert_eq!(host.act("misbehave", "echo", b"well").await.header("plinth-version"), "1.0.0");
    let ready = host.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["degraded"]), (200, &json!(true)), "{ready}");
    assert_eq!(ready.json()["slots"][0]["plugin"], "misbehave", "{ready}");
    assert!(ready.text().contains(bad["digest"].as_str().unwrap()), "readyz does not say which: {ready}");
    host.install(&second()).await.assert_problem(409, "quarantined");
    let host = host.restart().await;
    host.install(&second()).await.assert_problem(409, "quarantined");
    assert_eq!(host.act("misbehave", "echo", b"well").await.header("plinth-version"), "1.0.0");
    host.installed(&second().marked("mended").versioned("2.0.1")).await;
    assert_eq!(host.slot("misbehave").await["state"], "live");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_previous_version_the_declared_default_answers() {
    let host = TestHost::start().await;
    let neighbour: Load = Neighbour::start(&host, 50).await;
    host.installed(&first()).await;
    host.installed(&first().named("lenient").marked("lenient").with("hooks.decision", "on-failure", "open")).await;
    break_it(&host, "lenient", "degraded").await;
    break_it(&host, "misbehave", "degraded").await;
    assert_defaults(&host).await;
    neighbour.stop().await.assert_unharmed();
    // A restart does not give it five more traps.
    let host = host.restart().await;
    assert_defaults(&host).await;
    host.stop().await;
}

async fn assert_defaults(host: &TestHost) {
    let answer = host.act("misbehave", "echo", b"").await;
    answer.assert_problem(503, "unavailable");
    assert!(!answer.header("retry-after").is_empty() && answer.why().contains("degraded"), "{answer}");
    let decision = host.post("/v1/decisions/misbehave.decision", &json!({"subject": "ok", "payload": {}})).await.ok();
    assert_eq!((&decision["verdict"], &decision["reason"]["code"]), (&json!("deny"), &json!("decision.unavailable")), "{decision}");
    let lenient = host.post("/v1/decisions/lenient.decision", &json!({"subject": "ok", "payload": {}})).await.ok();
    assert_eq!(lenient["verdict"], "abstain", "{lenient}");
    let ready = host.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["degraded"]), (200, &json!(true)), "{ready}");
    let slots = ready.json()["slots"].clone();
    let broken = slots.as_array().unwrap().iter().find(|slot| slot["plugin"] == "misbehave").unwrap().clone();
    assert_eq!(broken["state"], "degraded", "{ready}");
    assert!(broken["reason"].as_str().unwrap().contains("quarantined"), "{ready}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_brings_everything_back() {
    let host = TestHost::start().await;
    host.installed(&Package::plugin("applications")).await;
    host.installed(&first()).await;
    host.installed(&second()).await;
    host.installed(&Neighbour::package()).await;
    host.delete("/v1/plugins/neighbour").await.ok();
    let before = host.get("/v1/plugins").await.ok();
    let host = host.restart().await;
    assert_eq!(host.get("/v1/plugins").await.ok(), before, "slots, versions and generations");
    assert_eq!(host.act("misbehave", "echo", b"").await.header("plinth-version"), "2.0.0");
    let back = host.post("/v1/plugins/misbehave/rollback", &json!({})).await.ok();
    assert_eq!(back["version"], "1.0.0");
    assert_eq!(back["generation"].as_u64(), before["generation"].as_u64().map(|g| g + 1));
    host.stop().await;
}
