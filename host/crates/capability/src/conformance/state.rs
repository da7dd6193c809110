//! The host state's suite: one case per bullet of the contract of [`HostState`].
#![expect(clippy::unwrap_used, reason = "a case fails by panicking")]

use super::eventually;
use crate::{
    name::PluginName,
    now_ms,
    state::{HostState, RUNS_KEPT, StoredSlot, StoredVersion},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// A host's state, alone in its storage, that can lose its process.
#[async_trait]
pub trait StateFixture: Send + Sync {
    fn state(&self) -> Arc<dyn HostState>;
    /// As if the process was killed now and started again over what it had
    /// stored; [`StateFixture::state`] answers the new one afterwards.
    async fn reopen(&mut self);
}

/// Makes the tests of one backend: `$make` is an async expression that yields a [`StateFixture`].
#[macro_export]
macro_rules! state_conformance {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::state, $make;
            slots_come_back,
            generation_never_goes_back,
            components_come_back,
            unreferenced_components_are_forgotten,
            a_run_is_claimed_once,
            old_runs_are_forgotten,
            last_success_is_kept,
        }
    };
}

fn plugin(name: &str) -> PluginName {
    PluginName::new(name).unwrap()
}

fn version(number: &str) -> StoredVersion {
    StoredVersion {
        version: number.to_owned(),
        digest: format!("sha256:{}", "0f".repeat(32)),
        manifest: "name = \"ä\"\n".to_owned(),
        config: "{\"limit\": 3}".to_owned(),
        grants: "[]".to_owned(),
        installed_at_ms: 1_700_000_000_000,
    }
}

fn slot(name: &str, generation: u64) -> StoredSlot {
    StoredSlot { plugin: plugin(name), generation, active: version("1.0.0"), previous: None, quarantined: Vec::new() }
}

pub async fn slots_come_back(mut fixture: impl StateFixture) {
    let state = fixture.state();
    assert_eq!(state.slots().await.unwrap(), []);
    let changed = StoredSlot {
        active: version("2.0.0"),
        previous: Some(version("1.0.0")),
        quarantined: vec!["sha256:b".to_owned(), "sha256:a".to_owned()],
        ..slot("beta", 3)
    };
    for slot in [slot("beta", 1), slot("alpha", 2), changed.clone()] {
        state.save_slot(&slot).await.unwrap();
    }
    drop(state);
    fixture.reopen().await;
    let state = fixture.state();
    let mut slots = state.slots().await.unwrap();
    slots.sort_by(|a, b| a.plugin.cmp(&b.plugin));
    assert_eq!(slots, [slot("alpha", 2), changed.clone()]);
    state.remove_slot(&plugin("alpha"), 4).await.unwrap();
    assert_eq!(state.slots().await.unwrap(), std::slice::from_ref(&changed));
    drop(state);
    fixture.reopen().await;
    assert_eq!(fixture.state().slots().await.unwrap(), [changed]);
}

pub async fn generation_never_goes_back(mut fixture: impl StateFixture) {
    let state = fixture.state();
    assert_eq!(state.generation().await.unwrap(), 0);
    state.save_slot(&slot("alpha", 7)).await.unwrap();
    state.save_slot(&slot("beta", 5)).await.unwrap();
    assert_eq!(state.generation().await.unwrap(), 7);
    state.remove_slot(&plugin("alpha"), 8).await.unwrap();
    state.remove_slot(&plugin("beta"), 6).await.unwrap();
    assert_eq!(state.generation().await.unwrap(), 8);
    drop(state);
    fixture.reopen().await;
    assert_eq!(fixture.state().generation().await.unwrap(), 8);
}

pub async fn components_come_back(mut fixture: impl StateFixture) {
    let state = fixture.state();
    let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
    let large: Bytes = (0..750_000u32).flat_map(u32::to_le_bytes).collect();
    state.put_component(&digest(1), &large).await.unwrap();
    state.put_component(&digest(2), &Bytes::new()).await.unwrap();
    // The same component again, as a second install of it does.
    state.put_component(&digest(1), &large).await.unwrap();
    drop(state);
    fixture.reopen().await;
    let state = fixture.state();
    assert_eq!(state.component(&digest(1)).await.unwrap(), Some(large));
    assert_eq!(state.component(&digest(2)).await.unwrap(), Some(Bytes::new()));
    assert_eq!(state.component(&digest(3)).await.unwrap(), None);
}

pub async fn unreferenced_components_are_forgotten(fixture: impl StateFixture) {
    let state = fixture.state();
    let of = |digest: &str| StoredVersion { digest: digest.to_owned(), ..version("1.0.0") };
    let save = async |name: &str, generation: u64, active: &str, previous: Option<&str>| {
        state.put_component(active, &Bytes::from_static(b"code")).await.unwrap();
        let slot = StoredSlot { active: of(active), previous: previous.map(of), ..slot(name, generation) };
        state.save_slot(&slot).await.unwrap();
    };
    let kept = async || {
        let mut kept = Vec::new();
        for digest in ["a1", "a2", "a3", "b1"] {
            kept.extend(state.component(digest).await.unwrap().map(|_| digest));
        }
        kept
    };
    save("alpha", 1, "a1", None).await;
    save("beta", 2, "b1", None).await;
    save("alpha", 3, "a2", Some("a1")).await;
    assert_eq!(kept().await, ["a1", "a2", "b1"]);
    save("alpha", 4, "a3", Some("a2")).await;
    assert_eq!(kept().await, ["a2", "a3", "b1"]);
    // Another slot's use of a component is a use.
    save("beta", 5, "a3", Some("b1")).await;
    state.remove_slot(&plugin("alpha"), 6).await.unwrap();
    assert_eq!(kept().await, ["a3", "b1"]);
    state.remove_slot(&plugin("beta"), 7).await.unwrap();
    assert_eq!(kept().await, [""; 0]);
}

pub async fn a_run_is_claimed_once(mut fixture: impl StateFixture) {
    let state = fixture.state();
    let sweep = plugin("sweeper");
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (state, sweep) = (Arc::clone(&state), sweep.clone());
        claims.spawn(async move { state.claim_run(&sweep, "nightly", "r1", 60_000).await.unwrap() });
    }
    assert_eq!(claims.join_all().await.into_iter().filter(|won| *won).count(), 1);
    // Another run, job or plugin is another claim.
    assert!(state.claim_run(&sweep, "nightly", "r2", 60_000).await.unwrap());
    assert!(state.claim_run(&sweep, "hourly", "r1", 60_000).await.unwrap());
    assert!(state.claim_run(&plugin("other"), "nightly", "r1", 60_000).await.unwrap());
    drop(state);
    fixture.reopen().await;
    let state = fixture.state();
    assert!(!state.claim_run(&sweep, "nightly", "r1", 60_000).await.unwrap(), "a claim outlives the process");
    // A lease that ends frees the run, until it is finished.
    assert!(state.claim_run(&sweep, "nightly", "r3", 200).await.unwrap());
    assert!(!state.claim_run(&sweep, "nightly", "r3", 200).await.unwrap());
    eventually("an ended lease is free", || async { state.claim_run(&sweep, "nightly", "r3", 1).await.unwrap() }).await;
    state.finish_run(&sweep, "nightly", "r3", false).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(!state.claim_run(&sweep, "nightly", "r3", 60_000).await.unwrap(), "a finished run stays finished");
}

pub async fn old_runs_are_forgotten(fixture: impl StateFixture) {
    let state = fixture.state();
    let sweep = plugin("sweeper");
    let claim = async |job: &str, id: &str| state.claim_run(&sweep, job, id, 60_000).await.unwrap();
    assert!(claim("hourly", "r0000").await);
    state.finish_run(&sweep, "hourly", "r0000", true).await.unwrap();
    // Two runs too many, the older of them the job's only success; the ids
    // grow because many runs may end in one millisecond.
    for n in 0..RUNS_KEPT + 2 {
        let id = format!("r{n:04}");
        assert!(claim("nightly", &id).await);
        state.finish_run(&sweep, "nightly", &id, n == 0).await.unwrap();
    }
    assert!(state.last_success_ms(&sweep, "nightly").await.unwrap().is_some());
    assert!(!claim("nightly", "r0000").await, "the last success is remembered");
    assert!(!claim("nightly", "r0002").await, "one of the last runs is remembered");
    assert!(!claim("hourly", "r0000").await, "each job has runs of its own");
    assert!(claim("nightly", "r0001").await, "an old run is forgotten");
}

pub async fn last_success_is_kept(mut fixture: impl StateFixture) {
    let state = fixture.state();
    let sweep = plugin("sweeper");
    assert_eq!(state.last_success_ms(&sweep, "nightly").await.unwrap(), None);
    let run = async |state: &Arc<dyn HostState>, job: &str, id: &str, success: bool| {
        assert!(state.claim_run(&sweep, job, id, 60_000).await.unwrap());
        state.finish_run(&sweep, job, id, success).await.unwrap();
    };
    run(&state, "nightly", "r1", false).await;
    assert_eq!(state.last_success_ms(&sweep, "nightly").await.unwrap(), None);
    let before = now_ms();
    run(&state, "nightly", "r2", true).await;
    let kept = state.last_success_ms(&sweep, "nightly").await.unwrap().unwrap();
    assert!((before..=now_ms()).contains(&kept));
    run(&state, "nightly", "r3", false).await;
    run(&state, "hourly", "r4", true).await;
    drop(state);
    fixture.reopen().await;
    assert_eq!(fixture.state().last_success_ms(&sweep, "nightly").await.unwrap(), Some(kept));
    assert_eq!(fixture.state().last_success_ms(&plugin("other"), "nightly").await.unwrap(), None);
}
