//! The host is killed at a random moment, again and again, and nothing that it acknowledged is lost, doubled or half done.
//!
//! Every event and task goes to a hook that rejects it, so each that was
//! delivered is a dead letter under its own id: what arrived can be listed.
//! Meanwhile two plugins are changed without pause, so that kills land in the
//! middle of changes.

mod changes;
mod found;
mod load;

use changes::Changed;
use found::{Tally, settle};
use load::Ledger;
use plinth_tests::{Client, HostProcess, Package, figures, seeded};
use rand::Rng;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

const ROUNDS: u32 = 20;
const WORKERS: u32 = 2;
const CHANGED: [&str; 2] = ["changed", "turned"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_any_moment_of_death() {
    let mut rng = seeded("kill", rand::random());
    let data = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let mut tally = Tally::default();
    let mut host = HostProcess::start(data.path(), &[]).await;
    host.installed(&Package::plugin("applications")).await;
    host.installed(&Package::fixture("misbehave")).await;
    host.installed(&Package::fixture("misbehave").marked("second").versioned("1.0.1")).await;
    // Learns of every change of an application, and rejects it under its id.
    host.installed(&Package::fixture("misbehave").named("collector").with("hooks.event-listener", "topics", vec!["ticketing.*"])).await;
    let still = still(&host).await;
    let changed = [Changed::install(&host, CHANGED[0]).await, Changed::install(&host, CHANGED[1]).await];
    let mut ready = Vec::new();
    for round in 0..ROUNDS {
        let mut load = JoinSet::new();
        for worker in 0..WORKERS {
            load::start(&mut load, &host, &ledger, u64::from(round * WORKERS + worker));
        }
        for plugin in &changed {
            plugin.start(&mut load, &host, rng.random());
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..600))).await;
        host.kill().await;
        load.join_all().await;
        host = HostProcess::start(data.path(), &[]).await;
        ready.push(host.ready_after);
        assert_eq!(self::still(&host).await, still, "plugins or generations are not back after kill {round}");
        for plugin in &changed {
            plugin.check(&host, &mut tally).await;
        }
        assert!(!ledger.lock().unwrap().created.is_empty(), "nothing was acknowledged before kill {round}");
    }
    let acked = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    tally.compare(&acked, &settle(&host, &acked).await);
    let (one, two) = (changed[0].settle(&host, &mut tally).await, changed[1].settle(&host, &mut tally).await);
    let [changes, unanswered, done] = [0, 1, 2].map(|figure| (one[figure] + two[figure]) as f64);
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
            ("acked_plugin_changes", changes),
            ("plugin_changes_unanswered", unanswered),
            ("plugin_changes_done_unanswered", done),
            ("lost", tally.lost.len() as f64),
            ("doubled", tally.doubled.len() as f64),
            ("half_done", tally.half_done.len() as f64),
            ("wrong_answers", tally.wrong.len() as f64),
        ],
    );
    tally.assert_clean();
    assert!(changes > 0.0 && unanswered > 0.0, "no kill met a change of a plugin");
    assert!(ready[ready.len() - 1] < Duration::from_secs(5), "ready after {:?}", ready[ready.len() - 1]);
    host.stop().await;
}

/// The slots that nobody changes, without what counts calls.
async fn still(host: &Client) -> Vec<Value> {
    let plugins = host.get("/v1/plugins").await.ok();
    let slots = plugins["plugins"].as_array().unwrap().iter();
    let slots = slots.filter(|slot| !CHANGED.iter().any(|changed| slot["plugin"] == **changed));
    let versions =
        |slot: &Value| slot["versions"].as_array().unwrap().iter().map(|v| (v["digest"].clone(), v["active"].clone())).collect::<Vec<_>>();
    slots.map(|slot| json!([slot["plugin"], slot["state"], slot["generation"], slot["version"], slot["digest"], versions(slot)])).collect()
}
