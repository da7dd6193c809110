//! Each check with an example that agrees, and with one place of it changed.

use super::*;
use crate::operations::example::COMPOSE;
use serde_json::json;
use std::collections::BTreeMap;

const FILE: &str = "kubernetes/all.yaml";

/// The smallest example without a problem.
fn example() -> Example {
    let probe = |path: &str, port: Value| json!({ "httpGet": { "path": path, "port": port } });
    let manifests = json!([
        { "kind": "Deployment", "spec": { "template": { "spec": {
            "terminationGracePeriodSeconds": 30,
            "securityContext": { "runAsUser": 10001 },
            "volumes": [{ "name": "config", "configMap": { "name": "plinth-config" } }, { "name": "data", "emptyDir": {} }],
            "containers": [{
                "ports": [{ "name": "http", "containerPort": 7300 }],
                "startupProbe": probe("/startupz", json!("http")),
                "livenessProbe": probe("/healthz", json!(7300)),
                "readinessProbe": probe("/readyz", json!("http")),
                "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
                "volumeMounts": [{ "mountPath": "/run/secrets" }],
            }],
        } } } },
        { "kind": "Service", "metadata": { "name": "plinth" }, "spec": {
            "selector": {},
            "ports": [{ "port": 80, "targetPort": "http" }],
        } },
        { "kind": "Service", "metadata": { "name": "redis" }, "spec": { "type": "ExternalName" } },
        { "kind": "Secret", "stringData": { "redis-password": "" } },
        { "kind": "NetworkPolicy", "spec": { "ingress": [{ "ports": [{ "port": 7300 }] }], "egress": [{ "ports": [{ "port": 6379 }] }] } },
    ]);
    let compose = json!({ "services": { "redis": { "image": "redis:7" }, "plinth-0": {
        "image": "plinth",
        "stop_grace_period": "20s",
        "secrets": ["redis-password"],
        "tmpfs": ["/tmp:uid=10001,gid=10001"],
        "healthcheck": { "test": ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7300 && printf 'GET /startupz HTTP/1.0'"] },
    } } });
    let kustomization = json!({ "resources": [FILE], "configMapGenerator": [{ "name": "plinth-config" }] });
    let files = BTreeMap::from([
        (FILE.to_owned(), manifests.as_array().unwrap().clone()),
        (COMPOSE.to_owned(), vec![compose]),
        (KUSTOMIZATION.to_owned(), vec![kustomization]),
    ]);
    Example {
        files,
        dockerfile: "FROM a\nUSER root\nFROM b\nUSER 10001:10001\nEXPOSE 7300\n\
            HEALTHCHECK CMD exec 3<>/dev/tcp/127.0.0.1/7300 && printf 'GET /healthz HTTP/1.0'\n"
            .to_owned(),
        nginx: "    server plinth-0:7300 max_fails=1;\n    server {\n".to_owned(),
        host: json!({
            "stop-ms": 15_000,
            "api": { "listen": "0.0.0.0:7300" },
            "cache": { "urls": ["redis://redis:6379"], "password-file": "/run/secrets/redis-password" },
        }),
        routes: ["/healthz", "/startupz", "/readyz"].map(str::to_owned).to_vec(),
    }
}

/// The example with the value at a place of a document replaced.
fn with(file: &str, document: usize, place: &str, value: Value) -> Example {
    let mut example = example();
    *example.files.get_mut(file).unwrap()[document].pointer_mut(place).unwrap() = value;
    example
}

#[track_caller]
fn finds(example: &Example, expected: &[&str]) {
    let found = all(example);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "`{found}` does not say `{expected}`");
    }
}

const CONTAINER: &str = "/spec/template/spec/containers/0";
const HOST: &str = "/services/plinth-0";

#[test]
fn an_example_that_agrees_has_no_problem() {
    finds(&example(), &[]);
}

#[test]
fn a_probe_asks_a_route_at_the_port() {
    let gone = with(FILE, 0, &format!("{CONTAINER}/readinessProbe/httpGet/path"), json!("/ready"));
    finds(&gone, &["readinessProbe asks `/ready`"]);
    finds(&with(FILE, 0, &format!("{CONTAINER}/livenessProbe/httpGet/port"), json!(7301)), &["livenessProbe asks another port"]);
    finds(&with(FILE, 0, &format!("{CONTAINER}/startupProbe"), Value::Null), &["no startupProbe"]);
    finds(&with(FILE, 0, CONTAINER.strip_suffix("/0").unwrap(), json!([])), &["no Deployment", "targetPort is not 7300"]);
    let lost = Example { dockerfile: example().dockerfile.replace("/healthz", "/health"), ..example() };
    finds(&lost, &["Dockerfile: the health check asks `/health`"]);
    finds(&with(COMPOSE, 0, &format!("{HOST}/healthcheck/test"), json!(["NONE"])), &["plinth-0: the health check asks ``", "another port"]);
}

#[test]
fn ports_are_the_one_that_is_listened_on() {
    finds(&with(FILE, 1, "/spec/ports/0/targetPort", json!("https")), &["targetPort is not 7300"]);
    finds(&with(FILE, 4, "/spec/ingress/0/ports/0/port", json!(80)), &["ingress is not 7300"]);
    let other = Example {
        dockerfile: example().dockerfile.replace("EXPOSE 7300", "EXPOSE 80"),
        nginx: example().nginx.replace(":7300", ":73"),
        ..example()
    };
    finds(&other, &["EXPOSE is not 7300", "nginx.conf: plinth-0 is not 7300"]);
}

#[test]
fn the_user_is_a_number_and_the_same() {
    for user in ["plinth", "0", "0:0"] {
        let named = Example { dockerfile: example().dockerfile.replace("10001:10001", user), ..example() };
        finds(&named, &["is not a number above 0"]);
    }
    finds(&with(FILE, 0, "/spec/template/spec/securityContext/runAsUser", json!(1000)), &["runAsUser is not"]);
    finds(&with(COMPOSE, 0, &format!("{HOST}/tmpfs/0"), json!("/tmp")), &["`/tmp` does not belong"]);
}

#[test]
fn stopping_has_the_time_it_needs() {
    finds(&with(FILE, 0, "/spec/template/spec/terminationGracePeriodSeconds", json!(20)), &["preStop takes 5 s"]);
    finds(&with(COMPOSE, 0, &format!("{HOST}/stop_grace_period"), json!("15s")), &["stop_grace_period"]);
}

#[test]
fn passwords_and_backends_are_there() {
    finds(&with(COMPOSE, 0, &format!("{HOST}/secrets"), json!([])), &["plinth-0 has no secret redis-password"]);
    finds(&with(FILE, 3, "/stringData", json!({})), &["secret.example.yaml: no redis-password"]);
    finds(&with(FILE, 0, &format!("{CONTAINER}/volumeMounts"), json!([])), &["nothing is mounted at /run/secrets"]);
    finds(&with(FILE, 2, "/metadata/name", json!("cache")), &["no Service redis"]);
    finds(&with(FILE, 4, "/spec/egress", json!([])), &["port 6379 of redis"]);
}

#[test]
fn what_is_applied_is_what_is_there() {
    finds(&with(KUSTOMIZATION, 0, "/resources", json!([])), &["leaves out kubernetes/all.yaml"]);
    finds(&with(KUSTOMIZATION, 0, "/resources", json!([FILE, TEMPLATE])), &["secret.example.yaml must not be applied"]);
    finds(&with(KUSTOMIZATION, 0, "/configMapGenerator", json!([])), &["nothing makes the ConfigMap plinth-config"]);
}
