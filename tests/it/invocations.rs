//! A call that failed can be asked about afterwards, over HTTP and on the command line.

use plinth_tests::{Package, TestHost, binary};
use serde_json::Value;
use std::process::Command;

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_call_did_last_is_kept() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave").with("limits", "wall-ms", 1_000)).await;
    let failed = async |behaviour: &str| {
        let answer = host.act("misbehave", behaviour, b"").await;
        let id = answer.header("plinth-invocation").to_owned();
        let report = host.get(&format!("/v1/invocations/{id}")).await.ok();
        assert_eq!((&report["id"], &report["plugin"], &report["hook"]), (&id.into(), &"misbehave".into(), &"http".into()), "{report:#}");
        assert!(report["digest"].as_str().unwrap().starts_with("sha256:") && report["generation"].as_u64() > Some(0), "{report:#}");
        report
    };

    let panicked = failed("panic").await;
    assert_eq!(panicked["outcome"], "trap");
    let functions: Vec<&str> = panicked["stack"].as_array().unwrap().iter().map(|frame| frame["function"].as_str().unwrap()).collect();
    assert!(functions.iter().any(|name| name.contains("panicking")), "the author's own names are in it: {functions:?}");
    assert!(texts(&panicked["log"]).iter().any(|line| line.starts_with("error: ") && line.contains("panicked")), "{panicked:#}");
    assert!(panicked["memory_bytes"].as_u64() > Some(65_535), "{panicked:#}");

    let waited = failed("sleep-host-call").await;
    assert_eq!(waited["outcome"], "deadline");
    assert_eq!(waited["stack"].as_array().unwrap().len(), 0, "it was the host's time that ran out");
    let calls: Vec<(&str, &str)> =
        waited["calls"].as_array().unwrap().iter().map(|c| (c["operation"].as_str().unwrap(), c["answer"].as_str().unwrap())).collect();
    assert!(calls.contains(&("database.begin", "ok")) && calls.len() as u64 == waited["calls_made"].as_u64().unwrap(), "{calls:?}");

    let looped = failed("infinite-loop").await;
    assert_eq!(looped["outcome"], "limit");
    assert!(!looped["stack"].as_array().unwrap().is_empty() && looped["cpu_us"].as_u64() > Some(100_000), "{looped:#}");

    let fine = host.act("misbehave", "echo", b"").await;
    assert_eq!(fine.status, 200);
    host.get(&format!("/v1/invocations/{}", fine.header("plinth-invocation"))).await.assert_problem(404, "not-found");
    host.get("/v1/invocations?limit=0").await.assert_problem(400, "invalid-input");
    host.get("/v1/invocations?plugin=No+Name").await.assert_problem(400, "invalid-input");

    let list = host.get("/v1/invocations?plugin=misbehave&limit=2").await.ok();
    let ids: Vec<&Value> = list["invocations"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, [&looped["id"], &waited["id"]], "the newest first");

    let plinth = |arguments: &[&str]| {
        let output = Command::new(binary()).arg("invocation").args(arguments).args(["--url", host.base()]).output().unwrap();
        (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let (code, shown) = plinth(&["show", panicked["id"].as_str().unwrap()]);
    assert_eq!(code, Some(0), "{shown}");
    for text in ["http of misbehave", ": trap", "stack, innermost first:", "panicking", "last log lines:", "panicked"] {
        assert!(shown.contains(text), "`{text}` is not told: {shown}");
    }
    let (code, listed) = plinth(&["list", "--plugin", "misbehave"]);
    assert!(code == Some(0) && listed.contains(panicked["id"].as_str().unwrap()) && listed.contains("deadline"), "{listed}");
    let (code, missing) = plinth(&["show", "none"]);
    assert!(code == Some(1) && missing.contains("no failed call with this id is kept"), "{missing}");
    host.stop().await;
}
