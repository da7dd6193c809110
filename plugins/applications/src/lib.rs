//! Reference plugin `applications`: the HTTP routes under `/x/applications/`.

mod problem;
pub mod rules;
mod store;

use plinth_sdk::{cache::Bucket, *};
use problem::{Answer, Problem};
use rules::{Command, Status};
use std::time::Duration;

struct Applications;

impl Lifecycle for Applications {
    fn activate(_: Activation) -> Result<(), Failure> {
        store::prepare().map_err(|error| Failure::new("database", error.to_string()))
    }
}

impl HttpHandler for Applications {
    fn handle(request: Request) -> Response {
        route(&request).unwrap_or_else(Problem::into_response)
    }
}

plugin!(Applications: http, lifecycle);

fn route(request: &Request) -> Answer<Response> {
    let segments = request.segments("applications");
    match (request.method.as_str(), segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice()) {
        ("POST", []) => create(request),
        ("GET", []) => list(request),
        ("GET", [number]) => show(number),
        ("POST", [number, command]) => change(number, command, request),
        (_, []) => Err(Problem::MethodNotAllowed("GET, POST")),
        (_, [_]) => Err(Problem::MethodNotAllowed("GET")),
        (_, [_, _]) => Err(Problem::MethodNotAllowed("POST")),
        _ => Err(Problem::NotFound),
    }
}

fn create(request: &Request) -> Answer<Response> {
    let draft: store::Draft = parse(request)?;
    let mut problems = draft.applicant.problems();
    if draft.number.as_deref().is_some_and(|number| !rules::valid_number(number)) {
        problems.push("number is not of the form A-YYYY-NNNNNN");
    }
    if draft.amount.is_some_and(|amount| amount < 0) {
        problems.push("amount is negative");
    }
    if !problems.is_empty() {
        return Err(Problem::Invalid(problems.join("; ")));
    }
    let result = store::create(&draft, now_ms());
    count("create", result.as_ref().err());
    let number = result?;
    let answer = serde_json::json!({ "number": number, "status": Status::Draft, "version": 1 });
    Ok(Response::json(201, &answer).with_header("location", &format!("/x/applications/{number}")))
}

fn list(request: &Request) -> Answer<Response> {
    let only = match request.param("status").filter(|text| !text.is_empty()) {
        Some(text) => Some(Status::parse(text).ok_or_else(|| Problem::Malformed("status is none of the known ones".to_owned()))?),
        None => None,
    };
    let limit = match request.param("limit").filter(|text| !text.is_empty()) {
        Some(text) => text.parse().ok().filter(|limit| (1..=100).contains(limit)),
        None => Some(20),
    };
    let limit = limit.ok_or_else(|| Problem::Malformed("limit is not a number from 1 to 100".to_owned()))?;
    let (applications, more) = store::list(only, request.param("cursor").unwrap_or(""), limit)?;
    let next = applications.last().filter(|_| more).map(|last| last.number.clone());
    Ok(Response::json(200, &serde_json::json!({ "applications": applications, "next": next })))
}

/// Through the cache: a cache that fails costs time, never the answer.
fn show(number: &str) -> Answer<Response> {
    if !rules::valid_number(number) {
        return Err(Problem::NotFound);
    }
    let bucket = warned(Bucket::open("applications"));
    let key = tag(number);
    if let Some(body) = bucket.as_ref().and_then(|bucket| warned(bucket.get(&key)).flatten()) {
        return Ok(Response::bytes(200, "application/json", body).with_header("x-cache", "hit"));
    }
    let body = serde_json::to_vec(&store::find(number)?)?;
    let ttl = config::parse("cache-ttl-ms")?.map(Duration::from_millis);
    if let Some(bucket) = bucket {
        warned(bucket.set_tagged(&key, &body, ttl, &[&key]));
    }
    Ok(Response::bytes(200, "application/json", body).with_header("x-cache", "miss"))
}

fn change(number: &str, command: &str, request: &Request) -> Answer<Response> {
    let command = Command::parse(command).ok_or(Problem::NotFound)?;
    if !rules::valid_number(number) {
        return Err(Problem::NotFound);
    }
    let asked: store::Request = parse(request)?;
    if asked.requested_by.trim().is_empty() {
        return Err(Problem::Invalid("requested_by is empty".to_owned()));
    }
    let result = store::change(number, command, &asked, now_ms());
    count(command.name(), result.as_ref().err());
    let changed = result?;
    // After the commit: the entry can only be made again from the new row. The
    // event does the same later, should this call end here.
    warned(Bucket::open("applications").and_then(|bucket| bucket.invalidate(&[&tag(number)])));
    Ok(Response::json(200, &changed))
}

fn tag(number: &str) -> String {
    format!("application:{number}")
}

fn parse<T: serde::de::DeserializeOwned>(request: &Request) -> Answer<T> {
    // The parser's text would quote values; its place is enough to find them.
    request.json().map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Problem::Invalid(format!("the body does not have the expected fields (line {}, column {})", error.line(), error.column()))
        }
        _ => Problem::Malformed("the body is not JSON".to_owned()),
    })
}

fn warned<T>(result: cache::Result<T>) -> Option<T> {
    result.map_err(|error| warn!("the cache does not answer", error = error)).ok()
}

fn count(command: &str, problem: Option<&Problem>) {
    metrics::counter("commands_total", 1.0, &[("command", command), ("outcome", problem.map_or("ok", Problem::code))]);
}

fn now_ms() -> i64 {
    i64::try_from(clock::now_ms()).unwrap_or(i64::MAX)
}
