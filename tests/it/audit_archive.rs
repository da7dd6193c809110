//! The archive as an operator meets it: set in the configuration, kept by retention, verified from its folder alone.

use crate::audit_log::{append, ended, plinth, signed, words};
use plinth_capability::audit::{AuditEntry, AuditOutcome, AuditRecord, Subject};
use plinth_tests::{HostProcess, TestHost, eventually};
use reqwest::Method;
use serde_json::json;
use std::fs;

/// One segment and some more.
const RECORDS: usize = 65_536 + 200;

/// Made in 1970, so that every retention is over.
fn old(number: usize) -> AuditRecord {
    AuditRecord {
        id: uuid::Uuid::now_v7().to_string(),
        recorded_at_ms: number as u64,
        actor: "user:old".to_owned(),
        plugin_id: "p".to_owned(),
        plugin_version: "1.0.0".to_owned(),
        plugin_digest: String::new(),
        spooled_at_ms: None,
        generation: 0,
        invocation_id: String::new(),
        entry: AuditEntry {
            action: "case.closed".to_owned(),
            subject: Subject { kind: "case".to_owned(), id: (number % 5_000).to_string() },
            outcome: AuditOutcome::Success,
            summary: String::new(),
            changes: Vec::new(),
            attributes: Vec::new(),
            personal: None,
            sealed: Vec::new(),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_records_leave_the_database_and_stay_in_the_log() {
    let filled = TestHost::start().await;
    let mut ids = Vec::new();
    for start in (0..RECORDS).step_by(1_000) {
        let records: Vec<_> = (start..RECORDS.min(start + 1_000)).map(old).collect();
        ids.extend(records.iter().map(|record| record.id.clone()));
        filled.running.capabilities.audit.append(records).await.unwrap();
    }
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let settings = format!(
        "[api]\nlisten = \"127.0.0.1:0\"\n[audit-log.archive]\nurl = \"file://{}\"\n[audit-log.retention]\nonline-days = 180\n",
        file("archive")
    );
    fs::write(file("plinth.toml"), settings).unwrap();
    // Kept when all was still in the database.
    let size = eventually("the records are signed", async || {
        let size = filled.get("/v1/audit/log").await.ok()["trees"][0]["signed_size"].as_u64().unwrap();
        (size >= RECORDS as u64).then_some(size)
    })
    .await;
    fs::write(file("since"), filled.get("/v1/audit/log/0/checkpoint").await.text()).unwrap();
    let data = filled.data().to_owned();
    let folder = tempfile::tempdir().unwrap();
    filled
        .restart_after(|from| {
            for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
            for sub in ["keys", "audit-checkpoints"] {
                fs::create_dir(folder.path().join(sub)).unwrap();
                for entry in fs::read_dir(data.join(sub)).unwrap().map(Result::unwrap) {
                    fs::copy(entry.path(), folder.path().join(sub).join(entry.file_name())).unwrap();
                }
            }
        })
        .await
        .stop()
        .await;

    let host = HostProcess::start(folder.path(), &["--config", &file("plinth.toml")]).await;
    let tree = eventually("the segment is archived and pruned", async || {
        let tree = host.get("/v1/audit/log").await.ok()["trees"][0].clone();
        (tree["pruned_size"] == json!(65_536)).then_some(tree)
    })
    .await;
    assert_eq!((&tree["archived_size"], &tree["expired_size"]), (&json!(65_536), &json!(0)));
    append(&host, 3).await;
    signed(&host, size + 4).await;

    let metrics = eventually("the figures of the log are there", async || {
        let text = host.get("/metrics").await.text();
        text.contains("plinth_audit_pruned_records 65536").then_some(text)
    })
    .await;
    assert!(metrics.contains("plinth_audit_archived_records 65536") && metrics.contains("plinth_audit_failing 0"), "{metrics}");

    // Whoever asks sees one log.
    let record = host.get(&format!("/v1/audit/{}", ids[40_000])).await.ok();
    assert_eq!(record["sequence"], json!(40_000));
    assert_eq!(host.get(&format!("/v1/audit/{}/proof", ids[40_000])).await.status, 200);
    let mut found = 0;
    let mut cursor = String::new();
    loop {
        let page = host.get(&format!("/v1/audit?subject_kind=case&subject_id=77&limit=5{cursor}")).await.ok();
        found += page["records"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, 14);
    let lines = host.send(host.request(Method::GET, "/v1/audit/export?action=case&limit=1000")).await;
    assert_eq!(lines.text().lines().count(), RECORDS);
    let base = host.base().trim_end_matches('/').to_owned();
    let trust = plinth(words(&format!("audit trust --url {base}"))).await;
    fs::write(file("policy"), &trust.1).unwrap();
    let whole = format!("audit verify --url {base}/v1/audit/log/0 --trust {} --since {}", file("policy"), file("since"));
    ended(&plinth(words(&whole)).await, 0, "sound");
    host.stop().await;

    // The folder alone, without the host.
    let verify = format!("audit verify --archive {}/0 --trust {}", file("archive"), file("policy"));
    ended(&plinth(words(&verify)).await, 0, "65536 records");
    ended(&plinth(words(&format!("{verify} --since {}", file("since")))).await, 2, "at least");
    ended(&plinth(words(&verify.replace("/0 ", " "))).await, 3, "a folder for each epoch");
    ended(&plinth(words(&verify.replace("archive/0", "nowhere"))).await, 3, "no folder");
    let segment = files.path().join("archive/0/seg-0.jsonl.zst");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    ended(&plinth(words(&verify)).await, 1, "seg-0.jsonl.zst");
    fs::remove_file(&segment).unwrap();
    ended(&plinth(words(&verify)).await, 2, "seg-0.jsonl.zst");
    ended(&plinth(words(&format!("{verify} --dropped-below 1"))).await, 0, "sound");

    // Retention that would lose records is refused at the start.
    fs::write(file("bad.toml"), "[audit-log.retention]\nonline-days = 1\n").unwrap();
    ended(&plinth(words(&format!("serve --config {} --data {}", file("bad.toml"), file("empty")))).await, 2, "needs `audit-log.archive`");
}
