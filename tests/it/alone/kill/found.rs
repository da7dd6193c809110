//! What is there after the last kill, and what of it should be there and is not, is there twice, or is there by half.

use super::load::Acked;
use plinth_tests::{Client, HostProcess, eventually_within};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// For what was acknowledged to be told; what is lost does not come however long one waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// As lists, so that a double shows.
pub(super) struct Found {
    events: Vec<String>,
    tasks: Vec<String>,
    records: Vec<String>,
    /// Number to status.
    rows: BTreeMap<String, String>,
    creations: Vec<String>,
    changes: Vec<String>,
    /// Numbers of the changes that were told to the collector.
    told: Vec<String>,
}

/// Each entry names one thing.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Acknowledged and not there.
    pub(super) lost: Vec<String>,
    /// There more than once.
    pub(super) doubled: Vec<String>,
    /// One part of a unit of work without the other.
    pub(super) half_done: Vec<String>,
    /// Answers that a caller must not see.
    pub(super) wrong: Vec<String>,
}

/// Waits until the outbox and the queues are empty.
pub(super) async fn settle(host: &HostProcess, acked: &Acked) -> Found {
    for queue in ["misbehave", "events/misbehave"] {
        host.drained(queue).await;
    }
    let everything = eventually_within(PATIENCE * 2, "every change is told and audited", async || {
        host.drained("events/collector").await;
        let submitted = numbers_of(&rows(host).await, "submitted").len();
        let changes = subjects(host, "application.status.change").await.len();
        let told = letters(host, "events/collector").await.len();
        (changes >= submitted && told >= submitted && submitted >= acked.submitted.len()).then_some(())
    });
    if tokio::time::timeout(PATIENCE, everything).await.is_err() {
        eprintln!("kill: not everything came within {PATIENCE:?}");
    }
    let told = letters(host, "events/collector").await.into_iter();
    Found {
        events: letters(host, "events/misbehave").await,
        tasks: letters(host, "misbehave").await,
        records: host.audit("action=kill.record").await.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect(),
        rows: rows(host).await,
        creations: subjects(host, "application.create").await,
        changes: subjects(host, "application.status.change").await,
        told: told.map(|id| id.strip_suffix(".v2").unwrap_or_else(|| panic!("an event nobody made: {id}")).to_owned()).collect(),
    }
}

async fn letters(host: &Client, queue: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = host.get(&format!("/v1/queues/{}/dead-letters?limit=1000{cursor}", queue.replace('/', "%2F"))).await.ok();
        ids.extend(page["dead_letters"].as_array().unwrap().iter().map(|letter| letter["message_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

async fn subjects(host: &Client, action: &str) -> Vec<String> {
    let records = host.audit(&format!("action={action}&subject_kind=application")).await;
    records.iter().map(|record| record["subject"]["id"].as_str().unwrap().to_owned()).collect()
}

async fn rows(host: &Client) -> BTreeMap<String, String> {
    let (mut rows, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = host.get(&format!("/x/applications?limit=100&cursor={cursor}")).await.ok();
        let text = |row: &Value, member: &str| row[member].as_str().unwrap().to_owned();
        rows.extend(page["applications"].as_array().unwrap().iter().map(|row| (text(row, "number"), text(row, "status"))));
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return rows,
        }
    }
}

fn numbers_of(rows: &BTreeMap<String, String>, status: &str) -> BTreeSet<String> {
    rows.iter().filter(|(_, is)| *is == status).map(|(number, _)| number.clone()).collect()
}

impl Tally {
    pub(super) fn compare(&mut self, acked: &Acked, found: &Found) {
        self.kept("event", &acked.events, &found.events);
        self.kept("task", &acked.tasks, &found.tasks);
        self.kept("audit record", &acked.records, &found.records);
        self.kept("application", &acked.created, &found.creations);
        self.kept("status change", &acked.submitted, &found.changes);
        self.kept("event of a status change", &acked.submitted, &found.told);
        // A unit of work is there whole or not at all.
        let submitted = numbers_of(&found.rows, "submitted");
        self.whole("row and record of creation", &found.rows.keys().cloned().collect(), &found.creations);
        self.whole("row and record of change", &submitted, &found.changes);
        self.whole("row and event of change", &submitted, &found.told);
    }

    /// Acknowledged is there, and there is there once.
    pub(super) fn kept(&mut self, what: &str, acked: &BTreeSet<String>, found: &[String]) {
        let mut once = BTreeSet::new();
        self.doubled.extend(found.iter().filter(|id| !once.insert((*id).clone())).map(|id| format!("{what} {id}")));
        self.lost.extend(acked.difference(&once).map(|id| format!("{what} {id}")));
        eprintln!("kill: {what}: {} acknowledged, {} there", acked.len(), found.len());
    }

    fn whole(&mut self, what: &str, rows: &BTreeSet<String>, others: &[String]) {
        let others: BTreeSet<String> = others.iter().cloned().collect();
        self.half_done.extend(rows.symmetric_difference(&others).map(|number| format!("{what} {number}")));
    }

    #[track_caller]
    pub(super) fn assert_clean(&self) {
        let Self { lost, doubled, half_done, wrong } = self;
        assert!([lost, doubled, half_done, wrong].iter().all(|list| list.is_empty()), "{self:#?}");
    }
}
