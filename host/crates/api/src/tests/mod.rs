//! The API over small doubles of the capabilities, asked as a client would ask.

mod cache;
mod capabilities;
mod double_cache;
mod doubles;
mod edge;
mod events;
mod health;
mod hooks;
mod mapping;
mod openapi;
mod personal;
mod serving;

use crate::{
    config::ApiConfig,
    edge::Edge,
    problem::Problem,
    readiness::{HostPhase, Plugged, Readiness},
    router,
};
use axum::{Router, body::Body};
use bytes::Bytes;
use doubles::Doubles;
use http::{HeaderMap, Request, StatusCode, header};
use plinth_runtime::view::{Restored, SlotView};
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt;

/// One of two plugins is back, and none has a slot to look at.
struct HalfBack;

impl Plugged for HalfBack {
    fn slots(&self) -> Vec<SlotView> {
        Vec::new()
    }

    fn restored(&self) -> Restored {
        Restored { back: 1, of: 2 }
    }
}

/// A host without plugins, and what its doubles have seen.
struct Host {
    router: Router,
    doubles: Doubles,
    readiness: Readiness,
}

impl Host {
    fn new() -> Self {
        Self::with(ApiConfig::default())
    }

    fn with(config: ApiConfig) -> Self {
        Self::over(Doubles::default(), config)
    }

    fn over(doubles: Doubles, config: ApiConfig) -> Self {
        let host = Self::starting(doubles, config);
        host.readiness.set(HostPhase::Ready);
        host
    }

    fn starting(doubles: Doubles, config: ApiConfig) -> Self {
        let (readiness, capabilities) = (Readiness::new(), doubles.capabilities());
        let edge = Arc::new(Edge::new(&config, &capabilities.metrics, readiness.clone()));
        let router = router::host_router(&edge, capabilities, doubles.state(), readiness.clone(), Arc::new(HalfBack), &config)
            .fallback_service(router::not_found(&edge));
        Self { router, doubles, readiness }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        assert!(parts.headers.contains_key("x-request-id"), "an answer without request id");
        Reply { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send(request("GET", uri, &[], "")).await
    }

    async fn post(&self, uri: &str, json: Value) -> Reply {
        self.send(request("POST", uri, &[("content-type", "application/json")], json.to_string())).await
    }
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        assert!(self.status.is_success(), "{} {:?}", self.status, self.body);
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem, after checking what holds for every problem.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> Problem {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{} {:?}", self.status, self.body);
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!((self.status.as_u16(), problem.status, problem.code.as_str()), (status, status, code), "{}", problem.detail);
        assert_eq!(problem.kind, format!("urn:plinth:problem:{code}"));
        assert_eq!(self.headers["x-request-id"], problem.request_id.as_str());
        assert_eq!(self.headers.contains_key(header::RETRY_AFTER), status == 503);
        problem
    }
}

/// A request of a client on this machine.
fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let builder = Request::builder().method(method).uri(uri);
    let stated = headers.iter().any(|(name, _)| *name == "host");
    let builder = if stated { builder } else { builder.header("host", "127.0.0.1:7300") };
    headers.iter().fold(builder, |b, (name, value)| b.header(*name, *value)).body(body.into()).unwrap()
}
