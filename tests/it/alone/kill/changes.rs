//! A plugin that is changed without pause, so that kills land in the middle of changes.

use super::found::Tally;
use plinth_tests::{Client, Package};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::task::JoinSet;

/// One more than a slot holds, so that components are forgotten and stored again.
const VERSIONS: usize = 3;

/// What is active and what could be rolled back to, by digest.
type Pair = (String, String);

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    generation: u64,
    versions: Pair,
}

/// A plugin under change, as its one driver knows it.
pub(super) struct Changed {
    plugin: &'static str,
    packages: Vec<(String, Package)>,
    state: Mutex<State>,
}

struct State {
    /// After the last change that was answered.
    acked: Slot,
    /// What the change that is not answered yet makes of it.
    asked: Option<Pair>,
    /// Generations of the answered changes.
    generations: BTreeSet<String>,
    /// Changes that a kill left unanswered, and those of them that were done.
    unanswered: usize,
    done: usize,
    /// What the callers saw and must not see.
    wrong: Vec<String>,
}

impl Changed {
    /// Plugins share the bytes of their versions.
    pub(super) async fn install(client: &Client, plugin: &'static str) -> Arc<Self> {
        let (mut packages, mut generation) = (Vec::new(), 0);
        for number in 0..VERSIONS {
            let package =
                Package::fixture("misbehave").named(plugin).marked(&format!("changed {number}")).versioned(&format!("1.0.{number}"));
            let change = client.installed(&package).await;
            generation = change["generation"].as_u64().unwrap();
            packages.push((change["digest"].as_str().unwrap().to_owned(), package));
        }
        let versions = (packages[VERSIONS - 1].0.clone(), packages[VERSIONS - 2].0.clone());
        let acked = Slot { generation, versions };
        let state = State { acked, asked: None, generations: BTreeSet::new(), unanswered: 0, done: 0, wrong: Vec::new() };
        Arc::new(Self { plugin, packages, state: Mutex::new(state) })
    }

    /// A driver that changes it and a caller that looks, until the host is gone.
    pub(super) fn start(self: &Arc<Self>, load: &mut JoinSet<()>, client: &Client, seed: u64) {
        load.spawn(self.clone().drive(client.clone(), seed));
        load.spawn(self.clone().call(client.clone()));
    }

    async fn drive(self: Arc<Self>, client: Client, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        loop {
            let (request, asked) = self.next(&client, &mut rng);
            self.state.lock().unwrap().asked = Some(asked.clone());
            let Ok(answer) = client.try_send(request).await else { return };
            let change = answer.ok();
            assert_eq!(change["digest"], asked.0, "{change}");
            let generation = change["generation"].as_u64().unwrap();
            let mut state = self.state.lock().unwrap();
            assert!(generation > state.acked.generation, "{change} after {:?}", state.acked);
            state.acked = Slot { generation, versions: asked };
            state.asked = None;
            state.generations.insert(generation.to_string());
        }
    }

    /// Back in one of three ways, or on to the version that the slot does not hold.
    fn next(&self, client: &Client, rng: &mut StdRng) -> (RequestBuilder, Pair) {
        let (active, previous) = self.state.lock().unwrap().acked.versions.clone();
        let other = &self.packages.iter().find(|(digest, _)| ![&active, &previous].contains(&digest)).unwrap().0;
        let path = |end: &str| format!("/v1/plugins/{}/{end}", self.plugin);
        let install = |wanted: &String| client.upload_request(&self.packages.iter().find(|(digest, _)| digest == wanted).unwrap().1, "");
        match rng.random_range(0..4) {
            0 => (client.request(Method::POST, &path("rollback")).json(&json!({})), (previous, active)),
            1 => (client.request(Method::POST, &path("swap")).json(&json!({"digest": previous})), (previous, active)),
            2 => (install(&previous), (previous, active)),
            _ => (install(other), (other.clone(), active)),
        }
    }

    /// Each answer is right, and never from before a change that was answered, or an answer that was seen.
    async fn call(self: Arc<Self>, client: Client) {
        let mut seen = 0;
        for number in 0.. {
            let least = self.state.lock().unwrap().acked.generation.max(seen);
            let body = format!("call {number}");
            let request = client.request(Method::POST, &format!("/x/{}/echo", self.plugin)).body(body.clone());
            let Ok(answer) = client.try_send(request).await else { return };
            seen = answer.header("plinth-generation").parse().unwrap_or(0);
            if answer.status != 200 || answer.text() != body || seen < least {
                self.state.lock().unwrap().wrong.push(format!("{} of generation {seen} after {least}: {answer}", self.plugin));
            }
        }
    }

    /// After a restart: the last change that was answered is live, or the one that was in flight, whole; nothing else.
    pub(super) async fn check(&self, host: &Client, tally: &mut Tally) {
        let list = host.get("/v1/plugins").await.ok();
        let shown = list["plugins"].as_array().unwrap().iter().find(|slot| slot["plugin"] == self.plugin).unwrap();
        let digest = |index: usize| shown["versions"][index]["digest"].as_str().unwrap_or_default().to_owned();
        let slot = Slot { generation: shown["generation"].as_u64().unwrap(), versions: (digest(0), digest(1)) };
        let answer = host.act(self.plugin, "echo", b"back").await;
        let mut state = self.state.lock().unwrap();
        let asked = state.asked.take();
        state.unanswered += usize::from(asked.is_some());
        let newer = slot.generation > state.acked.generation;
        match &asked {
            _ if slot == state.acked => {}
            Some(asked) if newer && slot.versions == *asked => state.done += 1,
            Some(asked) if newer && slot.versions.0 == asked.0 => tally.half_done.push(format!("change to {asked:?}: {slot:?}")),
            _ => tally.lost.push(format!("change to {:?}, then {asked:?} was asked for: {slot:?}", state.acked)),
        }
        let answers = answer.status == 200 && answer.text() == "back" && answer.header("plinth-digest") == slot.versions.0;
        let well = answers && shown["state"] == "live" && list["generation"].as_u64() >= Some(state.acked.generation);
        if !well || slot.generation < state.acked.generation {
            let (plugin, state_of) = (self.plugin, &shown["state"]);
            state.wrong.push(format!("{plugin} is {state_of} and back as {slot:?}, in all {}, answers {answer}", list["generation"]));
        }
        state.acked = slot;
    }

    /// Every answered change has one record; how many were answered, how many not, and how many of those were done.
    pub(super) async fn settle(&self, host: &Client, tally: &mut Tally) -> [usize; 3] {
        let records = host.audit(&format!("action=host.plugin&subject_kind=plugin&subject_id={}&outcome=success", self.plugin)).await;
        let generation = |record: &Value| record["attributes"]["generation"].as_str().unwrap().to_owned();
        let state = self.state.lock().unwrap();
        tally.wrong.extend(state.wrong.iter().cloned());
        tally.kept(&format!("change of {}", self.plugin), &state.generations, &records.iter().map(generation).collect::<Vec<_>>());
        [state.generations.len(), state.unanswered, state.done]
    }
}
