//! `plinth plugin test`: cases come as they say, and every way of not coming so is told.

use plinth_tests::{binary, root};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn test(language: &str, component: &Path, cases: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["plugin", "test"]).arg(root().join("examples").join(language));
    command.arg("--component").arg(component).arg("--cases").arg(cases).args(more).output().unwrap()
}

fn desk() -> PathBuf {
    root().join("target/plugins/order-desk-rust.wasm")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What every desk does when things go wrong beside it.
#[track_caller]
fn keeps_its_books(language: &str, component: &Path) {
    let output = test(language, component, &root().join("examples/order-desk-trial.toml"), &[]);
    assert_eq!(output.status.code(), Some(0), "{language}: {}", said(&output));
    assert!(said(&output).contains("9 cases, 0 failed"), "{}", said(&output));
}

#[test]
fn the_desk_in_rust_keeps_its_books() {
    keeps_its_books("rust", &desk());
}

#[cfg(feature = "languages")]
mod alone {
    use super::{keeps_its_books, root};

    #[test]
    fn every_desk_keeps_its_books() {
        for language in ["javascript", "python", "go", "c"] {
            keeps_its_books(language, &root().join(format!("examples/{language}/build/order-desk-{language}.wasm")));
        }
    }
}

#[test]
fn results_are_also_for_machines() {
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("junit.xml");
    let cases = root().join("examples/order-desk-trial.toml");
    let output = test("rust", &desk(), &cases, &["--json", "--junit", junit.to_str().unwrap()]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["cases"].as_array().unwrap().len(), 9);
    assert!(told["cases"].as_array().unwrap().iter().all(|case| case["ok"] == true), "{told:#}");
    let commit = &told["coverage"]["reached"]["database.commit"];
    assert!(commit["calls"].as_u64() > Some(2) && commit["errors"] == serde_json::json!(["outcome-unknown"]), "{told:#}");
    let never = told["coverage"]["never_failed"].as_array().unwrap();
    assert!(never.contains(&Value::from("audit.write")) && !never.contains(&Value::from("outbox.publish")), "{told:#}");
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains(r#"tests="9""#) && xml.contains(r#"failures="0""#) && xml.contains("the answer to the commit is lost"), "{xml}");
}

const PLACED: &str = "when.event = { topic = 'orders.placed', payload.json = { order = 'O-1', amount_cents = 1 } }\n";
const ASKED: &str = "when.decision = { point = 'order.allow', payload.json = { amount_cents = 5 } }\n";
/// What comes of the first.
const CAME: &str = "then.messages.shipments = [{ order = 'O-1', amount_cents = 1 }]\nthen.audit = [{ action = 'order.placed' }]\n";

#[test]
fn what_comes_otherwise_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.toml");
    let audit = "then.audit = [{ action = 'order.placed' }]\n";
    let messages = "then.messages.shipments = [{ order = 'O-1', amount_cents = 1 }]\n";
    let rows: [(&str, String, &str); 19] = [
        ("outcome", format!("{PLACED}{CAME}then.outcome = 'retry'"), "outcome: expected retry, and it was ok"),
        (
            "other outcome",
            PLACED.replace("amount_cents", "cents") + "then.outcome = 'retry'",
            "outcome: expected retry, and the plugin answered",
        ),
        (
            "code",
            PLACED.replace("amount_cents", "cents") + "then.outcome = 'reject'\nthen.code = 'x'",
            "code: expected `x`, found `bad-event`",
        ),
        ("message", PLACED.replace("amount_cents", "cents") + "then.outcome = 'reject'\nthen.message = 'xyz'", "message: expected `xyz`"),
        ("verdict", format!("{ASKED}then.verdict = 'deny'"), "verdict: expected deny, and it was allow"),
        (
            "reason",
            format!("{}then.verdict = 'hold'\nthen.reason.code = 'other'", ASKED.replace('5', "100000")),
            "reason.code: expected \"other\", found \"review\"",
        ),
        ("a message that is not expected", format!("{PLACED}{audit}"), "messages: one came that is not expected"),
        ("no message", format!("{PLACED}{audit}then.messages.shipments = []"), "messages.shipments: expected 0, found 1"),
        (
            "another message",
            format!("{PLACED}{audit}then.messages.shipments = [{{ order = 'O-2', amount_cents = 1 }}]"),
            "messages.shipments[0].order: expected \"O-2\", found \"O-1\"",
        ),
        ("a record that is not expected", format!("{PLACED}{messages}"), "audit: expected 0 records, found 1"),
        (
            "another record",
            format!("{PLACED}{messages}then.audit = [{{ action = 'order.placed', attributes = {{ a = '1' }} }}]"),
            "audit[0].attributes: has `amount-cents`, which is not expected",
        ),
        ("metric", format!("{PLACED}{CAME}then.metrics.orders_placed_total = 2"), "`orders_placed_total` should rise by 2, and rose by 1"),
        ("cache", format!("{PLACED}{CAME}then.cache.desk = {{ last = 'O-2' }}"), "cache.desk.last: expected \"O-2\", found \"O-1\""),
        ("cache, not there", format!("{PLACED}{CAME}then.cache.desk = {{ other = 'O-2' }}"), "cache.desk.other: is not there"),
        ("cache, there", format!("{PLACED}{CAME}then.cache.desk = {{ last = false }}"), "cache.desk.last: should not be there, and is O-1"),
        (
            "rows",
            format!("{PLACED}{CAME}then.rows = [{{ database = 'orders', query = 'select id from orders', rows = [] }}]"),
            "rows of `select id from orders`: expected [], found [[\"O-1\"]]",
        ),
        ("calls", format!("{ASKED}then.verdict = 'allow'\nthen.calls = ['cache.get']"), "calls: expected [\"cache.get\"]"),
        ("log", format!("{PLACED}{CAME}then.log = ['nothing of the kind']"), "log: no line has `nothing of the kind`"),
        (
            "a fault that nothing meets",
            format!("{ASKED}then.verdict = 'allow'\n[[case.fault]]\nat = 'queue.publish'\nerror = 'timeout'"),
            "the fault at `queue.publish` was not reached: 0 such calls were made",
        ),
    ];
    let text: String = rows.iter().map(|(name, case, _)| format!("[[case]]\nname = \"{name}\"\n{case}\n\n")).collect();
    std::fs::write(&file, text).unwrap();
    let output = test("rust", &desk(), &file, &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for ((name, _, problem), case) in rows.iter().zip(told["cases"].as_array().unwrap()) {
        assert_eq!(case["name"], *name);
        let [said] = case["problems"].as_array().unwrap().as_slice() else { panic!("{name} has one problem: {case:#}") };
        assert!(said.as_str().unwrap().contains(problem), "{name} does not say `{problem}`: {said}");
    }
}

/// A case of a component that asks what its caller names.
fn asking(url: &str, more: &str) -> String {
    format!("when.http = {{ method = 'GET', path = '/', headers = {{ x-ask = '{url}' }} }}\n{more}\n")
}

#[test]
fn servers_outside_are_played_too() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = |ending: &str| root().join("target/fixtures/witness-wstd").with_extension(ending);
    let manifest = std::fs::read_to_string(fixture("toml")).unwrap();
    std::fs::write(folder.path().join("plugin.toml"), format!("{manifest}\n[grants.http]\norigins = ['https://api.example.org']\n"))
        .unwrap();
    std::fs::create_dir(folder.path().join("cases")).unwrap();
    let given = "given.http = [{ request = 'GET https://api.example.org/v1', status = 404, body.text = 'no such thing' }]\n";
    let url = "https://api.example.org/v1";
    let sent = "then.requests = ['GET https://api.example.org/v1']\n";
    let rows: [(&str, String, Option<&str>); 8] = [
        ("answered", asking(url, &format!("{given}{sent}then.http = {{ status = 200, body.text = '404 no such thing' }}")), None),
        ("its headers", asking(url, &format!("{given}then.requests = [{{ request = 'GET {url}', headers.x-said = 'by wstd' }}]")), None),
        ("its calls", asking(url, &format!("{given}then.calls = ['http.send']")), None),
        (
            "broken",
            asking(url, &format!("{given}then.calls = ['http.send: timeout']\n[[case.fault]]\nat = 'http.send'\nerror = 'timeout'")),
            None,
        ),
        ("not given", asking(url, &format!("{sent}then.calls = ['http.send: unavailable']")), None),
        ("not granted", asking("https://other.example.org/", "then.requests = []\nthen.calls = ['http.send: denied']"), None),
        ("another request", asking(url, &format!("{given}then.requests = []")), Some("requests: expected []")),
        (
            "another header",
            asking(url, &format!("{given}then.requests = [{{ request = 'GET {url}', headers.x-said = 'by us' }}]")),
            Some("header x-said: expected `by us`"),
        ),
    ];
    let text: String = rows.iter().map(|(name, case, _)| format!("[[case]]\nname = \"{name}\"\n{case}\n")).collect();
    std::fs::write(folder.path().join("cases/outside.toml"), text).unwrap();
    let mut command = Command::new(binary());
    command.args(["plugin", "test", "--json", "--component"]).arg(fixture("wasm")).arg(folder.path());
    let output = command.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    for ((name, _, problem), case) in rows.iter().zip(told["cases"].as_array().unwrap()) {
        let problems: Vec<&str> = case["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        match problem {
            None => assert!(problems.is_empty(), "{name}: {problems:#?}"),
            Some(problem) => assert!(problems.len() == 1 && problems[0].contains(problem), "{name}: {problems:#?}"),
        }
    }
}

#[test]
fn a_file_that_is_no_file_of_cases_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.toml");
    let case = |text: &str| format!("[[case]]\nname = 'c'\n{text}");
    for (text, problem) in [
        ("not toml".to_owned(), "no file of cases"),
        ("[[case]]\nname = 'c'".to_owned(), "when"),
        (case(&format!("{ASKED}then.verdicts = 'allow'")), "unknown field `verdicts`"),
        (case("when.event = { topic = 't' }\nwhen.job = { name = 'j' }"), "when"),
        (case(&format!("{ASKED}then.verdict = 'perhaps'")), "not `perhaps`"),
        (case(ASKED), "then.verdict is missing"),
        (case(&format!("{PLACED}then.code = 'x'")), "then.code is of the outcome reject"),
        (case(&format!("{PLACED}then.http.status = 200")), "then.http is of a request"),
        (case(&format!("{PLACED}[[case.fault]]\nat = 'cache'")), "needs `error`, `delay-ms` or `lost-ack`"),
        (case(&format!("{PLACED}[[case.fault]]\nat = 'cache'\nerror = 'tired'")), "has the error `tired`; known are not-found"),
        (case(&format!("{PLACED}[[case.fault]]\nat = 'cache.fetch'\nerror = 'timeout'")), "there is no capability call `cache.fetch`"),
        (case("when.event = { topic = 't', payload = { text = 'a', json = 1 } }"), "one of `json`, `text` and `base64`"),
        (case(&format!("given.clock = 1969-01-01\n{PLACED}")), "given.clock"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let output = test("rust", &desk(), &file, &[]);
        assert_eq!(output.status.code(), Some(2), "{text}: {}", said(&output));
        assert!(said(&output).contains(problem), "`{text}` is not refused with `{problem}`: {}", said(&output));
    }
    let nothing = test("rust", &desk(), folder.path(), &["--only", "no such case"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", said(&nothing));
    std::fs::write(&file, format!("given.cache.other = {{ a = 'b' }}\n{}then.verdict = 'allow'", case(ASKED))).unwrap();
    let output = test("rust", &desk(), &file, &[]);
    assert!(output.status.code() == Some(1) && said(&output).contains("no grant for cache `other`"), "{}", said(&output));
}

#[test]
fn a_plugin_that_no_host_would_take_has_no_cases() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("none.wasm");
    std::fs::write(&component, "none").unwrap();
    let output = test("rust", &component, &root().join("examples/order-desk-trial.toml"), &[]);
    assert!(output.status.code() == Some(1) && said(&output).contains("not WebAssembly"), "{}", said(&output));
    let missing = test("rust", &folder.path().join("absent.wasm"), &root().join("examples/order-desk-trial.toml"), &[]);
    assert!(missing.status.code() == Some(2) && said(&missing).contains("plinth plugin build"), "{}", said(&missing));
}
