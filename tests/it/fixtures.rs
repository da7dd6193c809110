//! Each fixture is loaded as it is, and ends as its row says: it answers, or it is refused with the reason.

use plinth_tests::{Load, Neighbour, Package, TestHost, package};
use std::collections::BTreeSet;

enum Expect {
    /// Installed; the notices together contain this.
    Loads(&'static str),
    /// Status, code, and what the text must say.
    Refused(u16, &'static str, &'static [&'static str]),
}
use Expect::{Loads, Refused};

const FIXTURES: &[(&str, Expect)] = &[
    ("bench-backends", Loads("")),
    ("bench-cache", Loads("")),
    ("bench-listener", Loads("")),
    ("bench-v1", Loads("")),
    ("bench-v2", Loads("")),
    ("changed-type", Refused(422, "preflight-failed", &["plinth:context/clock@1.0.0", "rebuild the plugin"])),
    ("healthy", Loads("")),
    ("misbehave", Loads("")),
    ("misbehave-lifecycle-trap", Refused(422, "probe-failed", &["lifecycle.activate", "trapped"])),
    (
        "misbehave-overask",
        Refused(
            422,
            "manifest-invalid",
            &["limits.memory-bytes", "limits.cpu-ms", "limits.wall-ms", "limits.host-calls", "limits.concurrency"],
        ),
    ),
    ("misbehave-slow-start", Refused(422, "probe-failed", &["lifecycle.activate", "hit a limit", "CPU"])),
    ("newer-hook", Refused(422, "preflight-failed", &["exports plinth:hooks/health@2.0.0", "this host calls 1.0.0"])),
    ("newer-minor", Refused(422, "preflight-failed", &["plinth:context@1.9.0", "now-ns", "Update the host, or rebuild"])),
    ("newer-minor-usable", Loads("built against plinth:context/clock@1.9.0")),
    ("no-hooks", Refused(422, "preflight-failed", &["exports no hook"])),
    ("seats", Loads("")),
    ("sick", Refused(422, "probe-failed", &["health.check", "sick: not well today"])),
    ("standards", Loads("")),
    ("start-loop", Refused(422, "probe-failed", &["hit a limit", "CPU"])),
    ("table-bomb", Refused(422, "probe-failed", &["hit a limit"])),
    ("two-memories", Refused(422, "probe-failed", &["hit a limit", "memory"])),
    ("wasi-logging", Loads("")),
    ("wasi-logging-unversioned", Loads("")),
    ("witness-wasmcloud", Loads("")),
    ("witness-wstd", Loads("")),
    ("wrong-major", Refused(422, "preflight-failed", &["needs plinth:cache@2", "this host offers 1.0.0"])),
    ("wrong-world", Refused(422, "preflight-failed", &["unknown capability acme:foo"])),
];

#[test]
fn every_fixture_has_a_row_and_every_row_a_fixture() {
    let rows: BTreeSet<String> = FIXTURES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(rows, package::fixtures().into_iter().collect::<BTreeSet<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fixture_ends_as_its_row_says() {
    let host = TestHost::start().await;
    let neighbour: Load = Neighbour::start(&host, 50).await;
    for (name, expect) in FIXTURES {
        let mut package = Package::fixture(name);
        if !matches!(expect, Refused(_, "manifest-invalid", _)) {
            // On a busy machine a CPU limit is reached late: the wall must be far behind it.
            package = package.with("limits", "wall-ms", 30_000);
        }
        let before = host.get("/v1/plugins").await.ok()["generation"].clone();
        let answer = host.install(&package).await;
        match expect {
            Loads(notice) => {
                let change = answer.ok();
                assert!(change["notices"].to_string().contains(notice), "{name}: {change}");
                assert_eq!(host.slot(&package.name()).await["state"], "live", "{name}");
                assert_eq!(host.delete(&format!("/v1/plugins/{}", package.name())).await.status, 200, "{name}");
            }
            Refused(status, code, texts) => {
                answer.assert_problem(*status, code);
                for text in *texts {
                    assert!(answer.why().contains(text), "{name} does not say `{text}`: {answer}");
                }
                host.get(&format!("/v1/plugins/{}", package.name())).await.assert_problem(404, "no-such-plugin");
                assert_eq!(host.get("/v1/plugins").await.ok()["generation"], before, "{name} changed something");
            }
        }
        host.assert_alive().await;
    }
    neighbour.stop().await.assert_unharmed();
    host.stop().await;
}
