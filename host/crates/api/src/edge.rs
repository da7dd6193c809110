//! What every request passes, once, on its way in and out: id, admission, caller, time limit, problem, log line.
//!
//! One service instead of a stack of layers: each layer would box a future and
//! clone a service per request, which the path to the plugins has no time for.

use crate::{
    auth::{Auth, Caller},
    config::ApiConfig,
    error::{ApiError, Result},
    meter::Meter,
    problem::{self, PROBLEM_JSON},
    readiness::{HostPhase, Readiness},
    request_id::{RequestId, RequestIds, X_REQUEST_ID},
};
use axum::{
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, future::BoxFuture};
use http::{Method, StatusCode, header};
use plinth_capability::metrics::Metrics;
use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tower::{Layer, Service, ServiceExt};

/// How a group of routes is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// Asked by an orchestrator: always answered, whoever asks.
    Probe,
    /// As `Api`, also while the host is starting: for those who watch it.
    Watch,
    /// The host's own routes.
    Api,
    /// Loading plugins, which may take long.
    Load,
    /// Plugins' routes: their limits are the plugins' own.
    Hook,
}

/// What a handler may know of the request besides its parts.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub caller: Caller,
    pub request_id: RequestId,
}

pub(crate) struct Edge {
    auth: Auth,
    ids: RequestIds,
    meter: Meter,
    readiness: Readiness,
    in_flight: AtomicUsize,
    max_in_flight: usize,
    request_timeout: Duration,
    load_timeout: Duration,
}

impl Edge {
    pub(crate) fn new(config: &ApiConfig, metrics: &Arc<dyn Metrics>, readiness: Readiness) -> Self {
        Self {
            auth: Auth::new(config),
            ids: RequestIds::new(),
            meter: Meter::new(Arc::clone(metrics)),
            readiness,
            in_flight: AtomicUsize::new(0),
            max_in_flight: config.max_in_flight,
            request_timeout: config.request_timeout(),
            load_timeout: Duration::from_millis(config.load_timeout_ms),
        }
    }

    pub(crate) async fn run<F, Fut>(&self, zone: Zone, request: Request, handle: F) -> Response
    where
        F: FnOnce(Request, Visit) -> Fut,
        Fut: Future<Output = Response>,
    {
        let started = Instant::now();
        let request_id = self.ids.take(request.headers());
        let method = request.method().clone();
        let route = request.extensions().get::<MatchedPath>().cloned();
        let response = match self.admit(zone, &request) {
            Ok((caller, _in_flight)) => {
                let call = handle(request, Visit { caller, request_id: request_id.clone() });
                let safe = AssertUnwindSafe(self.in_time(zone, call)).catch_unwind();
                safe.await.unwrap_or_else(|_| ApiError::new(problem::INTERNAL, "the host could not finish this request").into_response())
            }
            Err(error) => error.into_response(),
        };
        let mut response = problem_of(zone, response, &request_id);
        response.headers_mut().insert(X_REQUEST_ID, request_id.header());
        let route = route.as_ref().map_or("none", |path| path.as_str());
        self.report(zone, &Line { method, route, status: response.status(), elapsed: started.elapsed(), request_id: &request_id });
        response
    }

    fn admit(&self, zone: Zone, request: &Request) -> Result<(Caller, Option<InFlight<'_>>)> {
        if zone == Zone::Probe {
            return Ok((Caller::Anonymous, None));
        }
        let in_flight = InFlight(&self.in_flight);
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.max_in_flight {
            return Err(ApiError::new(problem::OVERLOADED, format!("{} requests are being served already", self.max_in_flight)));
        }
        let caller = self.auth.caller(request)?;
        // One door for all: half of the plugins would be no host to speak to.
        if zone != Zone::Watch && self.readiness.phase() == HostPhase::Starting {
            return Err(ApiError::new(problem::STARTING, "not every plugin is back yet"));
        }
        Ok((caller, Some(in_flight)))
    }

    async fn in_time(&self, zone: Zone, call: impl Future<Output = Response>) -> Response {
        let limit = match zone {
            Zone::Hook => return call.await,
            Zone::Probe | Zone::Watch | Zone::Api => self.request_timeout,
            Zone::Load => self.load_timeout,
        };
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            ApiError::new(problem::REQUEST_TIMEOUT, format!("not finished after {} ms", limit.as_millis())).into_response()
        })
    }

    /// Successful probes and hook calls are many and dull: `debug`.
    fn report(&self, zone: Zone, line: &Line<'_>) {
        let &Line { ref method, route, status, elapsed, request_id } = line;
        self.meter.count(route, status, elapsed);
        let (status, elapsed_us, request_id) =
            (status.as_u16(), u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), request_id.as_str());
        match (status, zone) {
            (500.., _) => tracing::warn!(%method, route, status, elapsed_us, request_id, "request answered"),
            (_, Zone::Probe | Zone::Watch | Zone::Hook) => {
                tracing::debug!(%method, route, status, elapsed_us, request_id, "request answered")
            }
            (_, Zone::Api | Zone::Load) => tracing::info!(%method, route, status, elapsed_us, request_id, "request answered"),
        }
    }
}

struct Line<'a> {
    method: Method,
    route: &'a str,
    status: StatusCode,
    elapsed: Duration,
    request_id: &'a RequestId,
}

/// Counts down when the request ends, however it ends.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Renders the error a handler returned. Of the host's own routes an error
/// answer that did not come from a handler (axum's, a layer's) becomes a
/// problem as well; a plugin's answers are its own.
fn problem_of(zone: Zone, mut response: Response, request_id: &RequestId) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        // What was put on the error on its way out, such as which version failed, stays.
        let stamped = std::mem::take(response.headers_mut());
        let mut rendered = error.render(request_id);
        rendered.headers_mut().extend(stamped);
        return rendered;
    }
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_ours = |kind: &http::HeaderValue| kind == PROBLEM_JSON || kind == "application/json";
    if zone == Zone::Hook || !is_error || response.headers().get(header::CONTENT_TYPE).is_some_and(is_ours) {
        return response;
    }
    let kind = match status {
        StatusCode::NOT_FOUND => problem::NO_SUCH_ROUTE,
        StatusCode::METHOD_NOT_ALLOWED => problem::METHOD_NOT_ALLOWED,
        StatusCode::PAYLOAD_TOO_LARGE => problem::BODY_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => problem::UNSUPPORTED_MEDIA_TYPE,
        _ if status.is_client_error() => problem::BAD_BODY,
        _ => problem::INTERNAL,
    };
    ApiError::new(kind, kind.title).render(request_id)
}

/// Puts the edge around each route of a router.
#[derive(Clone)]
pub(crate) struct EdgeLayer {
    pub edge: Arc<Edge>,
    pub zone: Zone,
}

impl<S> Layer<S> for EdgeLayer {
    type Service = EdgeService<S>;

    fn layer(&self, inner: S) -> EdgeService<S> {
        EdgeService { edge: Arc::clone(&self.edge), zone: self.zone, inner }
    }
}

#[derive(Clone)]
pub(crate) struct EdgeService<S> {
    edge: Arc<Edge>,
    zone: Zone,
    inner: S,
}

impl<S> Service<Request> for EdgeService<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { edge, zone, inner } = self.clone();
        Box::pin(async move {
            let handle = |mut request: Request, visit| {
                request.extensions_mut().insert::<Visit>(visit);
                inner.oneshot(request).map(|answer| answer.unwrap_or_else(|never| match never {}))
            };
            Ok(edge.run(zone, request, handle).await)
        })
    }
}
