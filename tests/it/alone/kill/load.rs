//! The load that a kill cuts off: each worker keeps what was acknowledged, and ends with the first request that nobody answers.

use plinth_tests::{Answer, Client};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::task::JoinSet;

/// What the host has said yes to, by id.
#[derive(Default, Debug)]
pub(super) struct Acked {
    pub(super) events: BTreeSet<String>,
    pub(super) tasks: BTreeSet<String>,
    pub(super) records: BTreeSet<String>,
    pub(super) created: BTreeSet<String>,
    pub(super) submitted: BTreeSet<String>,
}

pub(super) type Ledger = Arc<Mutex<Acked>>;

/// Workers whose ids bear this tag.
pub(super) fn start(load: &mut JoinSet<()>, client: &Client, ledger: &Ledger, tag: u64) {
    load.spawn(publish(client.clone(), ledger.clone(), tag));
    load.spawn(record(client.clone(), ledger.clone(), tag));
    load.spawn(apply(client.clone(), ledger.clone(), tag));
}

/// `None` if nobody answers, which ends a worker.
async fn post(client: &Client, path: &str, body: &Value) -> Option<Answer> {
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
