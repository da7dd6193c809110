//! The whole table: every error of every layer becomes the problem it should.

use crate::{error::ApiError, request_id::RequestIds};
use futures::FutureExt;
use http::{HeaderMap, header};
use plinth_capability::{ConstraintKind, Error, ErrorKind, name::PluginName};
use plinth_runtime::{
    LoadError,
    outcome::{Failure, GuestError},
};
use std::time::Duration;

#[track_caller]
fn check(error: impl Into<ApiError>, status: u16, code: &str) -> serde_json::Value {
    let error = error.into();
    let response = error.render(&RequestIds::new().take(&HeaderMap::new()));
    assert_eq!((response.status().as_u16(), error.kind().code), (status, code));
    assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503, "{code}");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).now_or_never().unwrap().unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn capability_errors() {
    let table = [
        (ErrorKind::NotFound, 404, "not-found"),
        (ErrorKind::Denied, 403, "denied"),
        (ErrorKind::InvalidInput, 400, "invalid-input"),
        (ErrorKind::LimitExceeded, 429, "limit-exceeded"),
        (ErrorKind::WrongType, 409, "wrong-type"),
        (ErrorKind::InvalidStatement, 400, "invalid-statement"),
        (ErrorKind::Constraint(ConstraintKind::Unique), 409, "constraint-violation"),
        (ErrorKind::Conflict, 409, "conflict"),
        (ErrorKind::Closed, 409, "closed"),
        (ErrorKind::Unroutable, 404, "unroutable"),
        (ErrorKind::Unverified, 422, "unverified"),
        (ErrorKind::Timeout, 504, "timeout"),
        (ErrorKind::Unavailable, 503, "unavailable"),
        (ErrorKind::OutcomeUnknown, 502, "outcome-unknown"),
        (ErrorKind::Failed, 502, "failed"),
        (ErrorKind::Internal, 500, "internal"),
    ];
    for (kind, status, code) in table {
        assert_eq!(kind.code(), code, "the API and the capability disagree on a name");
        let json = check(Error::new(kind, "test.case", "for the caller").with_source("canary"), status, code);
        assert_eq!((json["detail"].as_str(), json.to_string().contains("canary")), (Some("for the caller"), false));
    }
}

#[test]
fn failures_of_hook_calls() {
    let reject = GuestError::Reject { code: "no-such-desk".into(), message: "There is no desk 7.".into() };
    let json = check(Failure::Guest(reject), 422, "guest-error");
    assert_eq!((json["guest_code"].as_str(), json["detail"].as_str()), (Some("no-such-desk"), Some("There is no desk 7.")));
    check(Failure::Guest(GuestError::Retry { message: "later".into(), after: None }), 503, "guest-retry");
    let trap = check(Failure::Trap("unreachable at canary".into()), 502, "trap");
    assert!(!trap.to_string().contains("canary"));
    check(Failure::Deadline("2 s".into()), 504, "deadline");
    check(Failure::Limit("memory".into()), 503, "limit");
    check(Failure::Denied("no".into()), 403, "denied");
    check(Failure::Unavailable { why: "full".into(), retry_after: None }, 503, "unavailable");
}

#[test]
fn waiting_times_are_whole_seconds_rounded_up() {
    let wait = |after| {
        let error = ApiError::from(Failure::Unavailable { why: "full".into(), retry_after: after });
        let response = error.render(&RequestIds::new().take(&HeaderMap::new()));
        response.headers()[header::RETRY_AFTER].to_str().unwrap().to_owned()
    };
    let table = [(None, "1"), (Some(0), "1"), (Some(1), "1"), (Some(1_001), "2"), (Some(60_000), "60")];
    for (after, expected) in table {
        assert_eq!(wait(after.map(Duration::from_millis)), expected);
    }
}

#[test]
fn load_errors() {
    let list = || vec!["one".to_owned(), "two".to_owned()];
    let text = || "three".to_owned();
    let state = Error::new(ErrorKind::Unavailable, "state.save", "away").with_source("canary");
    let table = [
        (LoadError::Manifest(list()), 422, "manifest-invalid"),
        (LoadError::Config(list()), 422, "config-invalid"),
        (LoadError::TooLarge { size: 2, limit: 1 }, 413, "component-too-large"),
        (LoadError::Structure(list()), 422, "component-invalid"),
        (LoadError::Compile(text()), 422, "compile-failed"),
        (LoadError::Preflight(list()), 422, "preflight-failed"),
        (LoadError::Grants(list()), 403, "grants-not-approved"),
        (LoadError::Probe(text()), 422, "probe-failed"),
        (LoadError::VersionTaken { version: text() }, 409, "version-taken"),
        (LoadError::Quarantined(text()), 409, "quarantined"),
        (LoadError::NoSuchPlugin(PluginName::new("desk").unwrap()), 404, "no-such-plugin"),
        (LoadError::NoSuchVersion(text()), 404, "no-such-version"),
        (LoadError::NoPrevious, 409, "no-previous-version"),
        (LoadError::Vetoed { host: text(), reason: text() }, 409, "vetoed"),
        (LoadError::NotStaged(list()), 503, "not-staged"),
        (LoadError::Superseded, 409, "superseded"),
        (LoadError::State(state), 503, "state-unavailable"),
        (LoadError::Unavailable(text()), 503, "loader-unavailable"),
    ];
    for (error, status, code) in table {
        assert_eq!(error.code(), code, "the API and the runtime disagree on a name");
        let problems = error.problems();
        let json = check(error, status, code);
        let told: Vec<String> = serde_json::from_value(json.get("problems").cloned().unwrap_or_default()).unwrap_or_default();
        assert_eq!((told, json.to_string().contains("canary")), (problems, false));
    }
}
