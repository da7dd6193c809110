//! `/openapi.json`: the document of this API, from the handlers themselves.

use crate::{
    problem::{Problem, Problems},
    router::documented_routes,
    routes::hooks,
};
use axum::{extract::State, response::IntoResponse};
use bytes::Bytes;
use http::header;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Components,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plinth host",
        description = "Load and swap plugins, publish events and tasks, ask for decisions, and reach cache, queues, audit log and metrics. \
                       Every error is an RFC 9457 problem with a stable `code`; every answer carries `x-request-id`."
    ),
    components(schemas(Problem)),
    paths(hooks::plugin_routes),
    modifiers(&Keys),
    security(("key" = []))
)]
struct Base;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("Needed where API keys are configured.")).build();
        document.components.get_or_insert_with(Components::new).add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The whole document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Base::openapi();
    document.merge(documented_routes());
    // The router writes `{*path}` for the rest of a path, the document `{path}`.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    document
}

/// The document as JSON, made once.
#[derive(Clone)]
pub(crate) struct Rendered(Bytes);

impl Rendered {
    pub(crate) fn new() -> Self {
        // Plain strings, numbers and maps, which always serialise.
        Self(serde_json::to_vec(&document()).unwrap_or_default().into())
    }
}

pub(crate) fn routes() -> OpenApiRouter<Rendered> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "about",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value), Problems))]
async fn openapi(State(Rendered(document)): State<Rendered>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}
