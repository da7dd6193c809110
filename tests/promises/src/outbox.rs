//! P2: a host is killed at each named place of a unit of work, and each unit has all its effects or none.

use crate::{Scale, hosts::Ground};
use anyhow::{Context, Result};
use plinth_backend::failpoint;
use plinth_tests::{Client, HostProcess, Package, eventually_within, figures};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Applications at work in one run, and what is asked of each in turn.
const APPLICATIONS: usize = 4;
const COMMANDS: [&str; 3] = ["submit", "review", "approve"];
/// A place that is not passed as often as its count within this time is passed over, and told.
const RUN_MAX: Duration = Duration::from_secs(20);
const SETTLED: Duration = Duration::from_secs(120);

/// Whether every unit of work that was committed had all its effects, and no other had any.
pub(crate) async fn campaign(scale: Scale) -> Result<bool> {
    let runs = if scale.long { 200 } else { 2 };
    let ground = Ground::start().await?;
    let host = ground.host("one", "").await?;
    host.installed(&Package::plugin("applications")).await;
    // Learns of every change and rejects it, so that each that came is a dead letter under its id.
    let collector = Package::fixture("misbehave").named("collector").with("hooks.event-listener", "topics", vec!["ticketing.*"]);
    host.installed(&collector).await;
    host.stop().await;
    let (mut kills, mut missed, mut places) = (0_u64, BTreeSet::new(), BTreeSet::new());
    for name in failpoint::ALL {
        for run in 0..runs {
            // Each place is met at its first, second, … time: before, within and after other units.
            let count = 1 + run % 5;
            let host = ground.host_with("one", "", &[("PLINTH_FAILPOINT", &format!("{name}:{count}"))]).await?;
            // Some places are passed before it is ready: what the last one left is delivered first.
            let ended = match host {
                Some(host) => work_until_it_ends(host).await,
                None => true,
            };
            match ended {
                true => {
                    kills += 1;
                    places.insert(*name);
                }
                false => drop(missed.insert(format!("{name}:{count}"))),
            }
        }
        println!("promise-p2: {name}");
    }
    let host = ground.host("one", "").await?;
    let found = settled(&host).await?;
    let host_ok = host.stop().await;
    figures::write(
        "promise-p2",
        &[
            ("failpoints", places.len() as f64),
            ("kills", kills as f64),
            ("not_reached", missed.len() as f64),
            ("committed", found.committed as f64),
            ("missing_effects", found.missing.len() as f64),
            ("extra_effects", found.extra.len() as f64),
            ("stop_ms", host_ok.as_secs_f64() * 1_000.0),
        ],
    );
    for what in missed.iter().chain(found.missing.iter()).chain(found.extra.iter()).take(10) {
        eprintln!("promise-p2: {what}");
    }
    Ok(found.missing.is_empty() && found.extra.is_empty() && found.committed > 0 && places.len() >= 12)
}

/// False if the place was not reached in time; then the host is stopped.
async fn work_until_it_ends(mut host: HostProcess) -> bool {
    let client: Client = (*host).clone();
    let work = async {
        loop {
            futures::future::join_all((0..APPLICATIONS).map(|_| one_application(&client))).await;
        }
    };
    let ended = tokio::select! {
        () = work => true,
        () = host.ended() => true,
        () = tokio::time::sleep(RUN_MAX) => false,
    };
    if !ended {
        host.stop().await;
    }
    ended
}

/// Answers do not count here: what is in the database was committed.
async fn one_application(client: &Client) {
    let draft =
        json!({"applicant": {"name": "王小明", "id_number": "11010519491231002X", "mobile": "13800138000"}, "documents": ["id.pdf"]});
    let created = client.try_send(client.request(Method::POST, "/x/applications/").json(&draft)).await;
    let Some(number) = created.ok().filter(|answer| answer.status == 201).map(|answer| answer.json()["number"].clone()) else {
        // A host that is going down answers nothing; the next look is at whether it has ended.
        return tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let Some(number) = number.as_str() else { return };
    for command in COMMANDS {
        let request = client.request(Method::POST, &format!("/x/applications/{number}/{command}")).json(&json!({"requested_by": "user:1"}));
        if client.try_send(request).await.is_err() {
            return;
        }
    }
}

struct Found {
    committed: usize,
    missing: Vec<String>,
    extra: Vec<String>,
}

/// Compares when outbox and queue are empty: the rows say what was committed.
async fn settled(host: &HostProcess) -> Result<Found> {
    let committed = committed(host).await?;
    eventually_within(SETTLED, "every message has come", async || {
        let arrived = arrived(host).await;
        let records = recorded(host).await;
        let all = committed.iter().all(|id| arrived.contains_key(id));
        (all && records.values().sum::<usize>() >= committed.len()).then_some(())
    })
    .await;
    host.drained("events/collector").await;
    let (arrived, recorded) = (arrived(host).await, recorded(host).await);
    let mut by_number: BTreeMap<&str, usize> = BTreeMap::new();
    for id in &committed {
        *by_number.entry(id.rsplit_once(".v").map_or("", |(number, _)| number)).or_default() += 1;
    }
    let mut missing: Vec<String> = committed.iter().filter(|id| !arrived.contains_key(*id)).map(|id| format!("no event {id}")).collect();
    let mut extra: Vec<String> = arrived.keys().filter(|id| !committed.contains(*id)).map(|id| format!("event {id} of nothing")).collect();
    extra.extend(arrived.iter().filter(|(_, times)| **times > 1).map(|(id, times)| format!("event {id} came {times} times")));
    for (number, changes) in &by_number {
        let records = recorded.get(*number).copied().unwrap_or(0);
        match records.cmp(changes) {
            std::cmp::Ordering::Less => missing.push(format!("{records} of {changes} records of {number}")),
            std::cmp::Ordering::Greater => extra.push(format!("{records} records of {changes} changes of {number}")),
            std::cmp::Ordering::Equal => {}
        }
    }
    extra.extend(recorded.keys().filter(|number| !by_number.contains_key(number.as_str())).map(|number| format!("records of {number}")));
    Ok(Found { committed: committed.len(), missing, extra })
}

/// The id of the event of every change that is in the database.
async fn committed(host: &Client) -> Result<BTreeSet<String>> {
    let (mut ids, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page: Value = host.get(&format!("/x/applications/?limit=100&cursor={cursor}")).await.ok();
        for one in page["applications"].as_array().context("a list")? {
            let (number, version) = (one["number"].as_str().context("a number")?, one["version"].as_u64().context("a version")?);
            ids.extend((2..=version).map(|version| format!("{number}.v{version}")));
        }
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Ok(ids),
        }
    }
}

/// How often each event came to its end.
async fn arrived(host: &Client) -> BTreeMap<String, usize> {
    let (mut ids, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = host.get(&format!("/v1/queues/events%2Fcollector/dead-letters?limit=1000{cursor}")).await.ok();
        for letter in page["dead_letters"].as_array().into_iter().flatten() {
            if let Some(id) = letter["message_id"].as_str() {
                *ids.entry(id.to_owned()).or_default() += 1;
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

/// Records of status changes per application.
async fn recorded(host: &Client) -> BTreeMap<String, usize> {
    let mut numbers = BTreeMap::new();
    for record in host.audit("action=application.status.change").await {
        if let Some(number) = record["subject"]["id"].as_str() {
            *numbers.entry(number.to_owned()).or_default() += 1;
        }
    }
    numbers
}
