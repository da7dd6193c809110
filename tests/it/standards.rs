//! Interfaces of others beside ours: what is written for them runs unchanged, under the same grants.

use plinth_capability::conformance::http::Server;
use plinth_tests::{Answer, HostProcess, Package, TestHost, eventually};
use reqwest::Method;
use toml::Value;

const OUTGOING: &str = "grants.http";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wasi_logging_goes_to_the_log_under_both_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(folder.path(), &[]).await;
    for name in ["wasi-logging", "wasi-logging-unversioned"] {
        host.installed(&Package::fixture(name)).await;
        eventually("the line is in the log", async || {
            let log = std::fs::read_to_string(folder.path().join("host.log")).unwrap();
            let said = |line: &&str| line.contains("said by wasi:logging") && line.contains("desk");
            let told = |line: &&str| line.contains(name) && line.contains("WARN");
            log.lines().filter(said).any(|line| told(&line)).then_some(())
        })
        .await;
        let without = Package::fixture(name).edit(|manifest| drop(manifest.remove("grants")));
        let answer = host.install(&without).await;
        answer.assert_problem(422, "preflight-failed");
        assert!(answer.why().contains("asks for wasi:logging/logging, not granted"), "{answer}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_wasmcloud_runs_unchanged() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("witness-wasmcloud")).await;
    for (asked, told) in [
        (
            "keyvalue",
            r#"2 5 [Some(("one", [49])), None] 1502 (false, None, Some([1])) 1 Err(Error::Other("a cursor that this call was not given"))"#,
        ),
        ("closed", "failed: Error::AccessDenied"),
        ("config", "good morning"),
        (
            "messaging",
            "no grant for destination `nobody-granted-this` | queues of this host have no replies; publish to `shipments` instead",
        ),
    ] {
        let answer = host.act("witness-wasmcloud", asked, b"").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, told), "{asked}");
    }
    for (grant, interface) in [("cache", "wasi:keyvalue/store"), ("queue", "wasmcloud:messaging/consumer")] {
        let without = Package::fixture("witness-wasmcloud").edit(|manifest| drop(manifest["grants"].as_table_mut().unwrap().remove(grant)));
        let answer = host.install(&without).await;
        answer.assert_problem(422, "preflight-failed");
        assert!(answer.why().contains(&format!("asks for {interface}, not granted")), "{answer}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_reach_a_handler_that_was_written_for_wasmcloud() {
    let host = TestHost::with("[queues.settings]\nmax-attempts = 2\nbackoff-ms = 10\n").await;
    host.installed(&Package::fixture("standards")).await;
    host.installed(&Package::fixture("witness-wasmcloud")).await;
    assert_eq!(host.act("witness-wasmcloud", "messaging", b"").await.status, 200);
    let expected = concat!(
        r#"standards Some("desk") -2 [("b", Some([50])), ("none", None)] 3 None lost to Some("by somebody else"), then true false "#,
        "Err(Error::AccessDenied) | Error::AccessDenied",
    );
    eventually("the handler has found what it looked for", async || {
        let found = host.act("witness-wasmcloud", "found", b"").await.text();
        (found == expected).then_some(())
    })
    .await;
    assert_eq!(host.act("witness-wasmcloud", "refused", b"").await.text(), "");
    eventually("an error is tried again and then a dead letter", async || {
        let page = host.get("/v1/queues/standards/dead-letters").await.ok();
        let letter = page["dead_letters"].as_array()?.first()?.clone();
        assert_eq!(letter["attempts"], 2, "{letter}");
        letter["last_error"].as_str()?.contains("not this one").then_some(())
    })
    .await;
    host.stop().await;
}

/// What the witness was told by the server at `url`.
async fn ask(host: &TestHost, method: Method, url: &str) -> String {
    let request = host.request(method, "/x/witness-wstd/").header("x-ask", url).body("and a body");
    let answer: Answer = host.send(request).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_wstd_asks_the_servers_that_it_was_granted() {
    let host = TestHost::start().await;
    let server = Server::start(Some("302 Found\r\nlocation: http://127.0.0.1:1/"), 0).await;
    let silent = Server::start(None, 0).await;
    let url = |server: &Server| format!("http://127.0.0.1:{}", server.port);
    let origins = |servers: &[&Server]| Value::Array(servers.iter().map(|server| url(server).into()).collect());
    let denied = Package::fixture("witness-wstd");
    host.installed(&denied).await;
    let asked = format!("{}/a?b=c", url(&server));
    assert!(ask(&host, Method::GET, &asked).await.contains("HttpRequestDenied"));

    // An operator sees whom it may ask, and who approves less gets less.
    let public = denied.with(OUTGOING, "origins", origins(&[&server, &silent]));
    let refused = host.install(&public.clone().unapproved()).await;
    assert!(refused.why().contains(&format!("http.origins: send requests to {}", url(&server))), "{refused}");
    host.installed(&public.clone().versioned("1.1.0")).await;
    assert!(ask(&host, Method::GET, &asked).await.contains("DestinationIpProhibited"));
    assert_eq!(server.connections() + silent.connections(), 0, "nobody came");

    host.installed(&public.clone().with(OUTGOING, "private-addresses", true).versioned("1.2.0")).await;
    let told = ask(&host, Method::PUT, &asked).await;
    assert!(told.starts_with("302 PUT /a?b=c HTTP/1.1") && told.ends_with("and a body"), "{told}");
    assert!(told.contains("x-said: by wstd"), "{told}");
    assert_eq!(server.connections(), 1, "a redirect is not followed");
    assert!(ask(&host, Method::GET, &url(&silent)).await.contains("HttpResponseTimeout"));
    assert!(ask(&host, Method::GET, "http://127.0.0.1:1/").await.contains("HttpRequestDenied"), "another port is another origin");
    for (outcome, count) in [("ok", 1.0), ("refused", 3.0), ("failed", 1.0)] {
        let labels = [("plugin", "witness-wstd"), ("capability", "http"), ("outcome", outcome)];
        assert_eq!(host.metric("plinth_host_calls_total", &labels).await, count, "{outcome}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_count_as_calls_and_end_with_the_call() {
    let host = TestHost::start().await;
    let silent = Server::start(None, 0).await;
    let url = format!("http://127.0.0.1:{}", silent.port);
    let package = Package::fixture("witness-wstd").with(OUTGOING, "origins", Value::Array(vec![url.clone().into()]));
    let package = package.with(OUTGOING, "private-addresses", true);
    host.installed(&package.clone().with("limits", "wall-ms", 100)).await;
    let request = host.request(Method::GET, "/x/witness-wstd/").header("x-ask", &url);
    host.send(request).await.assert_problem(504, "deadline");
    host.installed(&package.with("limits", "host-calls", 1).versioned("1.1.0")).await;
    assert!(ask(&host, Method::GET, &url).await.contains("HttpResponseTimeout"), "one is allowed");
    let before = silent.connections();
    let request = host.request(Method::GET, "/x/witness-wstd/").header("x-ask", &url).header("x-twice", "");
    let told = host.send(request).await.text();
    assert!(told.contains("more than 1 host calls, at http.send"), "{told}");
    assert_eq!(silent.connections(), before + 1, "the second is not sent");
    host.stop().await;
}
