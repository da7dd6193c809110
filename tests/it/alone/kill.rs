//! The host is killed at a random moment, again and again, and nothing that it acknowledged is lost or doubled.
//!
//! Every event and task goes to a hook that rejects it, so each that was
//! delivered is a dead letter under its own id: what arrived can be listed.

use plinth_tests::{Client, HostProcess, Package, eventually, figures, seeded};
use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinSet;

const ROUNDS: u32 = 20;
const WORKERS: u32 = 2;

/// What the host has said yes to, by id.
#[derive(Default, Debug)]
struct Acked {
    events: BTreeSet<String>,
    tasks: BTreeSet<String>,
    records: BTreeSet<String>,
    created: BTreeSet<String>,
    submitted: BTreeSet<String>,
}

type Ledger = Arc<Mutex<Acked>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_any_moment_of_death() {
    let mut rng = seeded("kill", rand::random());
    let data = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let mut host = HostProcess::start(data.path(), &[]).await;
    host.installed(&Package::plugin("applications")).await;
    host.installed(&Package::fixture("misbehave")).await;
    host.installed(&Package::fixture("misbehave").marked("second").versioned("1.0.1")).await;
    // Learns of every change of an application, and rejects it under its id.
    host.installed(&Package::fixture("misbehave").named("collector").with("hooks.event-listener", "topics", vec!["ticketing.*"])).await;
    let slots = slots(&host).await;
    let mut ready = Vec::new();
    for round in 0..ROUNDS {
        let mut load = JoinSet::new();
        for worker in 0..WORKERS {
            let tag = u64::from(round * WORKERS + worker);
            load.spawn(publish((*host).clone(), ledger.clone(), tag));
            load.spawn(record((*host).clone(), ledger.clone(), tag));
            load.spawn(apply((*host).clone(), ledger.clone(), tag));
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..600))).await;
        host.kill().await;
        // Each worker ends with the first request that nobody answers.
        load.join_all().await;
        host = HostProcess::start(data.path(), &[]).await;
        ready.push(host.ready_after);
        assert_eq!(self::slots(&host).await, slots, "plugins or generations are not back after kill {round}");
        assert!(!ledger.lock().unwrap().created.is_empty(), "nothing was acknowledged before kill {round}");
    }
    let acked = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    let found = settle(&host, &acked).await;
    compare(&acked, &found);
    ready.sort();
    let ms = |time: &Duration| time.as_secs_f64() * 1_000.0;
    let count = |set: &BTreeSet<String>| set.len() as f64;
    figures::write(
        "kill",
        &[
            ("kills", f64::from(ROUNDS)),
            ("ready_p50_ms", ms(&ready[ready.len() / 2])),
            ("ready_max_ms", ms(&ready[ready.len() - 1])),
            ("acked_events", count(&acked.events)),
            ("acked_tasks", count(&acked.tasks)),
            ("acked_audit_records", count(&acked.records)),
            ("acked_applications", count(&acked.created)),
            ("acked_status_changes", count(&acked.submitted)),
            ("lost", 0.0),
        ],
    );
    assert!(ready[ready.len() - 1] < Duration::from_secs(5), "ready after {:?}", ready[ready.len() - 1]);
    host.stop().await;
}

/// The slots without what counts calls.
async fn slots(host: &Client) -> Vec<Value> {
    let plugins = host.get("/v1/plugins").await.ok();
    let slots = plugins["plugins"].as_array().unwrap().iter();
    let versions =
        |slot: &Value| slot["versions"].as_array().unwrap().iter().map(|v| (v["digest"].clone(), v["active"].clone())).collect::<Vec<_>>();
    slots.map(|slot| json!([slot["plugin"], slot["state"], slot["generation"], slot["version"], slot["digest"], versions(slot)])).collect()
}

/// Sends until the host is gone; `None` ends a worker.
async fn post(client: &Client, path: &str, body: &Value) -> Option<plinth_tests::Answer> {
    let kind = if path == "/v1/events" { "application/cloudevents+json" } else { "application/json" };
    let request = client.request(Method::POST, path).header("content-type", kind).body(body.to_string());
    client.try_send(request).await.ok()
}

async fn publish(client: Client, ledger: Ledger, tag: u64) {
    for number in 0.. {
        let id = format!("{tag}-{number}");
        let event = json!({"specversion": "1.0", "id": id, "source": "/kill", "type": "misbehave.event", "subject": "guest-error-reject"});
        let Some(answer) = post(&client, "/v1/events", &event).await else { return };
        if answer.status == 202 {
            ledger.lock().unwrap().events.insert(answer.json()["id"].as_str().unwrap().to_owned());
        }
        let task = json!({"payload": number, "routing_key": "guest-error-reject", "message_id": id});
        let Some(answer) = post(&client, "/v1/tasks/misbehave", &task).await else { return };
        if answer.status == 202 {
            ledger.lock().unwrap().tasks.insert(id);
        }
    }
}

async fn record(client: Client, ledger: Ledger, tag: u64) {
    for number in 0.. {
        let entry = json!({"action": "kill.record", "subject": {"kind": "kill", "id": format!("{tag}-{number}")}});
        let Some(answer) = post(&client, "/v1/audit", &entry).await else { return };
        if answer.status == 201 {
            ledger.lock().unwrap().records.insert(answer.json()["id"].as_str().unwrap().to_owned());
        }
    }
}

/// Creates applications and submits each: two units of work of row, event and audit record.
async fn apply(client: Client, ledger: Ledger, tag: u64) {
    for index in 0..1_000 {
        let number = format!("A-{:04}-{:06}", 2026, tag * 1_000 + index);
        let applicant = json!({"name": "张伟", "id_number": "11010519491231002X", "mobile": "13800138000"});
        let Some(answer) = post(&client, "/x/applications", &json!({"number": number, "applicant": applicant})).await else { return };
        if answer.status != 201 {
            continue;
        }
        ledger.lock().unwrap().created.insert(number.clone());
        let Some(answer) = post(&client, &format!("/x/applications/{number}/submit"), &json!({"requested_by": "kill"})).await else {
            return;
        };
        if answer.status == 200 {
            ledger.lock().unwrap().submitted.insert(number);
        }
    }
}

/// What is there at the end, as lists, so that a double shows.
struct Found {
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

/// Waits until the outbox and the queues are empty.
async fn settle(host: &HostProcess, acked: &Acked) -> Found {
    for queue in ["misbehave", "events/misbehave"] {
        host.drained(queue).await;
    }
    let (rows, changes, told) = eventually("every change is told and audited", async || {
        host.drained("events/collector").await;
        let rows = rows(host).await;
        let submitted = rows.values().filter(|status| *status == "submitted").count();
        let changes = subjects(host, "application.status.change").await;
        let told = letters(host, "events/collector").await;
        (changes.len() >= submitted && told.len() >= submitted && submitted >= acked.submitted.len()).then_some((rows, changes, told))
    })
    .await;
    let told = told.into_iter().map(|id| id.strip_suffix(".v2").unwrap_or_else(|| panic!("an event nobody made: {id}")).to_owned());
    let records = host.audit("action=kill.record").await.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    Found {
        events: letters(host, "events/misbehave").await,
        tasks: letters(host, "misbehave").await,
        records,
        creations: subjects(host, "application.create").await,
        rows,
        changes,
        told: told.collect(),
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

fn compare(acked: &Acked, found: &Found) {
    // Acknowledged is there, and there is there once.
    for (what, acked, found) in [
        ("events", &acked.events, &found.events),
        ("tasks", &acked.tasks, &found.tasks),
        ("audit records", &acked.records, &found.records),
        ("applications", &acked.created, &found.creations),
        ("status changes", &acked.submitted, &found.changes),
    ] {
        let set: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!(set.len(), found.len(), "{what} are there twice");
        let lost: Vec<_> = acked.difference(&set).collect();
        assert!(lost.is_empty(), "{} of {} {what} are lost: {lost:?}", lost.len(), acked.len());
        eprintln!("kill: {what}: {} acknowledged, {} there", acked.len(), found.len());
    }
    // A unit of work is there whole or not at all.
    let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    let rows: BTreeSet<String> = found.rows.keys().cloned().collect();
    let submitted: BTreeSet<String> = found.rows.iter().filter(|(_, status)| *status == "submitted").map(|(n, _)| n.clone()).collect();
    assert_eq!(rows, set(&found.creations), "rows and records of creations");
    assert_eq!(submitted, set(&found.changes), "rows and records of changes");
    assert_eq!(submitted, set(&found.told), "rows and events of changes");
    assert_eq!(found.told.len(), submitted.len(), "a change was told twice");
}
