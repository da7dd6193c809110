//! The servers outside, as a case gives them: each request is answered once, and remembered.

use super::{case::GivenAnswer, value::body_difference};
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    http::{Http, Outgoing},
};
use std::sync::{Mutex, PoisonError};

/// Nothing leaves the machine: what is not given cannot be reached.
#[derive(Default)]
pub(super) struct Servers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answers: Vec<GivenAnswer>,
    sent: Vec<http::Request<Bytes>>,
}

/// As files name a request: `GET https://api.example.org/v1`.
pub(super) fn named(request: &http::Request<Bytes>) -> String {
    format!("{} {}", request.method(), request.uri())
}

impl Servers {
    pub(super) fn new(answers: &[GivenAnswer]) -> Self {
        Self { state: Mutex::new(State { answers: answers.to_vec(), sent: Vec::new() }) }
    }

    /// In the order in which they were sent.
    pub(super) fn sent(&self) -> Vec<http::Request<Bytes>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sent.clone()
    }
}

#[async_trait]
impl Http for Servers {
    async fn send(&self, outgoing: Outgoing) -> Result<http::Response<Bytes>> {
        let name = named(&outgoing.request);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sent.push(outgoing.request);
        let Some(at) = state.answers.iter().position(|answer| answer.request == name) else {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "http.send",
                format!("the case gives no answer to `{name}`, or not another one"),
            ));
        };
        let GivenAnswer { status, headers, body, .. } = state.answers.remove(at);
        let mut response = http::Response::builder().status(status).header(http::header::CONTENT_TYPE, &body.content_type);
        for (name, value) in &headers {
            response = response.header(name, value);
        }
        response.body(body.bytes).map_err(|e| Error::new(ErrorKind::InvalidInput, "http.send", format!("given.http: {e}")))
    }
}

/// What differs between the requests that were sent and those that a case wants; all of them, in order.
pub(super) fn differences(wanted: &[super::case::WantedRequest], sent: &[http::Request<Bytes>]) -> Vec<String> {
    let expected: Vec<&str> = wanted.iter().map(|wanted| wanted.request.as_str()).collect();
    let found: Vec<String> = sent.iter().map(named).collect();
    if expected != found {
        return vec![format!("requests: expected {expected:?},\n      found {found:?}")];
    }
    let mut problems = Vec::new();
    for (wanted, sent) in wanted.iter().zip(sent) {
        for (name, value) in &wanted.headers {
            let there = sent.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            if there.as_deref() != Some(value) {
                problems.push(format!("requests: {}: header {name}: expected `{value}`, found {there:?}", wanted.request));
            }
        }
        if let Some(body) = &wanted.body {
            let expected = String::from_utf8_lossy(&body.bytes).into();
            problems.extend(body_difference(&expected, sent.body()).map(|why| format!("requests: {}: body{why}", wanted.request)));
        }
    }
    problems
}
