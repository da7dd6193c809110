//! Plugins that take too much: each call ends in a typed outcome, and nobody else notices.

use plinth_tests::{Client, HostProcess, Load, Neighbour, Package, TestHost};

/// What of the manifest's limits a row changes.
type Limits = &'static [(&'static str, i64)];

struct Row {
    behaviour: &'static str,
    limits: Limits,
    status: u16,
    code: &'static str,
    /// In the answer's text; of a success, in its body.
    text: &'static str,
}

const fn row(behaviour: &'static str, status: u16, code: &'static str, text: &'static str) -> Row {
    Row { behaviour, limits: &[], status, code, text }
}

impl Row {
    const fn with(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

/// A call that uses this much CPU before its time is over never meets its CPU limit.
const PATIENT: Limits = &[("cpu-ms", 10_000), ("wall-ms", 300)];

/// The default, where a row is about it; others get more, since on a busy machine even a fresh page is dear.
const CPU: Limits = &[("cpu-ms", 200)];

const ROWS: &[Row] = &[
    // time
    row("infinite-loop", 503, "limit", "more CPU time than 200 ms").with(CPU),
    row("nested-loop", 503, "limit", "more CPU time than 200 ms").with(CPU),
    row("memory-copy-loop", 503, "limit", "more CPU time than 200 ms").with(CPU),
    row("infinite-loop", 504, "deadline", "").with(PATIENT),
    row("memory-copy-loop", 504, "deadline", "").with(PATIENT),
    row("long-statement", 504, "deadline", "").with(&[("wall-ms", 500)]),
    row("sleep-host-call", 504, "deadline", "").with(&[("wall-ms", 500)]),
    row("spin:5", 200, "", ""),
    // memory and stack
    row("memory-bomb", 503, "limit", "more memory than memory-bytes allows"),
    row("memory-bomb", 503, "limit", "more memory").with(&[("memory-bytes", 4 << 20)]),
    row("deep-recursion", 502, "trap", ""),
    row("big-argument:128", 503, "limit", "more memory than memory-bytes allows"),
    row("big-argument:16", 503, "limit", "more bytes in one host call than argument-bytes allows"),
    row("big-log:16", 503, "limit", "more bytes in one host call than argument-bytes allows"),
    row("huge-result:8", 503, "limit", "a response body over 4194304 bytes"),
    row("huge-result:128", 503, "limit", "more memory"),
    row("huge-error:8", 503, "limit", "a response body over 4194304 bytes"),
    row("huge-code:8", 503, "limit", "a response body over 4194304 bytes"),
    row("huge-retry:8", 503, "limit", "a response body over 4194304 bytes"),
    // counts
    row("handle-flood", 503, "limit", "more handles than allowed"),
    // Each cursor holds one of the few connections that read its own database.
    row("cursor-flood", 503, "retry", "the database is busy"),
    row("host-call-flood", 503, "limit", "more than 1000 host calls, at cache."),
    row("host-call-flood:900", 200, "", ""),
    row("log-flood", 503, "limit", "host calls"),
    row("log-flood:900", 200, "", "").with(&[("log-bytes", 4_096)]),
    row("metric-flood:300", 200, "", ""),
    // ends of its own
    row("trap", 502, "trap", ""),
    row("panic", 502, "trap", ""),
    row("guest-error-retry", 503, "retry", "asked to fail for now"),
    row("guest-error-reject", 422, "asked-to", "asked to fail for good"),
    row("echo", 200, "", "body"),
];

/// What one row changed of the manifest, installed under a name of its own.
fn package(number: usize, row: &Row) -> Package {
    // Guests that compute for long give way to everything else on the machine,
    // so on a busy one a CPU limit is reached late: the wall must be far behind it.
    let mut package =
        Package::fixture("misbehave").named(&format!("row-{number}")).with("limits", "wall-ms", 30_000).with("limits", "cpu-ms", 5_000);
    for (limit, value) in row.limits {
        package = package.with("limits", limit, *value);
    }
    // Nobody but the neighbour listens, so that rows cannot wake each other.
    package.edit(|manifest| drop(manifest.get_mut("hooks").and_then(toml::Value::as_table_mut).map(|h| h.remove("scheduled-job"))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_excess_ends_in_its_outcome() {
    let host = TestHost::start().await;
    let neighbour: Load = Neighbour::start(&host, 50).await;
    for (number, row) in ROWS.iter().enumerate() {
        let package = package(number, row);
        let name = package.name();
        host.installed(&package).await;
        let answer = host.act(&name, row.behaviour, b"body").await;
        assert_eq!((answer.status, answer.code().as_str()), (row.status, row.code), "{}: {answer}", row.behaviour);
        let text = answer.text();
        assert!(text.contains(row.text), "{} does not say `{}`: {text}", row.behaviour, row.text);
        assert_eq!(answer.header("plinth-plugin"), name, "{}", row.behaviour);
        // The next call finds a plugin that knows nothing of the last one.
        assert_eq!(host.act(&name, "echo", b"after").await.text(), "after", "{}", row.behaviour);
        counted(&host, &name, row).await;
        host.assert_alive().await;
        host.delete(&format!("/v1/plugins/{name}")).await.ok();
    }
    neighbour.stop().await.assert_unharmed();
    host.stop().await;
}

/// The outcome is counted, and so is what was dropped without one.
async fn counted(host: &Client, name: &str, row: &Row) {
    let outcome = match row.code {
        "limit" | "deadline" | "trap" => row.code,
        _ => "ok",
    };
    let labels = [("plugin", name), ("hook", "http"), ("outcome", outcome)];
    assert!(host.metric("plinth_hook_calls_total", &labels).await >= 1.0, "{}: {outcome} is not counted", row.behaviour);
    if row.behaviour == "log-flood:900" {
        // 4 KiB hold about a hundred of the lines.
        assert!(host.metric("plinth_plugin_log_lines_dropped_total", &[("plugin", name)]).await >= 700.0);
    }
    if row.behaviour == "metric-flood:300" {
        assert_eq!(host.metric("plinth_plugin_metrics_rejected_total", &[("plugin", name)]).await, 100.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_leaves_open_is_undone() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    for _ in 0..3 {
        assert_eq!(host.act("misbehave", "transaction-open", b"").await.text(), "0", "an open transaction outlived its call");
    }
    // It holds the only writer, so the second of its own transactions cannot begin.
    let answer = host.act("misbehave", "transaction-flood", b"").await;
    assert!(matches!(answer.code().as_str(), "retry" | "deadline" | "limit"), "{answer}");
    assert_eq!(host.act("misbehave", "transaction-open", b"").await.text(), "0");
    host.stop().await;
}

/// Bombs in a process of its own, where memory can be told apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_leave_no_memory_behind() {
    let data = tempfile::tempdir().unwrap();
    let host = HostProcess::start(data.path(), &[]).await;
    host.installed(&Package::fixture("misbehave").with("limits", "wall-ms", 30_000)).await;
    let volley = async || {
        for behaviour in ["memory-bomb", "big-argument:32", "huge-result:16", "memory-copy-loop"] {
            let calls = (0..8).map(|_| host.act("misbehave", behaviour, b""));
            for answer in futures::future::join_all(calls).await {
                assert_eq!(answer.code(), "limit", "{behaviour}: {answer}");
            }
        }
        host.resident_bytes()
    };
    // The first volley fills the pools that are kept; from then on nothing may grow.
    let first = volley().await;
    let mut last = first;
    for _ in 0..4 {
        last = volley().await;
    }
    eprintln!("resident after the first volley {} MiB, after five {} MiB", first >> 20, last >> 20);
    assert!(last < first + (64 << 20), "memory grows with each volley: from {first} to {last} bytes");
    assert!(last < 512 << 20, "{last} bytes are resident after the bombs");
    host.stop().await;
}
