//! Interfaces of others beside ours: what is written for them runs unchanged, under the same grants.

use plinth_tests::{HostProcess, Package, eventually};

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
