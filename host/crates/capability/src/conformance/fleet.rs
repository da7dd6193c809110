//! The fleet's suite: one case per bullet of the contract of [`Fleet`].
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a case fails by panicking")]

use crate::{
    ErrorKind,
    fleet::{Decided, Fleet, HostBeat, LIVE_FOR, Proposal, Vote},
    name::PluginName,
    state::{HostState, StoredSlot, StoredVersion},
};
use bytes::Bytes;
use futures::future::join_all;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Two hosts over one storage.
pub trait FleetFixture: Send + Sync {
    fn hosts(&self) -> [Arc<dyn Fleet>; 2];
    fn state(&self) -> Arc<dyn HostState>;
}

/// Makes the tests of one backend: `$make` is an async expression that yields a [`FleetFixture`].
#[macro_export]
macro_rules! fleet_conformance {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::fleet, $make;
            hosts_are_seen,
            a_proposal_reaches_everybody,
            one_proposal_per_plugin,
            a_stale_change_is_refused,
            votes_are_counted,
            commit_saves_under_the_next_generation,
            generations_are_never_shared,
            withdraw_ends_a_proposal,
            decided_is_done_at_once,
            the_dead_do_not_stand_in_the_way,
            changes_wake,
        }
    };
}

fn slot(plugin: &str, version: &str) -> StoredSlot {
    let active = StoredVersion {
        version: version.to_owned(),
        digest: format!("sha256:{plugin}-{version}"),
        manifest: "name = \"ä\"\n".to_owned(),
        config: "{}".to_owned(),
        grants: "[]".to_owned(),
        installed_at_ms: 1_700_000_000_000,
    };
    StoredSlot { plugin: PluginName::new(plugin).unwrap(), generation: 0, active, previous: None, quarantined: Vec::new() }
}

fn proposal(id: &str, slot: StoredSlot, expects: u64) -> Proposal {
    Proposal { id: id.to_owned(), host: "a".to_owned(), slot, expects }
}

fn beat(id: &str, generation: u64) -> HostBeat {
    HostBeat { id: id.to_owned(), name: format!("host {id}"), ready: true, generation, note: Some("none".to_owned()) }
}

async fn refused<T: std::fmt::Debug>(kind: ErrorKind, what: impl Future<Output = crate::Result<T>>) {
    assert_eq!(what.await.unwrap_err().kind(), kind);
}

pub async fn hosts_are_seen(fixture: impl FleetFixture) {
    let [a, b] = fixture.hosts();
    a.beat(&beat("a", 1)).await.unwrap();
    b.beat(&beat("b", 2)).await.unwrap();
    let later = HostBeat { ready: false, note: None, ..beat("a", 7) };
    a.beat(&later).await.unwrap();
    let seen = b.hosts().await.unwrap();
    assert_eq!(seen.iter().map(|host| host.beat.clone()).collect::<Vec<_>>(), [later, beat("b", 2)]);
    assert!(seen.iter().all(|host| host.live()), "{seen:?}");
    a.leave("a").await.unwrap();
    let left: Vec<String> = b.hosts().await.unwrap().into_iter().map(|host| host.beat.id).collect();
    assert_eq!(left, ["b"]);
}

pub async fn a_proposal_reaches_everybody(fixture: impl FleetFixture) {
    let [a, b] = fixture.hosts();
    let wanted = proposal("1", slot("alpha", "1.0.0"), 0);
    a.propose(&wanted, Some(&Bytes::from_static(b"wasm"))).await.unwrap();
    assert_eq!(b.proposals().await.unwrap(), std::slice::from_ref(&wanted));
    let component = fixture.state().component(&wanted.slot.active.digest).await.unwrap();
    assert_eq!(component, Some(Bytes::from_static(b"wasm")));
    assert_eq!(fixture.state().slots().await.unwrap(), [], "a proposal changes nothing");
}

pub async fn one_proposal_per_plugin(fixture: impl FleetFixture) {
    let [a, b] = fixture.hosts();
    a.beat(&beat("a", 0)).await.unwrap();
    a.propose(&proposal("1", slot("alpha", "1.0.0"), 0), None).await.unwrap();
    refused(ErrorKind::Conflict, b.propose(&proposal("2", slot("alpha", "2.0.0"), 0), None)).await;
    b.propose(&proposal("3", slot("beta", "1.0.0"), 0), None).await.unwrap();
    a.withdraw("1").await.unwrap();
    b.propose(&proposal("4", slot("alpha", "2.0.0"), 0), None).await.unwrap();
}

pub async fn a_stale_change_is_refused(fixture: impl FleetFixture) {
    let [a, b] = fixture.hosts();
    a.propose(&proposal("1", slot("alpha", "1.0.0"), 0), None).await.unwrap();
    let first = a.commit("1").await.unwrap();
    refused(ErrorKind::Conflict, b.propose(&proposal("2", slot("alpha", "2.0.0"), 0), None)).await;
    refused(ErrorKind::Conflict, b.decide(&Decided::Remove(PluginName::new("alpha").unwrap()), first + 1)).await;
    b.propose(&proposal("3", slot("alpha", "2.0.0"), first), None).await.unwrap();
    let second = a.decide(&Decided::Save(Box::new(slot("alpha", "1.5.0"))), first).await.unwrap();
    refused(ErrorKind::Conflict, b.commit("3")).await;
    let slots = fixture.state().slots().await.unwrap();
    assert_eq!(slots, [StoredSlot { generation: second, ..slot("alpha", "1.5.0") }]);
}

pub async fn votes_are_counted(fixture: impl FleetFixture) {
    let [a, b] = fixture.hosts();
    a.propose(&proposal("1", slot("alpha", "1.0.0"), 0), None).await.unwrap();
    assert_eq!(a.votes("1").await.unwrap(), []);
    b.vote("1", "b", &Vote::Yes).await.unwrap();
    b.vote("1", "c", &Vote::Yes).await.unwrap();
    let veto = Vote::Veto("no such grant".to_owned());
    b.vote("1", "b", &veto).await.unwrap();
    let mut votes = a.votes("1").await.unwrap();
    votes.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(votes, [("b".to_owned(), veto), ("c".to_owned(), Vote::Yes)]);
    a.withdraw("1").await.unwrap();
    refused(ErrorKind::NotFound, b.vote("1", "b", &Vote::Yes)).await;
}

pub async fn commit_saves_under_the_next_generation(fixture: impl FleetFixture) {
    let [a, b] = fixture.hosts();
    let state = fixture.state();
    let before = state.generation().await.unwrap();
    a.propose(&proposal("1", slot("alpha", "1.0.0"), 0), Some(&Bytes::from_static(b"wasm"))).await.unwrap();
    let generation = a.commit("1").await.unwrap();
    assert_eq!(generation, before + 1);
    assert_eq!(state.generation().await.unwrap(), generation);
    assert_eq!(state.slots().await.unwrap(), [StoredSlot { generation, ..slot("alpha", "1.0.0") }]);
    assert!(state.component("sha256:alpha-1.0.0").await.unwrap().is_some(), "the component stays");
    assert_eq!(b.proposals().await.unwrap(), []);
    refused(ErrorKind::NotFound, a.commit("1")).await;
}

pub async fn generations_are_never_shared(fixture: impl FleetFixture) {
    let hosts = fixture.hosts();
    let changes = (0..16).map(|number| {
        let host = hosts[number % 2].clone();
        async move {
            let (id, slot) = (number.to_string(), slot(&format!("plugin-{number}"), "1.0.0"));
            if number < 8 {
                return host.decide(&Decided::Save(Box::new(slot)), 0).await.unwrap();
            }
            host.propose(&proposal(&id, slot, 0), None).await.unwrap();
            host.commit(&id).await.unwrap()
        }
    });
    let mut generations = join_all(changes).await;
    generations.sort_unstable();
    let first = generations[0];
    assert_eq!(generations, (first..first + 16).collect::<Vec<u64>>());
}

pub async fn withdraw_ends_a_proposal(fixture: impl FleetFixture) {
    let [a, b] = fixture.hosts();
    a.propose(&proposal("1", slot("alpha", "1.0.0"), 0), None).await.unwrap();
    a.withdraw("1").await.unwrap();
    a.withdraw("1").await.unwrap();
    assert_eq!(b.proposals().await.unwrap(), []);
    refused(ErrorKind::NotFound, a.commit("1")).await;
    assert_eq!(fixture.state().slots().await.unwrap(), []);
}

pub async fn decided_is_done_at_once(fixture: impl FleetFixture) {
    let [a, _] = fixture.hosts();
    let state = fixture.state();
    let saved = a.decide(&Decided::Save(Box::new(slot("alpha", "1.0.0"))), 0).await.unwrap();
    assert_eq!(state.slots().await.unwrap(), [StoredSlot { generation: saved, ..slot("alpha", "1.0.0") }]);
    let removed = a.decide(&Decided::Remove(PluginName::new("alpha").unwrap()), saved).await.unwrap();
    assert_eq!((removed, state.generation().await.unwrap()), (saved + 1, saved + 1));
    assert_eq!(state.slots().await.unwrap(), []);
}

pub async fn the_dead_do_not_stand_in_the_way(fixture: impl FleetFixture) {
    let [a, b] = fixture.hosts();
    a.beat(&beat("a", 0)).await.unwrap();
    a.propose(&proposal("1", slot("alpha", "1.0.0"), 0), None).await.unwrap();
    let second = proposal("2", slot("alpha", "2.0.0"), 0);
    refused(ErrorKind::Conflict, b.propose(&second, None)).await;
    let began = Instant::now();
    super::eventually("the proposal of a silent host gives way", || async { b.propose(&second, None).await.is_ok() }).await;
    assert!(began.elapsed() > LIVE_FOR / 2, "not before the host counts as dead");
    refused(ErrorKind::NotFound, a.commit("1")).await;
}

pub async fn changes_wake(fixture: impl FleetFixture) {
    const LONG: Duration = Duration::from_secs(30);
    let [a, b] = fixture.hosts();
    a.beat(&beat("a", 0)).await.unwrap();
    // What happened before is drained: nothing more comes.
    while tokio::time::timeout(Duration::from_secs(1), b.changed(LONG)).await.is_ok() {}
    for step in 0..4 {
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn({
            let b = b.clone();
            async move {
                let began = Instant::now();
                b.changed(LONG).await;
                began.elapsed()
            }
        });
        match step {
            0 => a.propose(&proposal("1", slot("alpha", "1.0.0"), 0), None).await.unwrap(),
            1 => a.vote("1", "a", &Vote::Yes).await.unwrap(),
            2 => drop(a.commit("1").await.unwrap()),
            _ => a.beat(&beat("a", 9)).await.unwrap(),
        }
        assert!(waiting.join_next().await.unwrap().unwrap() < LONG / 2, "step {step} wakes");
    }
    let began = Instant::now();
    b.changed(Duration::from_millis(50)).await;
    assert!(began.elapsed() < LONG / 2, "and it does not wait for longer than asked");
}
