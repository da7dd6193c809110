//! Puts the routes together: which group has which state, limits and zone.

use crate::{
    config::ApiConfig,
    edge::{Edge, EdgeLayer, Zone},
    error::ApiError,
    openapi::{self, Rendered},
    problem,
    readiness::{Plugged, Prober, Readiness},
    routes::{
        self, Plugins, audit, audit_export, audit_log, audit_personal, cache, cache_bulk, decisions, events, fleet, health, hooks::Hooks,
        invocations, metrics, plugins, queues, tasks,
    },
};
use axum::{Router, extract::DefaultBodyLimit, routing::any_service};
use http::{Method, Uri};
use plinth_capability::{Capabilities, state::HostState};
use plinth_runtime::Runtime;
use std::sync::Arc;
use tokio_util::task::TaskTracker;
use tower_http::limit::RequestBodyLimitLayer;
use utoipa_axum::router::OpenApiRouter;

/// What the API is made of.
pub struct Api {
    pub runtime: Runtime,
    pub capabilities: Capabilities,
    pub state: Arc<dyn HostState>,
    pub readiness: Readiness,
    /// Owns calls whose client has gone; the host waits for it when it stops.
    pub tasks: TaskTracker,
    pub config: ApiConfig,
}

pub fn router(api: Api) -> Router {
    let Api { runtime, capabilities, state, readiness, tasks, config } = api;
    let edge = Arc::new(Edge::new(&config, &capabilities.metrics, readiness.clone()));
    let plugged = Arc::new(runtime.clone());
    let plugins = Plugins { runtime, tasks };
    let host = host_router(&edge, capabilities, state, readiness, plugged, &config);
    host.merge(plugin_router(&edge, plugins, &config)).fallback_service(not_found(&edge))
}

/// The routes that need no plugin.
pub(crate) fn host_router(
    edge: &Arc<Edge>,
    capabilities: Capabilities,
    state: Arc<dyn HostState>,
    readiness: Readiness,
    plugged: Arc<dyn Plugged>,
    config: &ApiConfig,
) -> Router {
    let prober = Arc::new(Prober::new(capabilities.clone(), state));
    let probes = health::routes().with_state(health::Health { readiness, prober, plugged });
    let capabilities = Arc::new(capabilities);
    let watch = metrics::watch_routes().with_state(Arc::clone(&capabilities));
    let own = capability_routes().with_state(capabilities).merge(openapi::routes().with_state(Rendered::new()));
    zone(edge, Zone::Probe, config.body_bytes, probes).merge(zone(edge, Zone::Watch, config.body_bytes, watch)).merge(zone(
        edge,
        Zone::Api,
        config.body_bytes,
        own,
    ))
}

fn plugin_router(edge: &Arc<Edge>, state: Plugins, config: &ApiConfig) -> Router {
    let hooks = Hooks::new(Arc::clone(edge), state.clone(), config.body_bytes, config.request_timeout());
    let own = decisions::routes().merge(fleet::routes()).merge(invocations::routes()).with_state(state.clone());
    // Looking and changing share paths, so they share the zone of the slower.
    let load = plugins::routes().merge(plugins::load_routes()).with_state(state);
    zone(edge, Zone::Api, config.body_bytes, own)
        .merge(zone(edge, Zone::Load, config.component_bytes, load))
        .route("/x/{plugin}", any_service(hooks.clone()))
        .route("/x/{plugin}/", any_service(hooks.clone()))
        .route("/x/{plugin}/{*path}", any_service(hooks))
}

fn capability_routes() -> OpenApiRouter<routes::Capabilities> {
    [
        tasks::routes(),
        cache::routes(),
        cache_bulk::routes(),
        queues::routes(),
        audit::routes(),
        audit_export::routes(),
        audit_log::routes(),
        audit_personal::routes(),
        metrics::routes(),
    ]
    .into_iter()
    .fold(events::routes(), OpenApiRouter::merge)
}

/// Every route of the document but the plugins' own.
pub(crate) fn documented_routes() -> utoipa::openapi::OpenApi {
    let mut document = capability_routes().into_openapi();
    for more in [
        health::routes().into_openapi(),
        metrics::watch_routes().into_openapi(),
        plugins::routes().into_openapi(),
        plugins::load_routes().into_openapi(),
        decisions::routes().into_openapi(),
        fleet::routes().into_openapi(),
        invocations::routes().into_openapi(),
        openapi::routes().into_openapi(),
    ] {
        document.merge(more);
    }
    document
}

/// Layers are outermost last: the edge sees what the limits answer, and makes a problem of it.
fn zone(edge: &Arc<Edge>, zone: Zone, body_bytes: usize, routes: OpenApiRouter) -> Router {
    Router::from(routes)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(body_bytes))
        .layer(tower::util::MapResponseLayer::new(axum::response::IntoResponse::into_response))
        .layer(EdgeLayer { edge: Arc::clone(edge), zone })
}

/// A stranger learns no more from a missing route than from an existing one: the edge asks for the key first.
pub(crate) fn not_found(
    edge: &Arc<Edge>,
) -> impl tower::Service<axum::extract::Request, Response = axum::response::Response, Error = std::convert::Infallible, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static {
    let handler = axum::handler::HandlerWithoutStateExt::into_service(no_such_route);
    tower::Layer::layer(&EdgeLayer { edge: Arc::clone(edge), zone: Zone::Api }, handler)
}

async fn no_such_route(method: Method, uri: Uri) -> ApiError {
    ApiError::new(problem::NO_SUCH_ROUTE, format!("nothing answers {method} {}", uri.path()))
}

async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::new(problem::METHOD_NOT_ALLOWED, format!("this route has no {method}; see the Allow header"))
}
