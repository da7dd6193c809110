//! `/x/{plugin}/…`: requests that a plugin answers.
//!
//! This path is measured against a bare server: the request passes the edge
//! and nothing else, the call runs in place, and what is the same for every
//! answer of a version is made once.

use super::Plugins;
use crate::{
    detach::to_the_end,
    edge::{Edge, Visit, Zone},
    error::{ApiError, Result},
    extract::traceparent,
    problem,
    request_id::X_REQUEST_ID,
    version_headers::VersionHeaders,
};
use axum::{
    body::{Body, HttpBody},
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts, uri::PathAndQuery};
use plinth_capability::name::PluginName;
use plinth_runtime::{
    hook::HttpRequest,
    outcome::{Failure, Reply},
};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower::Service;

const PREFIX: &str = "/x/";
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// How long the client waits for an answer, in milliseconds.
const PLINTH_TIMEOUT_MS: HeaderName = HeaderName::from_static("plinth-timeout-ms");

/// Between two neighbours only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Serves the three routes below `/x/`.
#[derive(Clone)]
pub(crate) struct Hooks(Arc<Inner>);

struct Inner {
    edge: Arc<Edge>,
    plugins: Plugins,
    versions: VersionHeaders,
    body_bytes: usize,
    /// For the body to arrive; the call itself has the plugin's own limits.
    body_timeout: Duration,
}

impl Hooks {
    pub(crate) fn new(edge: Arc<Edge>, plugins: Plugins, body_bytes: usize, body_timeout: Duration) -> Self {
        Self(Arc::new(Inner { edge, plugins, versions: VersionHeaders::default(), body_bytes, body_timeout }))
    }
}

impl Service<Request> for Hooks {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let handle = |request, visit| async { inner.handle(request, visit).await.unwrap_or_else(IntoResponse::into_response) };
            Ok(inner.edge.run(Zone::Hook, request, handle).await)
        })
    }
}

impl Inner {
    async fn handle(&self, request: Request, visit: Visit) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        let target = Target::of(&parts.uri)?;
        let cause = visit.caller.cause(traceparent(&parts.headers));
        let timeout = timeout(&parts.headers)?;
        parts.uri = target.uri;
        forwarded(&mut parts.headers, target.prefix, visit.request_id.header());
        let body = self.body(&parts, body).await?;
        let request = HttpRequest { request: bare_request(parts, body), timeout };
        let (runtime, plugin) = (self.plugins.runtime.clone(), target.plugin);
        let call = async move {
            let reply = runtime.handle_http(&plugin, request, cause).await;
            (reply, plugin)
        };
        let (reply, plugin) = to_the_end(&self.plugins.tasks, call).await;
        Ok(self.answer(reply, &plugin))
    }

    async fn body(&self, parts: &Parts, body: Body) -> Result<Bytes> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let too_large = || ApiError::new(problem::BODY_TOO_LARGE, format!("at most {} bytes are taken", self.body_bytes));
        let stated = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if stated.is_some_and(|length| length > self.body_bytes as u64) {
            return Err(too_large());
        }
        let read = tokio::time::timeout(self.body_timeout, axum::body::to_bytes(body, self.body_bytes)).await;
        let read = read.map_err(|_| ApiError::new(problem::BODY_TIMEOUT, "the body did not arrive in time"))?;
        read.map_err(|error| match std::error::Error::source(&error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>()) {
            true => too_large(),
            false => ApiError::new(problem::BAD_BODY, "the body broke off"),
        })
    }

    fn answer(&self, reply: Reply<http::Response<Bytes>>, plugin: &PluginName) -> Response {
        let Reply { invocation_id, answered_by, generation, outcome } = reply;
        let mut response = match outcome {
            Ok(response) if !response.status().is_informational() => cleaned(response),
            Ok(_) => ApiError::new(problem::BAD_ANSWER, "an informational status cannot end a request").into_response(),
            Err(failure) => self.failed(failure, answered_by.is_some(), plugin).into_response(),
        };
        self.versions.stamp(response.headers_mut(), answered_by.as_ref(), generation, invocation_id);
        response
    }

    /// That there is no such plugin is the client's mistake, not an outage.
    fn failed(&self, failure: Failure, chosen: bool, plugin: &PluginName) -> ApiError {
        let missing = !chosen && matches!(failure, Failure::Unavailable { .. }) && self.plugins.runtime.slot(plugin).is_none();
        match missing {
            true => ApiError::new(problem::NO_SUCH_PLUGIN, format!("no plugin named {plugin}")),
            false => failure.into(),
        }
    }
}

/// Where a request goes: `/x/{plugin}` names the plugin, what follows is its own.
struct Target {
    plugin: PluginName,
    prefix: HeaderValue,
    uri: Uri,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self> {
        let bad = || ApiError::new(problem::BAD_PATH, "the path must be /x/PLUGIN or start with /x/PLUGIN/");
        let whole = uri.path_and_query().map(PathAndQuery::as_str).ok_or_else(bad)?;
        let rest = whole.strip_prefix(PREFIX).ok_or_else(bad)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (name, own) = rest.split_at_checked(end).ok_or_else(bad)?;
        let plugin = PluginName::new(name)?;
        let prefix = whole.get(..PREFIX.len() + end).and_then(|p| HeaderValue::from_str(p).ok()).ok_or_else(bad)?;
        let own = match own.starts_with('/') {
            true => PathAndQuery::try_from(own),
            false => PathAndQuery::try_from(format!("/{own}")),
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(own.map_err(|_| bad())?);
        Ok(Self { plugin, prefix, uri: Uri::from_parts(parts).map_err(|_| bad())? })
    }
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(PLINTH_TIMEOUT_MS) else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.parse::<u32>().ok()).filter(|ms| *ms > 0) {
        Some(ms) => Ok(Some(Duration::from_millis(ms.into()))),
        None => Err(ApiError::new(problem::BAD_HEADER, "plinth-timeout-ms must be a positive number")),
    }
}

fn forwarded(headers: &mut HeaderMap, prefix: HeaderValue, request_id: HeaderValue) {
    strip_hop_by_hop(headers);
    // The key opens the host, not the plugin.
    headers.remove(header::AUTHORIZATION);
    headers.insert(X_FORWARDED_PREFIX, prefix);
    headers.insert(X_REQUEST_ID, request_id);
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(named) = headers.get(header::CONNECTION).cloned() {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Without the extensions of the host's own layers.
fn bare_request(parts: Parts, body: Bytes) -> http::Request<Bytes> {
    let mut request = http::Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.version_mut() = parts.version;
    *request.headers_mut() = parts.headers;
    request
}

fn cleaned(response: http::Response<Bytes>) -> Response {
    let mut response = response.map(Body::from);
    let headers = response.headers_mut();
    strip_hop_by_hop(headers);
    // Counted from the body that is there, so that a wrong number cannot break the connection.
    headers.remove(header::CONTENT_LENGTH);
    let ours: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("plinth-")).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    response
}

/// What a plugin answers under its own path.
///
/// The plugin sees the path after `/x/{plugin}`, the query, the headers but
/// `authorization` and those between neighbours, and the body. The answer
/// names what gave it: `plinth-plugin`, `plinth-version`, `plinth-digest`,
/// `plinth-generation`, `plinth-invocation`.
#[utoipa::path(method(get, post, put, patch, delete, head, options), path = "/x/{plugin}/{path}", tag = "plugins",
    params(("plugin" = String, Path, description = "The plugin's name."),
           ("path" = String, Path, description = "Any path, slashes included; it may be left out."),
           ("plinth-timeout-ms" = Option<u32>, Header, description = "How long the client waits.")),
    request_body(content = Vec<u8>, content_type = "*/*", description = "Anything the plugin takes."),
    responses((status = 200, description = "The plugin's answer, with whatever status it chose.", body = Vec<u8>, content_type = "*/*"),
              crate::problem::Problems))]
#[expect(dead_code, reason = "describes the routes that `Hooks` serves")]
pub(crate) fn plugin_routes() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, expected: Option<(&str, &str, &str)>) {
        let target = Target::of(&uri.parse().unwrap()).ok();
        let uri = target.as_ref().map(|t| t.uri.to_string());
        let shown = target.as_ref().map(|t| (t.plugin.as_str(), t.prefix.to_str().unwrap(), uri.as_deref().unwrap()));
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_plugin_sees_what_follows_its_name() {
        check("/x/desk", Some(("desk", "/x/desk", "/")));
        check("/x/desk/", Some(("desk", "/x/desk", "/")));
        check("/x/desk?a=1", Some(("desk", "/x/desk", "/?a=1")));
        check("/x/desk/a%2Fb/c?d=/e", Some(("desk", "/x/desk", "/a%2Fb/c?d=/e")));
        check("http://host:1/x/desk/a", Some(("desk", "/x/desk", "http://host:1/a")));
        check("/x//a", None);
        check("/x/Desk/a", None);
        check("/y/desk", None);
    }

    #[test]
    fn headers_between_neighbours_and_the_key_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, x-mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("authorization", "Bearer t"),
            ("accept", "*/*"),
            ("x-forwarded-prefix", "/forged"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        forwarded(&mut headers, HeaderValue::from_static("/x/desk"), HeaderValue::from_static("id-1"));
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "x-forwarded-prefix", "x-request-id"]);
        assert_eq!(headers["x-forwarded-prefix"], "/x/desk");
    }

    #[test]
    fn an_answer_cannot_forge_what_the_host_says() {
        let response = http::Response::builder()
            .status(203)
            .header("plinth-plugin", "other")
            .header("plinth-anything", "x")
            .header("content-length", "9999")
            .header("transfer-encoding", "chunked")
            .header("etag", "1")
            .body(Bytes::from_static(b"body"))
            .unwrap();
        let response = cleaned(response);
        assert_eq!(response.status(), 203);
        assert_eq!(response.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["etag"]);
    }

    #[test]
    fn the_clients_patience_is_a_positive_number() {
        let read = |value: &'static str| timeout(&HeaderMap::from_iter([(PLINTH_TIMEOUT_MS, HeaderValue::from_static(value))]));
        assert_eq!(read("250").unwrap(), Some(Duration::from_millis(250)));
        assert!(read("0").is_err() && read("-1").is_err() && read("soon").is_err());
        assert_eq!(timeout(&HeaderMap::new()).unwrap(), None);
    }
}
