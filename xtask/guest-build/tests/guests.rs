//! The guests of this workspace, built for real: what each imports and exports
//! is what an operator grants, so it is written down here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use plinth_guest_build::{Built, Kind, Profile, Surface, build_all, build_plugin, ensure_toolchain, surface};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn built() -> BTreeMap<String, Built> {
    build_all(&root()).unwrap().into_iter().map(|built| (built.name.clone(), built)).collect()
}

fn surface_of(built: &BTreeMap<String, Built>, name: &str) -> Surface {
    surface(&std::fs::read(&built[name].component).unwrap()).unwrap()
}

/// Checks the exports and imports of one guest against lists of short names.
#[track_caller]
fn check(built: &BTreeMap<String, Built>, name: &str, exports: &[&str], imports: &[&str]) {
    let short = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().map(|n| n.split('@').next().unwrap().trim_start_matches("plinth:").to_owned()).collect()
    };
    let wanted = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    let surface = surface_of(built, name);
    assert_eq!(short(&surface.exports), wanted(exports), "exports of {name}");
    assert_eq!(short(&surface.imports), wanted(imports), "imports of {name}");
}

const HTTP: [&str; 2] = ["wasi:http/types", "wasi:io/streams"];

#[test]
fn a_guest_imports_what_it_calls_and_exports_what_it_declares() {
    let built = built();
    check(&built, "hello", &["hooks/event-listener"], &["log/log"]);
    check(&built, "review-rules-v1", &["hooks/decision", "hooks/health"], &[]);
    check(&built, "review-rules-v2", &["hooks/decision", "hooks/health"], &["wasi:config/store"]);
    let reactor = ["audit/writer", "cache/buckets", "cache/tags", "log/log", "metrics/instruments", "queue/publisher"];
    check(&built, "status-reactor", &["hooks/event-listener"], &reactor);
    let escalation =
        ["audit/writer", "cache/buckets", "database/sql", "log/log", "metrics/instruments", "queue/publisher", "wasi:config/store"];
    check(&built, "escalation", &["hooks/lifecycle", "hooks/scheduled-job", "hooks/task-handler"], &escalation);
    let mut applications = vec!["cache/buckets", "cache/tags", "context/clock", "database/sql", "log/log", "metrics/instruments"];
    applications.extend(["outbox/outbox", "secrets/keys", "wasi:config/store"]);
    applications.extend(HTTP);
    check(&built, "applications", &["hooks/lifecycle", "wasi:http/incoming-handler"], &applications);
}

#[test]
fn every_guest_is_there_with_its_manifest() {
    let built = built();
    for one in built.values() {
        let manifest = std::fs::read_to_string(one.manifest.as_ref().unwrap()).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        assert!(manifest.contains_key("version"), "{}", one.name);
        let folder = if one.kind == Kind::Plugin { "target/plugins" } else { "target/fixtures" };
        assert!(one.component.starts_with(root().join(folder)), "{}", one.name);
        surface(&std::fs::read(&one.component).unwrap()).unwrap();
    }
    for name in ["misbehave", "misbehave-overask", "misbehave-lifecycle-trap", "start-loop", "table-bomb", "two-memories", "sick"] {
        assert_eq!(built[name].kind, Kind::Fixture, "{name}");
    }
    assert_ne!(
        std::fs::read(&built["review-rules-v1"].component).unwrap(),
        std::fs::read(&built["review-rules-v2"].component).unwrap(),
        "two versions from one crate"
    );
    assert!(surface_of(&built, "misbehave-lifecycle-trap").exports.contains("plinth:hooks/lifecycle@1.0.0"));
    assert!(!surface_of(&built, "misbehave").exports.contains("plinth:hooks/lifecycle@1.0.0"));
}

#[test]
fn building_again_changes_nothing_and_callers_may_race() {
    let first = built();
    let times = |built: &BTreeMap<String, Built>| -> Vec<_> {
        built.values().map(|b| std::fs::metadata(&b.component).unwrap().modified().unwrap()).collect()
    };
    let before = times(&first);
    let racing: Vec<_> = (0..4).map(|_| std::thread::spawn(built)).collect();
    for thread in racing {
        assert_eq!(times(&thread.join().unwrap()), before);
    }
}

/// A plugin outside of this workspace, as a user's is.
#[test]
fn a_plugin_of_its_own_workspace_builds() {
    built();
    let folder = tempfile::tempdir().unwrap();
    let example = root().join("examples/hello");
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::copy(example.join("src/lib.rs"), folder.path().join("src/lib.rs")).unwrap();
    let manifest = format!(
        "[package]\nname = \"apart\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[lib]\ncrate-type = [\"cdylib\"]\n\
         [dependencies]\nplinth-sdk = {{ path = {:?} }}\n",
        root().join("plugins/sdk")
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    // Dependencies are the same, so they need not be compiled a second time.
    let target_dir = root().join("target/guests");
    let component = build_plugin(&ensure_toolchain().unwrap(), folder.path(), Profile::Plugin, Some(&target_dir)).unwrap();
    let surface = surface(&component).unwrap();
    assert_eq!(surface.imports, BTreeSet::from(["plinth:log/log@1.0.0".to_owned()]));
}
