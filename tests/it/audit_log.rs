//! The audit log as an outsider meets it: fetched over HTTP, verified by the command line, spoilt and found out.

use plinth_audit::tile::{new_bundles, new_tiles};
use plinth_tests::{HostProcess, binary, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// More than a tile and a bundle hold.
const RECORDS: usize = 300;
const LOG: &str = "/v1/audit/log/0";

pub(crate) async fn plinth(arguments: Vec<String>) -> (i32, String) {
    let run = move || -> Output { Command::new(binary()).args(&arguments).output().unwrap() };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said)
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[track_caller]
pub(crate) fn ended(found: &(i32, String), code: i32, text: &str) {
    assert!(found.0 == code && found.1.contains(text), "ended with {}, wanted {code} and `{text}`: {}", found.0, found.1);
}

pub(crate) async fn signed(host: &HostProcess, least: u64) -> u64 {
    eventually("the records are signed", async || {
        let size = host.get("/v1/audit/log").await.ok()["trees"][0]["signed_size"].as_u64().unwrap();
        (size >= least).then_some(size)
    })
    .await
}

async fn bytes(host: &HostProcess, path: &str) -> Vec<u8> {
    let answer = host.send(host.request(Method::GET, path)).await;
    assert_eq!(answer.status, 200, "{path}: {answer}");
    answer.body.to_vec()
}

/// The log as files, as any mirror of a tile log has them.
pub(crate) async fn mirror(host: &HostProcess, size: u64, folder: &Path) {
    let tiles = new_tiles(0, size).map(|id| id.path()).chain(new_bundles(0, size).map(|bundle| bundle.to_string()));
    for path in tiles.chain(["checkpoint".to_owned()]) {
        let file = folder.join(&path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes(host, &format!("{LOG}/{path}")).await).unwrap();
    }
}

pub(crate) async fn append(host: &HostProcess, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        let entry = json!({"action": "test.made", "subject": {"kind": "thing", "id": number.to_string()}, "summary": "做了"});
        let answer = host.post("/v1/audit", &entry).await;
        assert_eq!(answer.status, 201, "{answer}");
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_verified_by_whoever_has_its_key() {
    let data = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let host = HostProcess::start(data.path(), &[]).await;
    let ids = append(&host, RECORDS).await;
    let size = signed(&host, RECORDS as u64).await;
    let base = host.base().trim_end_matches('/').to_owned();
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();

    // The key is kept apart, and all the rest is checked with it.
    let trust = plinth(words(&format!("audit trust --url {base}"))).await;
    ended(&trust, 0, "log plinth-");
    fs::write(file("policy"), &trust.1).unwrap();
    let verify_url = format!("audit verify --url {base}{LOG} --trust {}", file("policy"));
    ended(&plinth(words(&verify_url)).await, 0, "sound");

    // One record's proof, taken away and checked without the host.
    let proof = host.get(&format!("/v1/audit/{}/proof", ids[260])).await;
    fs::write(file("proof"), proof.text()).unwrap();
    let bundle = bytes(&host, &format!("{LOG}/{}", new_bundles(0, size).nth(1).unwrap())).await;
    let record = nth_entry(&bundle, 4);
    assert_eq!(serde_json::from_slice::<Value>(&record).unwrap()["id"], json!(ids[260]));
    fs::write(file("record"), &record).unwrap();
    let check = format!("audit check-proof {} --trust {}", file("proof"), file("policy"));
    ended(&plinth(words(&format!("{check} --record {}", file("record")))).await, 0, "holds: record 260");
    fs::write(file("other"), String::from_utf8(record).unwrap().replace("thing", "thong")).unwrap();
    ended(&plinth(words(&format!("{check} --record {}", file("other")))).await, 1, "not in the checkpoint's tree");
    ended(&plinth(words(&check)).await, 3, "--record");

    // Later the log has grown from the checkpoint that was kept.
    fs::write(file("since"), bytes(&host, &format!("{LOG}/checkpoint")).await).unwrap();
    append(&host, 5).await;
    let size = signed(&host, size + 5).await;
    ended(&plinth(words(&format!("{verify_url} --since {}", file("since")))).await, 0, "sound");

    // A mirror is as good as the host, until somebody touches it.
    let log = files.path().join("log");
    mirror(&host, size, &log).await;
    host.stop().await;
    let verify = format!("audit verify --dir {} --trust {} --json", log.to_str().unwrap(), file("policy"));
    let sound = plinth(words(&verify)).await;
    ended(&sound, 0, "\"sound\": true");
    let bundle = log.join("tile/entries/000");
    let whole = fs::read(&bundle).unwrap();
    fs::write(&bundle, String::from_utf8_lossy(&whole).replacen("test.made", "test.fake", 1).as_bytes()).unwrap();
    let spoilt = plinth(words(&verify)).await;
    ended(&spoilt, 1, "\"leaf\"");
    assert!(spoilt.1.contains("\"record\": 0"), "which record is said: {}", spoilt.1);
    fs::remove_file(&bundle).unwrap();
    ended(&plinth(words(&verify)).await, 2, "tile/entries/000");
    ended(&plinth(words(&verify.replace("policy", "nothing"))).await, 3, "nothing");
    ended(&plinth(words("audit verify --nonsense")).await, 3, "--nonsense");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_log_is_taken_away_as_lines() {
    let data = tempfile::tempdir().unwrap();
    let host = HostProcess::start(data.path(), &[]).await;
    let ids = append(&host, 40).await;
    let exported = async |query: &str| -> Vec<Value> {
        let answer = host.get(&format!("/v1/audit/export{query}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-ndjson"));
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // In many reads and in one: every record once, oldest first, as the page shows it.
    let page = host.get("/v1/audit?action=test&limit=1000").await.ok()["records"].as_array().unwrap().clone();
    assert_eq!(page.iter().map(|record| record["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    for query in ["?action=test&limit=7", "?action=test&limit=40", "?action=test&limit=1000"] {
        assert_eq!(exported(query).await, page, "{query}");
    }
    assert_eq!(exported("?subject_id=7").await, [page[7].clone()]);
    assert_eq!(exported("?action=nothing").await, [] as [Value; 0]);
    for query in ["?limit=0", "?outcome=maybe", "?cursor=none"] {
        assert_eq!(host.get(&format!("/v1/audit/export{query}")).await.status, 400, "{query}");
    }
    let lines = plinth(words(&format!("audit export --action test --url {}", host.base()))).await;
    assert_eq!((lines.0, lines.1.lines().count()), (0, 40), "{}", lines.1);
    ended(&plinth(words(&format!("audit export --outcome maybe --url {}", host.base()))).await, 1, "outcome must be");
    host.stop().await;
}

/// An entry of a bundle: each has its length before it, in 16 bits.
fn nth_entry(bundle: &[u8], n: usize) -> Vec<u8> {
    let (mut at, mut left) = (0, n);
    loop {
        let length = usize::from(u16::from_be_bytes([bundle[at], bundle[at + 1]]));
        let entry = &bundle[at + 2..at + 2 + length];
        if left == 0 {
            return entry.to_vec();
        }
        (at, left) = (at + 2 + length, left - 1);
    }
}

/// All files of it, in place of those that are there.
pub(crate) fn copy_database(from: &Path, to: &Path) {
    for name in ["audit.db", "audit.db-wal", "audit.db-shm"] {
        let _gone = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_log_goes_on_in_a_new_tree() {
    let data = tempfile::tempdir().unwrap();
    let host = HostProcess::start(data.path(), &[]).await;
    append(&host, 3).await;
    signed(&host, 3).await;
    host.stop().await;
    let backup = tempfile::tempdir().unwrap();
    copy_database(data.path(), backup.path());
    let host = HostProcess::start(data.path(), &[]).await;
    append(&host, 2).await;
    signed(&host, 5).await;
    host.stop().await;
    copy_database(backup.path(), data.path());
    let host = HostProcess::start(data.path(), &[]).await;
    append(&host, 1).await;
    let trees = eventually("the new tree is signed", async || {
        let trees = host.get("/v1/audit/log").await.ok()["trees"].clone();
        (trees[1]["signed_size"].as_u64() >= Some(2)).then_some(trees)
    })
    .await;
    assert_eq!((&trees[0]["signed_size"], &trees[0]["sealed_size"], &trees[1]["first_sequence"]), (&json!(3), &json!(3), &json!(3)));
    let opened = host.audit("action=audit.epoch.opened").await;
    assert_eq!(opened.len(), 1);
    assert_eq!((&opened[0]["attributes"]["missing"], &opened[0]["actor"]), (&json!("2"), &json!("system")));
    // Each tree verifies under its own name.
    let base = host.base().trim_end_matches('/').to_owned();
    let policies = [0, 1].map(|epoch| backup.path().join(format!("policy-{epoch}")));
    for (epoch, policy) in policies.iter().enumerate() {
        let trust = plinth(words(&format!("audit trust --url {base} --epoch {epoch}"))).await;
        ended(&trust, 0, &format!("/{epoch}+"));
        fs::write(policy, &trust.1).unwrap();
        let verify = format!("audit verify --url {base}/v1/audit/log/{epoch} --trust {}", policy.to_str().unwrap());
        ended(&plinth(words(&verify)).await, 0, "sound");
    }
    // And each says truly where the one before ended.
    let log = |epoch: usize| format!("--url {base}/v1/audit/log/{epoch} --trust {}", policies[epoch].to_str().unwrap());
    ended(&plinth(words(&format!("audit verify {} {}", log(0), log(1)))).await, 0, "sound");
    ended(&plinth(words(&format!("audit verify {} {}", log(1), log(0)))).await, 1, "epoch");
    ended(&plinth(words(&format!("audit verify {} --url {base}/v1/audit/log/1", log(0)))).await, 3, "as many --trust");
    ended(&plinth(words(&format!("audit trust --url {base} --epoch 7"))).await, 1, "no tree");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_does_not_have_is_said_so() {
    let data = tempfile::tempdir().unwrap();
    let host = HostProcess::start(data.path(), &[]).await;
    signed(&host, 0).await;
    for (path, status, code) in [
        ("/v1/audit/log/9/checkpoint", 404, "not-found"),
        ("/v1/audit/log/0/tile/0/000", 404, "not-found"),
        ("/v1/audit/log/0/tile/0/00", 400, "invalid-input"),
        ("/v1/audit/log/0/consistency?from=2&to=1", 400, "invalid-input"),
        ("/v1/audit/log/0/consistency?from=0&to=1000", 400, "invalid-input"),
        ("/v1/audit/no-such-record/proof", 404, "not-found"),
    ] {
        let answer = host.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}: {answer}");
    }
    host.stop().await;
}
