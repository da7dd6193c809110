//! What is said of a person: nowhere in clear, opened by whoever may, and closed for good when she is erased.

use crate::audit_log::{ended, plinth, signed, words};
use plinth_tests::{HostProcess, Package, eventually};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

const PERSON: &str = "person-4711";
const PHONE: &str = "+86-10-5550117";

/// The first file below a folder that has the text in it.
fn somewhere(folder: &Path, text: &str) -> Option<PathBuf> {
    let within = |path: &Path| fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| match path.is_dir() {
        true => somewhere(&path, text),
        false => within(&path).then_some(path),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_erased_and_the_log_still_verifies() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("plinth.toml"), format!("[api]\nlisten = \"127.0.0.1:0\"\n[audit-log.persons]\nfolder = \"{}\"\n", file("keys")))
        .unwrap();
    let host = HostProcess::start(data.path(), &["--config", &file("plinth.toml")]).await;
    let base = host.base().trim_end_matches('/').to_owned();
    host.installed(&Package::fixture("misbehave")).await;

    // Over HTTP, by a plugin, and with a plugin's transaction.
    let entry = json!({"action": "case.opened", "subject": {"kind": "case", "id": "9"},
        "personal": {"person": PERSON, "fields": {"phone": PHONE}}});
    let answer = host.post("/v1/audit", &entry).await;
    assert_eq!(answer.status, 201, "{answer}");
    let mut ids = vec![answer.json()["id"].as_str().unwrap().to_owned()];
    for behaviour in ["personal", "personal-outbox"] {
        let answer = host.act("misbehave", behaviour, format!("{PERSON} {PHONE}").as_bytes()).await;
        assert_eq!(answer.status, 200, "{behaviour}: {answer}");
        ids.push(answer.text());
    }
    for id in &ids {
        let record = eventually("the record is in the log", async || {
            let answer = host.get(&format!("/v1/audit/{id}")).await;
            (answer.status == 200).then(|| answer.json())
        })
        .await;
        assert_eq!((&record["sealed"][0]["f"], &record["sealed"][0]["alg"]), (&json!("phone"), &json!("A256GCM")), "{record}");
        let opened = plinth(words(&format!("audit open {id} --reason case-9 --url {base}"))).await;
        ended(&opened, 0, &format!("phone: {PHONE}"));
    }
    assert_eq!(host.audit("action=audit.personal.opened").await.len(), 3);
    for clear in [PERSON, PHONE] {
        for folder in [data.path(), files.path()] {
            assert_eq!(somewhere(folder, clear), None, "{clear}");
        }
    }
    assert!(somewhere(data.path(), "case.opened").is_some(), "what is looked for would be found");

    let trust = plinth(words(&format!("audit trust --url {base}"))).await;
    fs::write(file("policy"), &trust.1).unwrap();
    let verify = format!("audit verify --url {base}/v1/audit/log/0 --trust {}", file("policy"));
    signed(&host, ids.len() as u64 + 3).await;
    ended(&plinth(words(&verify)).await, 0, "sound");

    let erase = format!("audit erase {PERSON} --reason asked-for-it --url {base}");
    ended(&plinth(words(&erase)).await, 0, "erased; record");
    ended(&plinth(words(&erase)).await, 0, "no key to destroy");
    for id in &ids {
        host.post(&format!("/v1/audit/{id}/personal"), &json!({"reason": "case-9"})).await.assert_problem(410, "erased");
    }
    let erased = host.audit("action=subject.erased").await;
    assert_eq!(erased.len(), 1);
    assert!(erased[0]["subject"]["id"].as_str().unwrap().starts_with('~'), "{}", erased[0]);
    assert_eq!(erased[0]["attributes"]["reason"], "asked-for-it");
    signed(&host, erased[0]["sequence"].as_u64().unwrap() + 1).await;
    ended(&plinth(words(&verify)).await, 0, "sound");
    assert_eq!(somewhere(data.path(), PERSON), None);
    host.stop().await;

    // Without its keys a host that knows of them does not start and begin others.
    fs::remove_dir_all(file("keys")).unwrap();
    let started = HostProcess::try_start_with(data.path(), &["--config", &file("plinth.toml")], &[]).await;
    assert!(started.is_none() && !Path::new(&file("keys")).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_keys_takes_nothing_personal() {
    let host = plinth_tests::TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    let entry = json!({"action": "a.b", "subject": {"kind": "k", "id": "1"}, "personal": {"person": PERSON, "fields": {"phone": PHONE}}});
    host.post("/v1/audit", &entry).await.assert_problem(403, "denied");
    for behaviour in ["personal", "personal-outbox"] {
        let answer = host.act("misbehave", behaviour, PERSON.as_bytes()).await;
        assert!(answer.status == 422 && answer.text().contains("audit-log.persons"), "{answer}");
    }
    host.post("/v1/audit/persons/erase", &json!({"person": PERSON, "reason": "r"})).await.assert_problem(403, "denied");
    assert!(host.audit("action=a").await.is_empty());
    host.stop().await;
}
