//! What must not be loaded: broken bytes, wrong manifests, changed files, more than was approved.

use plinth_tests::{Package, TestHost, seeded};
use rand::Rng;
use serde_json::json;
use std::time::{Duration, Instant};

/// How a component that is not right may be refused.
const REFUSED: [&str; 4] = ["component-invalid", "compile-failed", "preflight-failed", "probe-failed"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_cut_short_is_refused() {
    let host = TestHost::start().await;
    let whole = Package::fixture("misbehave");
    let size = whole.component.len();
    for length in [0, 1, 4, 7, 8, 9, 64, size / 4, size / 2, size - 1_000, size - 1] {
        let mut cut = whole.clone();
        cut.component.truncate(length);
        let answer = host.install(&cut).await;
        assert!(REFUSED.contains(&answer.code().as_str()), "{length} of {size} bytes: {answer}");
        assert!(!answer.why().is_empty(), "{length}: {answer}");
    }
    host.installed(&whole).await;
    host.stop().await;
}

/// Nothing that a bit can do to a component panics or hangs the host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_neither_panic_nor_hang() {
    let mut rng = seeded("flipped bits", rand::random());
    let host = TestHost::with("[api]\nload-timeout-ms = 30000").await;
    let small = ["healthy", "sick", "two-memories", "table-bomb", "newer-minor-usable"];
    let mut loaded = 0;
    for round in 0..200 {
        let name = if round % 20 == 0 { "misbehave" } else { small[round % small.len()] };
        let mut package = Package::fixture(name);
        let at = rng.random_range(0..package.component.len());
        let bit = rng.random_range(0..8);
        package.component[at] ^= 1 << bit;
        let answer = host.upload(&package, "&dry_run=true").await;
        match answer.status {
            200 => loaded += 1,
            _ => assert!(REFUSED.contains(&answer.code().as_str()), "{name}, bit {bit} of byte {at}: {answer}"),
        }
        host.assert_alive().await;
    }
    eprintln!("{loaded} of 200 changed components still load");
    assert!(loaded < 200, "no bit mattered, so nothing was tested");
    assert_eq!(host.get("/v1/plugins").await.ok()["plugins"], json!([]), "a dry run installed something");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_component_or_too_large_is_refused() {
    let host = TestHost::with("[plugins]\ncomponent-max-bytes = 100000").await;
    let refused = async |bytes: &[u8], status, code, text: &str| {
        let answer = host.install(&Package::of("strange", bytes.to_vec())).await;
        answer.assert_problem(status, code);
        assert!(answer.why().contains(text), "{answer}");
    };
    refused(b"\0asm\x01\0\0\0", 422, "component-invalid", "a core module, not a component").await;
    refused(b"#!/bin/sh\n", 422, "component-invalid", "not WebAssembly").await;
    refused(&Package::fixture("misbehave").component, 413, "component-too-large", "at most 100000").await;
    host.stop().await;
}

/// Ten megabytes that compile for seconds: the child is stopped, the host answers all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compile_bomb_costs_a_child_and_nothing_else() {
    let bomb = Package::of("bomb", plinth_guest_build::compile_bomb(60).unwrap());
    let limits = [("compile-timeout-ms = 700", "not done after 700 ms"), ("compile-memory-bytes = 100000000", "")];
    for (limit, text) in limits {
        let host = TestHost::with(&format!("[plugins]\n{limit}")).await;
        let began = Instant::now();
        let mut slowest = Duration::ZERO;
        let client = (*host).clone();
        let mut install = std::pin::pin!(client.install(&bomb));
        let answer = loop {
            let asked = Instant::now();
            tokio::select! {
                answer = &mut install => break answer,
                () = host.assert_alive() => slowest = slowest.max(asked.elapsed()),
            }
        };
        answer.assert_problem(422, "compile-failed");
        assert!(answer.why().contains(text), "{limit}: {answer}");
        eprintln!("{limit}: refused after {:?}, slowest /healthz meanwhile {slowest:?}", began.elapsed());
        assert!(slowest < Duration::from_secs(1), "{limit}: the host was silent for {slowest:?}");
        host.installed(&Package::fixture("healthy")).await;
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_of_manifest_and_configuration_is_told_at_once() {
    let host = TestHost::start().await;
    let manifest = Package::fixture("misbehave")
        .with("limits", "cpu-ms", 0)
        .with("limits", "handles", 1_000_000)
        .with("grants.queue.again", "queue", "misbehave")
        .with("hooks.http", "methods", vec!["get"])
        .edit(|manifest| manifest["hooks"]["scheduled-job"][0]["cron"] = "every day".into());
    let answer = host.install(&manifest).await;
    answer.assert_problem(422, "manifest-invalid");
    let wanted = ["limits.cpu-ms", "limits.handles", "grants.queue.again", "`get`", "every day"];
    assert_eq!(answer.json()["problems"].as_array().unwrap().len(), wanted.len(), "{answer}");
    for text in wanted {
        assert!(answer.why().contains(text), "`{text}` is not told: {answer}");
    }
    for broken in ["", "name = 1", "name = 'a'", "name = 'A B'\nversion = '1.0.0'", "name = 'a'\nversion = '1.0.0'\nunknown = 1"] {
        let package = Package { manifest: broken.to_owned(), ..Package::of("a", Vec::new()) };
        host.install(&package).await.assert_problem(422, "manifest-invalid");
    }
    let mut config = Package::plugin("applications");
    config.config = Some(json!({"cache-ttl-ms": 0, "unknown": 1}));
    let answer = host.install(&config).await;
    answer.assert_problem(422, "config-invalid");
    assert!(answer.why().contains("config.cache-ttl-ms") && answer.why().contains("unknown"), "{answer}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_has_one_content() {
    let host = TestHost::start().await;
    let first = host.installed(&Package::fixture("misbehave")).await;
    let other = Package::fixture("misbehave").marked("other");
    host.install(&other).await.assert_problem(409, "version-taken");
    assert_eq!(host.slot("misbehave").await["digest"], first["digest"]);
    host.installed(&other.versioned("1.0.1")).await;
    host.stop().await;
}

/// Code on disk is believed only as the host wrote it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampered_code_is_compiled_anew() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    let code = |data: &std::path::Path| {
        let files: Vec<_> = std::fs::read_dir(data.join("code")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    };
    let path = code(host.data());
    let good = std::fs::read(&path).unwrap();
    // In the machine code, in the authenticator, and a file that is too short for one.
    let bad = [good.len() / 2, 5].map(|at| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    });
    let mut host = host;
    for bad in bad.into_iter().chain([vec![0; 7], Vec::new()]) {
        host = host.restart_after(|_| std::fs::write(&path, &bad).unwrap()).await;
        assert_eq!(host.act("misbehave", "echo", b"well").await.text(), "well");
        assert_eq!(code(host.data()), path);
        let now = std::fs::read(&path).unwrap();
        assert!(now != bad && now.len() > 1_000, "the tampered file is still there");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_grants_need_another_approval() {
    let host = TestHost::start().await;
    host.installed(&Package::fixture("misbehave")).await;
    let more = Package::fixture("misbehave").marked("more").versioned("1.1.0").with("grants.cache.second", "scope", "own").unapproved();
    let answer = host.install(&more).await;
    answer.assert_problem(403, "grants-not-approved");
    assert_eq!(answer.json()["problems"], json!(["cache.second: Own ReadWrite"]), "only what is new");
    assert_eq!(host.slot("misbehave").await["version"], "1.0.0");
    let same = Package::fixture("misbehave").marked("same").versioned("1.1.0").unapproved();
    assert_eq!(host.installed(&same).await["replaced"], "1.0.0");
    host.stop().await;
}
