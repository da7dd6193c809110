//! What no schema knows: that the files of the example agree with each other and with the host.

use super::example::{Example, KUSTOMIZATION, items, text};
use serde_json::Value;

/// The probes every host is asked with.
const PROBES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];
/// Where password files are, in containers and pods alike.
const SECRETS: &str = "/run/secrets";
/// Not applied with the others: it would overwrite real secrets.
const TEMPLATE: &str = "kubernetes/secret.example.yaml";

/// Everything that is wrong, as sentences that begin with the file.
pub(super) fn all(example: &Example) -> Vec<String> {
    let checks = [probes, health_checks, ports, users, times, passwords, backends, kustomization];
    checks.iter().flat_map(|check| check(example)).collect()
}

/// The containers of every Deployment, with the file and the pod they are in.
fn containers(example: &Example) -> Vec<(&str, &Value, &Value)> {
    let pods = example.of_kind("Deployment").filter_map(|(file, document)| Some((file, document.pointer("/spec/template/spec")?)));
    pods.flat_map(|(file, pod)| items(pod, "/containers").map(move |container| (file, pod, container))).collect()
}

/// A port as a manifest gives it: the number, or the name of a container's port.
fn number(port: Option<&Value>, container: &Value) -> Option<u64> {
    let port = port?;
    let named = || items(container, "/ports").find(|known| known.get("name") == Some(port))?.get("containerPort")?.as_u64();
    port.as_u64().or_else(named)
}

fn probes(example: &Example) -> Vec<String> {
    let mut problems = Vec::new();
    for (file, _, container) in containers(example) {
        for name in PROBES {
            let Some(asked) = container.pointer(&format!("/{name}/httpGet")) else {
                problems.push(format!("{file}: no {name} that asks over HTTP"));
                continue;
            };
            let path = text(asked, "/path");
            if !example.routes.iter().any(|route| route == path) {
                problems.push(format!("{file}: {name} asks `{path}`, which is no route of the host"));
            }
            if number(asked.get("port"), container) != example.port() {
                problems.push(format!("{file}: {name} asks another port than plinth.toml listens on"));
            }
        }
    }
    if problems.is_empty() && containers(example).is_empty() {
        problems.push("kubernetes: there is no Deployment with a container".to_owned());
    }
    problems
}

/// The image's and Compose's own, which are shell.
fn health_checks(example: &Example) -> Vec<String> {
    let image = example.dockerfile.split_once("\nHEALTHCHECK").map_or("", |(_, rest)| rest);
    let mut problems = health_check("Dockerfile", image, example);
    for (name, service) in example.compose_hosts() {
        let words: Vec<&str> = items(service, "/healthcheck/test").filter_map(Value::as_str).collect();
        problems.extend(health_check(&format!("compose.yaml: {name}"), &words.join(" "), example));
    }
    problems
}

fn health_check(place: &str, line: &str, example: &Example) -> Vec<String> {
    let path = line.split_once("GET ").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default();
    let port = line.split_once("/127.0.0.1/").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    let mut problems = Vec::new();
    if !example.routes.iter().any(|route| route == path) {
        problems.push(format!("{place}: the health check asks `{path}`, which is no route of the host"));
    }
    if port != example.port() {
        problems.push(format!("{place}: the health check asks another port than plinth.toml listens on"));
    }
    problems
}

/// Every place that names the port of a host, and what it says.
fn ports(example: &Example) -> Vec<String> {
    let Some(port) = example.port() else { return vec!["plinth.toml: api.listen has no port".to_owned()] };
    let containers = containers(example);
    let mut found = Vec::new();
    for (file, _, container) in &containers {
        let own = items(container, "/ports").map(|one| one.get("containerPort").and_then(Value::as_u64));
        found.extend(own.map(|number| (format!("{file}: containerPort"), number)));
    }
    // A Service without a selector leads elsewhere.
    for (file, service) in example.of_kind("Service").filter(|(_, service)| service.pointer("/spec/selector").is_some()) {
        let leads = items(service, "/spec/ports").map(|one| containers.iter().find_map(|(.., to)| number(one.get("targetPort"), to)));
        found.extend(leads.map(|number| (format!("{file}: targetPort"), number)));
    }
    for (file, policy) in example.of_kind("NetworkPolicy") {
        let open = items(policy, "/spec/ingress").flat_map(|rule| items(rule, "/ports"));
        found.extend(open.map(|one| (format!("{file}: ingress"), one.get("port").and_then(Value::as_u64))));
    }
    let exposed = example.dockerfile.lines().filter_map(|line| line.strip_prefix("EXPOSE "));
    found.extend(exposed.map(|number| ("Dockerfile: EXPOSE".to_owned(), number.trim().parse().ok())));
    let behind = example.nginx.lines().filter_map(|line| line.trim().strip_prefix("server "));
    let behind = behind.filter_map(|server| server.split([' ', ';']).next()?.split_once(':'));
    found.extend(behind.map(|(name, number)| (format!("compose/nginx.conf: {name}"), number.parse().ok())));
    found.into_iter().filter(|(_, number)| *number != Some(port)).map(|(place, _)| format!("{place} is not {port}")).collect()
}

/// A user that is a number and not root, the same in the image and wherever it is run.
fn users(example: &Example) -> Vec<String> {
    let last = example.dockerfile.lines().filter_map(|line| line.strip_prefix("USER ")).next_back().unwrap_or_default();
    let user = last.split(':').next().and_then(|user| user.trim().parse::<u64>().ok()).filter(|&user| user > 0);
    let Some(user) = user else { return vec![format!("Dockerfile: the user `{last}` is not a number above 0")] };
    let mut problems = Vec::new();
    for (file, pod, _) in containers(example) {
        if pod.pointer("/securityContext/runAsUser").and_then(Value::as_u64) != Some(user) {
            problems.push(format!("{file}: runAsUser is not the image's user {user}"));
        }
    }
    for (name, service) in example.compose_hosts() {
        let other = |mount: &&str| !mount.contains(&format!("uid={user},"));
        let mounts = items(service, "/tmpfs").filter_map(Value::as_str).filter(other);
        problems.extend(mounts.map(|mount| format!("compose.yaml: {name}: `{mount}` does not belong to the image's user {user}")));
    }
    problems
}

/// Whoever stops a host gives it longer than it takes.
fn times(example: &Example) -> Vec<String> {
    let Some(stop_ms) = example.stop_ms() else { return vec!["plinth.toml: no stop-ms".to_owned()] };
    let mut problems = Vec::new();
    for (file, pod, container) in containers(example) {
        let given = pod.get("terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(30);
        // Kubernetes counts it from before preStop.
        let before = container.pointer("/lifecycle/preStop/sleep/seconds").and_then(Value::as_u64).unwrap_or(0);
        if given.saturating_sub(before) * 1_000 <= stop_ms {
            problems.push(format!("{file}: of {given} s before a kill preStop takes {before} s, and a host may need {stop_ms} ms"));
        }
    }
    for (name, service) in example.compose_hosts() {
        let given = text(service, "/stop_grace_period").strip_suffix('s').and_then(|seconds| seconds.parse::<u64>().ok());
        // Docker's own default.
        if given.unwrap_or(10) * 1_000 <= stop_ms {
            problems.push(format!("compose.yaml: {name}: stop_grace_period is not above {stop_ms} ms, in seconds"));
        }
    }
    problems
}

/// Every password file of the host is there in containers and in pods.
fn passwords(example: &Example) -> Vec<String> {
    let mut problems = Vec::new();
    for file in example.password_files() {
        let Some(name) = file.strip_prefix(SECRETS).and_then(|rest| rest.strip_prefix('/')) else {
            problems.push(format!("plinth.toml: {file} is not below {SECRETS}"));
            continue;
        };
        for (host, service) in example.compose_hosts() {
            if !items(service, "/secrets").any(|secret| secret == name) {
                problems.push(format!("compose.yaml: {host} has no secret {name}"));
            }
        }
        if !example.of_kind("Secret").any(|(_, secret)| secret.pointer("/stringData").is_some_and(|data| data.get(name).is_some())) {
            problems.push(format!("{TEMPLATE}: no {name}"));
        }
    }
    for (file, _, container) in containers(example) {
        if !items(container, "/volumeMounts").any(|mount| text(mount, "/mountPath") == SECRETS) {
            problems.push(format!("{file}: nothing is mounted at {SECRETS}"));
        }
    }
    problems
}

/// Every backend of the host has its name in both worlds, and the way to it is open.
fn backends(example: &Example) -> Vec<String> {
    let mut problems = Vec::new();
    let named = |name: &str| example.of_kind("Service").any(|(_, service)| text(service, "/metadata/name") == name);
    let rules = || example.of_kind("NetworkPolicy").flat_map(|(_, policy)| items(policy, "/spec/egress"));
    for (name, port) in example.backends() {
        if example.compose().is_none_or(|compose| compose.get("services").is_none_or(|services| services.get(&name).is_none())) {
            problems.push(format!("compose.yaml: no service {name}, which plinth.toml names"));
        }
        if !named(&name) {
            problems.push(format!("kubernetes: no Service {name}, which plinth.toml names"));
        }
        if !rules().flat_map(|rule| items(rule, "/ports")).any(|open| open.get("port").and_then(Value::as_u64) == Some(port)) {
            problems.push(format!("kubernetes: no NetworkPolicy lets hosts out to port {port} of {name}"));
        }
    }
    problems
}

/// What is applied is what is there, with the configuration that the hosts mount.
fn kustomization(example: &Example) -> Vec<String> {
    let Some(document) = example.files.get(KUSTOMIZATION).and_then(|documents| documents.first()) else {
        return vec![format!("{KUSTOMIZATION}: is not there")];
    };
    let listed: Vec<&str> = items(document, "/resources").filter_map(Value::as_str).collect();
    let manifests = || example.files.keys().map(String::as_str).filter(|file| file.starts_with("kubernetes/") && *file != TEMPLATE);
    let forgotten = manifests().filter(|file| !listed.contains(file)).map(|file| format!("{KUSTOMIZATION}: leaves out {file}"));
    let missing = listed.iter().filter(|file| !manifests().any(|known| known == **file));
    let mut problems: Vec<String> =
        forgotten.chain(missing.map(|file| format!("{KUSTOMIZATION}: {file} must not be applied or is not there"))).collect();
    let made: Vec<&str> = items(document, "/configMapGenerator").map(|map| text(map, "/name")).collect();
    for (file, pod, _) in containers(example) {
        let mounted = items(pod, "/volumes").map(|volume| text(volume, "/configMap/name")).filter(|name| !name.is_empty());
        problems.extend(mounted.filter(|name| !made.contains(name)).map(|name| format!("{file}: nothing makes the ConfigMap {name}")));
    }
    problems
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
