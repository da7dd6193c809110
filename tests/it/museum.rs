//! Components that were built against earlier versions of the contract load and answer as they did.

use plinth_tests::{Package, TestHost, eventually, root};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Every component that is kept, oldest version first.
fn exhibits() -> Vec<(String, Package)> {
    let mut folders: Vec<PathBuf> = entries(&root().join("tests/museum"));
    folders.retain(|path| path.is_dir());
    let mut found = Vec::new();
    for folder in folders {
        let mut manifests = entries(&folder);
        manifests.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        assert!(manifests.len() >= 2, "{} has a component in Rust and one in JavaScript", folder.display());
        for path in manifests {
            let packed = std::fs::read(path.with_extension("wasm.zst")).unwrap();
            let component = zstd::decode_all(packed.as_slice()).unwrap();
            let manifest = std::fs::read_to_string(&path).unwrap();
            found.push((path.display().to_string(), Package { component, manifest, config: None, approve: true }));
        }
    }
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_built_before_still_answers() {
    let host = TestHost::start().await;
    for (path, package) in exhibits() {
        let name = package.name();
        let package = package.with("limits", "wall-ms", 30_000).with("limits", "cpu-ms", 5_000);
        eprintln!("{path}");
        host.installed(&package).await;
        for (amount, verdict) in [(5, "allow"), (100_000, "hold"), (1_000_001, "deny")] {
            let question = json!({"subject": "O-1", "payload": {"amount_cents": amount}});
            let answer = host.post("/v1/decisions/order.allow", &question).await.ok();
            assert_eq!(answer["verdict"], verdict, "{path}: {answer}");
        }
        host.event("orders.placed", &name, "O-1", &json!({"order": "O-1", "amount_cents": 5})).await;
        let placed = format!("{}_orders_placed_total", name.replace('-', "_"));
        // The last of what it does: row, message, record and cache come before.
        let counted = async || (host.metric(&placed, &[]).await == 1.0).then_some(());
        eventually(&format!("{path} has placed an order"), counted).await;
        host.delete(&format!("/v1/plugins/{name}")).await.ok();
    }
    host.stop().await;
}
