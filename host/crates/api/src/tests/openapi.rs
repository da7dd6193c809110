//! The document is complete: every route is in it, and each says what it takes and answers.

use super::{Host, request};
use crate::openapi::document;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn operations() -> Vec<(String, String, Map<String, Value>)> {
    let document = serde_json::to_value(document()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| METHODS.contains(&method.as_str())) {
            operations.push((method.to_uppercase(), path.clone(), operation.as_object().unwrap().clone()));
        }
    }
    operations
}

#[test]
fn the_document_lists_every_route() {
    let found: BTreeSet<_> = operations().into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let expected = "
        GET /healthz|GET /startupz|GET /readyz|GET /metrics|GET /openapi.json
        POST /v1/plugins|GET /v1/plugins|GET /v1/plugins/{plugin}|DELETE /v1/plugins/{plugin}
        GET /v1/plugins/{plugin}/versions|POST /v1/plugins/{plugin}/rollback|POST /v1/plugins/{plugin}/swap
        POST /v1/events|POST /v1/decisions/{point}|POST /v1/tasks/{queue}
        GET /v1/cache/{namespace}/{bucket}/entries/{key}|PUT /v1/cache/{namespace}/{bucket}/entries/{key}
        DELETE /v1/cache/{namespace}/{bucket}/entries/{key}|POST /v1/cache/{namespace}/{bucket}/touch
        POST /v1/cache/{namespace}/{bucket}/batch|POST /v1/cache/{namespace}/{bucket}/invalidate
        GET /v1/queues|GET /v1/queues/{queue}|GET /v1/queues/{queue}/dead-letters|POST /v1/queues/{queue}/replay
        DELETE /v1/queues/{queue}/dead-letters
        GET /v1/fleet|GET /v1/invocations|GET /v1/invocations/{id}
        POST /v1/audit|GET /v1/audit|GET /v1/audit/{id}|GET /v1/audit/{id}/proof|GET /v1/metrics
        GET /v1/audit/log|GET /v1/audit/log/{epoch}/checkpoint|GET /v1/audit/log/{epoch}/tile/{path}
        GET /v1/audit/log/{epoch}/consistency|GET /v1/audit/export
        POST /v1/audit/{id}/personal|POST /v1/audit/persons/erase
        GET /x/{plugin}/{path}|POST /x/{plugin}/{path}|PUT /x/{plugin}/{path}|PATCH /x/{plugin}/{path}
        DELETE /x/{plugin}/{path}|HEAD /x/{plugin}/{path}|OPTIONS /x/{plugin}/{path}";
    let expected: BTreeSet<_> = expected.split(['\n', '|']).map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_operation_is_described() {
    for (method, path, operation) in operations() {
        let place = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{place} has no summary");
        let responses = operation["responses"].as_object().unwrap();
        for class in ["4XX", "5XX"] {
            let schema = &responses[class]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{place} {class}");
        }
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with('2') && *status != "204") {
            let content = response["content"].as_object().unwrap_or_else(|| panic!("{place} {status} has no schema"));
            assert!(content.values().all(|c| c.get("schema").is_some()), "{place} {status}");
        }
        let takes_body = ["PUT", "PATCH"].contains(&method.as_str()) || (method == "POST" && !path.ends_with("/rollback"));
        let schemas = operation.get("requestBody").map(|body| body["content"].as_object().unwrap().clone());
        assert!(!takes_body || schemas.as_ref().is_some_and(|s| s.values().all(|c| c.get("schema").is_some())), "{place} takes what?");
        let parameters = operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
        let named: BTreeSet<_> = parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap().to_owned()).collect();
        let in_path: BTreeSet<_> = path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).map(str::to_owned).collect();
        assert_eq!(named, in_path, "{place}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = serde_json::to_value(document()).unwrap();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to and not described");
    }
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
}

#[tokio::test]
async fn every_documented_route_is_served() {
    let host = Host::new();
    let served = host.get("/openapi.json").await.json();
    assert_eq!(served, serde_json::to_value(document()).unwrap());
    let needs_plugins =
        |path: &str| ["/v1/plugins", "/v1/decisions", "/v1/fleet", "/v1/invocations", "/x/"].iter().any(|p| path.starts_with(p));
    for (method, path, _) in operations().iter().filter(|(_, path, _)| !needs_plugins(path)) {
        let uri: String = path
            .split('/')
            .skip(1)
            .map(|s| if s.starts_with('{') { "/a" } else { s })
            .fold(String::new(), |uri, s| uri + "/" + s.trim_start_matches('/'));
        let reply = host.send(request(method, &uri, &[], "")).await;
        assert_ne!(reply.status, 405, "{method} {uri}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("no-such-route"), "{method} {uri}");
    }
}
