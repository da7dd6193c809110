//! The probes: what they say in each phase, and that they do not flood the backends.

use super::{
    Host,
    doubles::{DatabasesDouble, Doubles},
    request,
};
use crate::{config::ApiConfig, readiness::HostPhase};
use serde_json::json;
use std::sync::{Arc, atomic::Ordering};

#[tokio::test]
async fn each_phase_has_its_answers() {
    let host = Host::starting(Doubles::default(), ApiConfig::default());
    let table = [(HostPhase::Starting, [200, 503, 503]), (HostPhase::Ready, [200, 200, 200]), (HostPhase::Stopping, [200, 200, 503])];
    for (phase, expected) in table {
        host.readiness.set(phase);
        let mut statuses = Vec::new();
        for uri in ["/healthz", "/startupz", "/readyz"] {
            statuses.push(host.get(uri).await.status.as_u16());
        }
        assert_eq!(statuses, expected, "{phase:?}");
    }
}

#[tokio::test]
async fn a_starting_host_says_how_far_it_is_and_serves_nothing_else() {
    let host = Host::starting(Doubles::default(), ApiConfig::default());
    assert_eq!(host.get("/startupz").await.problem(503, "starting").detail, "1 of 2 plugins are back");
    assert_eq!(host.get("/metrics").await.status, 200);
    for uri in ["/v1/queues", "/v1/metrics", "/openapi.json", "/nowhere", "/x/desk"] {
        host.get(uri).await.problem(503, "starting");
    }
    host.send(request("GET", "/metrics", &[("host", "evil.example")], "")).await.problem(421, "foreign-host");
    host.readiness.set(HostPhase::Stopping);
    host.readiness.set(HostPhase::Ready);
    assert_eq!(host.get("/readyz").await.status, 503, "a host that is told to stop does not become ready");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_is_named_and_the_host_stays_ready() {
    let databases = Arc::new(DatabasesDouble { hangs: true, ..DatabasesDouble::default() });
    let host = Host::over(Doubles { databases, ..Doubles::default() }, ApiConfig::default());
    host.readiness.set(HostPhase::Ready);
    let ready = host.get("/readyz").await.json();
    assert_eq!((&ready["ready"], &ready["degraded"], &ready["slots"]), (&json!(true), &json!(true), &json!([])));
    let names: Vec<_> =
        ready["backends"].as_array().unwrap().iter().map(|b| (b["name"].as_str().unwrap(), b["ok"].as_bool().unwrap())).collect();
    let others = [("audit", true), ("audit-persons", true), ("audit-log", true), ("state", true)];
    assert_eq!(names, [[("cache", true), ("queue", true), ("database", false)].as_slice(), &others].concat());
    assert_eq!(ready["backends"][2]["reason"], "no answer within 1000 ms");
}

#[tokio::test(start_paused = true)]
async fn many_probes_are_one_to_the_backends() {
    let host = Host::new();
    futures::future::join_all((0..50).map(|_| host.get("/readyz"))).await;
    let asked = || host.doubles.databases.asked.load(Ordering::Relaxed);
    assert_eq!(asked(), 1);
    tokio::time::advance(std::time::Duration::from_millis(1_001)).await;
    host.get("/readyz").await;
    assert_eq!(asked(), 2);
}
