//! The spool as operators meet it: the audit log's server dies, the host is killed, and nothing that was confirmed is lost.

use futures::future::join_all;
use plinth_services::Postgres;
use plinth_tests::{Answer, HostProcess, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use std::{fs, path::Path};

const RECORDS: usize = 30;

async fn append(host: &HostProcess, id: usize, deferred: bool) -> Answer {
    let entry = json!({"action": "door.opened", "subject": {"kind": "door", "id": id.to_string()}});
    let path = if deferred { "/v1/audit?deferred=true" } else { "/v1/audit" };
    host.send(host.request(Method::POST, path).json(&entry)).await
}

async fn start(data: &Path, config: &Path) -> HostProcess {
    HostProcess::start(data, &["--config", config.to_str().unwrap()]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spooled_survives_the_host_and_comes_to_the_log() {
    let (data, server) = (tempfile::tempdir().unwrap(), Postgres::start().await.unwrap());
    let config = data.path().join("plinth.toml");
    let text = format!("[postgres]\nurl = \"{}/postgres\"\n[audit]\nbackend = \"postgres\"\n[audit-log.spool]\n", server.url());
    fs::write(&config, text).unwrap();
    let host = start(data.path(), &config).await;
    let answer = append(&host, 0, true).await;
    assert_eq!((answer.status, &answer.json()["sequence"]), (201, &json!(0)), "{answer}");

    server.kill().await.unwrap();
    let refused = append(&host, 1, false).await;
    assert!(matches!(refused.status, 502 | 503), "what may not come later is refused: {refused}");
    let answers = join_all((1..=RECORDS).map(|id| append(&host, id, true))).await;
    let mut ids = Vec::new();
    for answer in answers {
        assert_eq!((answer.status, &answer.json()["sequence"]), (202, &Value::Null), "{answer}");
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    eventually("the figures tell of it", async || {
        let text = host.get("/metrics").await.text();
        text.contains(&format!("plinth_audit_spooled_records {RECORDS}\n")).then_some(())
    })
    .await;
    host.kill().await;

    server.restart().await.unwrap();
    let host = start(data.path(), &config).await;
    for id in &ids {
        let record = eventually("the record is in the log", async || {
            let answer = host.get(&format!("/v1/audit/{id}")).await;
            (answer.status == 200).then(|| answer.json())
        })
        .await;
        assert!(record["spooled_at_ms"].as_u64() >= record["recorded_at_ms"].as_u64(), "{record}");
    }
    let doors = host.audit("action=door.opened").await;
    assert_eq!(doors.len(), RECORDS + 1, "each once, and what was refused not at all");
    assert_eq!(doors[0]["spooled_at_ms"], Value::Null);
    let answer = eventually("what comes now goes to the log at once", async || {
        let answer = append(&host, RECORDS + 1, true).await;
        (answer.status == 201).then_some(answer)
    })
    .await;
    assert!(answer.json()["sequence"].as_u64() > Some(RECORDS as u64), "{answer}");
}
