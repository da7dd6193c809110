//! The order in which tasks come, as a plugin sees it.

use plinth_tests::{Package, TestHost, eventually, seeded};
use rand::seq::SliceRandom;
use serde_json::json;

/// With one call at a time, the order of calls is the order of deliveries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_come_highest_first_and_equal_ones_oldest_first() {
    let host = TestHost::start().await;
    host.declare("misbehave", json!({})).await;
    let mut rng = seeded("priorities", rand::random());
    // More of each than one consumer takes at once.
    let mut mixed: Vec<u8> = (0..=9).flat_map(|priority| [priority; 3]).collect();
    mixed.shuffle(&mut rng);
    let enqueue = async |round: &str| {
        let mut ids = Vec::new();
        for (number, priority) in mixed.iter().enumerate() {
            let id = format!("{round} {number}");
            let task = json!({"payload": id, "routing_key": "note", "priority": priority});
            assert_eq!(host.post("/v1/tasks/misbehave", &task).await.status, 202);
            ids.push((std::cmp::Reverse(*priority), id));
        }
        // Stable: equal ones stay in the order in which they were enqueued.
        ids.sort_by_key(|(priority, _)| *priority);
        ids.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    };
    let noted = async |count: usize| {
        eventually(&format!("{count} tasks are handled"), async || {
            let notes = host.audit("action=misbehave.note").await;
            let ids: Vec<_> = notes.iter().map(|note| note["subject"]["id"].as_str().unwrap().to_owned()).collect();
            (ids.len() == count).then_some(ids)
        })
        .await
    };
    let mut expected = enqueue("before").await;
    let patient = [("concurrency", 1), ("wall-ms", 30_000), ("cpu-ms", 20_000), ("host-calls", 100_000), ("wait-ms", 30_000)];
    let package = patient.iter().fold(Package::fixture("misbehave"), |package, (limit, value)| package.with("limits", limit, *value));
    host.installed(&package).await;
    assert_eq!(noted(expected.len()).await, expected, "enqueued before anybody handled them");
    // And while the handler is busy with an earlier one.
    let held = json!({"payload": {}, "routing_key": "slow:3000"});
    assert_eq!(host.post("/v1/tasks/misbehave", &held).await.status, 202);
    let live = async || host.metric("plinth_live_calls", &[("plugin", "misbehave")]).await;
    eventually("the handler is held", async || (live().await == 1.0).then_some(())).await;
    expected.extend(enqueue("while held").await);
    assert_eq!(host.audit("action=misbehave.note").await.len(), mixed.len(), "the handler was not held for long enough");
    assert_eq!(noted(expected.len()).await, expected, "enqueued while the handler was held");
    host.stop().await;
}
