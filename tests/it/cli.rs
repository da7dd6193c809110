//! The command line, as the binary that users run.

use plinth_tests::{HostProcess, Package, binary, root};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Output},
};

fn plinth(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

/// Exit code and what was said on either stream.
#[track_caller]
fn check(arguments: &[&str], code: i32, text: &str) -> String {
    let output = plinth(arguments);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(text), "{arguments:?} does not say `{text}`: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn configurations_are_checked_before_a_host_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plinth.toml");
    for (text, code, said) in [
        ("", 0, "good"),
        ("[log]\njson = true", 0, "good"),
        ("unknown = 1", 2, "unknown"),
        ("[api]\nlisten = '0.0.0.0:7300'", 2, "api.keys must not be empty"),
        ("[cache]\nbackend = 'none'", 2, "none"),
        ("stop-ms = 0", 2, "stop-ms must not be zero"),
        ("[queue]\nbackend = 'embedded'\n[queues.named]\n'events/a' = { max-attempts = 1 }\nmail = { backoff-ms = 0 }", 0, "good"),
        ("[queue]\nbackend = 'embedded'\n[queues.settings]\nmax-attempts = 0", 2, "queues.settings: max-attempts must not be zero"),
        ("[queue]\nbackend = 'embedded'\n[queues.named]\nmail = { max-depth = 0 }", 2, "queues.named.\"mail\": max-depth must not be zero"),
        (
            "[queue]\nbackend = 'embedded'\n[queues.named]\nmail = { backoff-ms = 60001 }",
            2,
            "queues.named.\"mail\": backoff-ms = 60001 is over backoff-max-ms = 60000",
        ),
        ("[queue]\nbackend = 'embedded'\n[queues.named]\nmail = { lease-ms = 1 }", 2, "lease-ms"),
        ("[queue]\nbackend = 'embedded'\n[queues.named]\n'No Name' = { max-attempts = 1 }", 2, "No Name"),
        ("not toml", 2, ""),
    ] {
        std::fs::write(&file, text).unwrap();
        check(&["config", "check", path(&file)], code, said);
    }
    check(&["config", "check", "/nowhere/plinth.toml"], 2, "could not read");
    let reference = check(&["config", "reference"], 0, "[engine]");
    std::fs::write(&file, reference).unwrap();
    check(&["config", "check", path(&file)], 0, "good");
}

#[test]
fn a_host_does_not_open_itself_to_the_network_without_keys() {
    let folder = tempfile::tempdir().unwrap();
    check(&["serve", "--data", path(folder.path()), "--listen", "0.0.0.0:0"], 2, "api.keys must not be empty");
}

#[test]
fn the_document_is_printed_as_json() {
    let document: Value = serde_json::from_str(&check(&["openapi"], 0, "/v1/plugins")).unwrap();
    assert!(document["paths"].as_object().unwrap().len() > 15);
    check(&["no-such-command"], 2, "no-such-command");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_data_folder_has_one_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(folder.path(), &[]).await;
    let data = path(folder.path()).to_owned();
    let second = move || check(&["serve", "--data", &data, "--listen", "127.0.0.1:0"], 1, "another host uses the data folder");
    tokio::task::spawn_blocking(second).await.unwrap();
    host.assert_alive().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugins_life_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(folder.path(), &[]).await;
    host.installed(&Package::fixture("misbehave")).await;
    let url = host.base().to_owned();
    let walk = move || {
        let file = |name: &str| root().join("target/plugins").join(name).display().to_string();
        let (one, one_toml) = (file("review-rules-v1.wasm"), file("review-rules-v1.toml"));
        let (two, two_toml) = (file("review-rules-v2.wasm"), file("review-rules-v2.toml"));
        let to = |arguments: &[&str], code, text: &str| check(&[arguments, &["--url", &url]].concat(), code, text);
        check(&["plugin", "check", &one, &one_toml], 0, "good");
        check(&["plugin", "check", &one, "/nowhere.toml"], 2, "/nowhere.toml");
        let fixture = |name: &str| root().join("target/fixtures").join(name).display().to_string();
        check(&["plugin", "check", &fixture("wrong-world.wasm"), &fixture("wrong-world.toml")], 1, "unknown capability acme:foo");
        to(&["plugin", "install", &file("applications.wasm"), &file("applications.toml")], 1, "secrets.keys: use key applicants");
        to(&["plugin", "install", &one, &one_toml], 0, "review-rules 1.0.0 answers now");
        to(&["plugin", "install", &two, &two_toml], 0, "was 1.0.0");
        to(&["plugin", "list"], 0, "review-rules");
        let shown: Value = serde_json::from_str(&to(&["plugin", "show", "review-rules", "--json"], 0, "")).unwrap();
        assert_eq!(shown["version"], "2.0.0");
        to(&["plugin", "rollback", "review-rules"], 0, "review-rules 1.0.0 answers now");
        to(&["plugin", "remove", "review-rules"], 0, "removed");
        to(&["plugin", "show", "review-rules"], 1, "no-such-plugin");
        to(&["audit", "query", "--limit", "5"], 0, "sequence");
        check(&["plugin", "list", "--url", "http://127.0.0.1:1"], 3, "is the host running?");
        check(&["plugin", "list", "--url", "nonsense"], 2, "nonsense");
    };
    tokio::task::spawn_blocking(walk).await.unwrap();
    host.stop().await;
}

#[test]
fn a_component_is_inspected_without_a_host() {
    let one = root().join("target/plugins/review-rules-v1.wasm");
    let text = check(&["plugin", "inspect", path(&one)], 0, "plinth:hooks/decision@1.0.0");
    assert!(text.contains("processed-by: rustc") && text.contains("wit-bindgen-rust"), "{text}");
    let found: Value = serde_json::from_str(&check(&["plugin", "inspect", path(&one), "--json"], 0, "")).unwrap();
    assert_eq!(found["sizes"]["whole"], std::fs::metadata(&one).unwrap().len());
    assert!(text.starts_with(found["digest"].as_str().unwrap()), "{text}");
    check(&["plugin", "inspect", "/nowhere.wasm"], 2, "/nowhere.wasm");
    let toml = one.with_extension("toml");
    check(&["plugin", "inspect", path(&toml)], 1, "not WebAssembly");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(folder.path(), &[]).await;
    host.installed(&Package::fixture("misbehave")).await;
    for id in ["one", "two", "three", "four"] {
        let task = json!({"payload": id, "routing_key": "guest-error-reject", "message_id": id});
        assert_eq!(host.post("/v1/tasks/misbehave", &task).await.status, 202);
    }
    for id in ["one", "two", "three", "four"] {
        host.dead_letter("misbehave", id).await;
    }
    let url = host.base().to_owned();
    let walk = move || {
        let to = |arguments: &[&str], code, text: &str| check(&[&["queue"][..], arguments, &["--url", &url]].concat(), code, text);
        let read = |arguments: &[&str]| serde_json::from_str::<Value>(&to(&[arguments, &["--json"]].concat(), 0, "")).unwrap();
        to(&["list"], 0, "events/misbehave");
        to(&["depth", "misbehave"], 0, "in flight");
        assert_eq!(read(&["depth", "misbehave"])["depth"]["dead"], 4);
        to(&["depth", "nowhere"], 1, "not-found");
        to(&["dead", "misbehave"], 0, "rejected");
        to(&["dead", "misbehave", "--limit", "3"], 0, "more: a higher --limit");
        let some = read(&["dead", "misbehave", "--limit", "2", "--reason", "rejected"]);
        assert_eq!((some["dead_letters"].as_array().unwrap().len(), &some["more"]), (2, &json!(true)));
        let none = read(&["dead", "misbehave", "--reason", "expired"]);
        assert_eq!(none, json!({"dead_letters": [], "more": false}));
        to(&["purge", "misbehave"], 2, "--all");
        to(&["purge", "misbehave", "--id", "one", "--id", "never"], 0, "1 dead letter of misbehave forgotten");
        to(&["purge", "misbehave", "--reason", "rejected", "--died-before", "1d"], 0, "0 dead letters");
        to(&["replay", "misbehave", "--reason", "expired"], 0, "0 dead letters");
        to(&["purge", "misbehave", "--reason", "rejected", "--died-after", "1d"], 0, "3 dead letters of misbehave forgotten");
        assert_eq!(read(&["depth", "misbehave"])["depth"]["dead"], 0);
        to(&["replay", "misbehave", "--all"], 0, "0 dead letters put back into misbehave");
    };
    tokio::task::spawn_blocking(walk).await.unwrap();
    host.stop().await;
}
