//! Metrics, for Prometheus as text and for people and programs as JSON.

use super::{Capabilities, object};
use crate::{
    error::{ApiError, Result},
    extract::Query,
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State, response::IntoResponse};
use http::header;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Client-controlled: series of one answer.
const SERIES_MAX: usize = 10_000;
const TEXT_EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(query))
}

/// For those who watch the host from outside.
pub(crate) fn watch_routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(exposition))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MetricsQuery {
    /// Names must start with this.
    #[serde(default)]
    prefix: String,
    /// 1 to 10000.
    #[serde(default = "default_limit")]
    limit: usize,
}

fn default_limit() -> usize {
    1_000
}

#[derive(Serialize, ToSchema)]
struct SeriesList {
    series: Vec<Series>,
}

#[derive(Serialize, ToSchema)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// All metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "metrics",
    responses((status = 200, description = "Text exposition.", body = String, content_type = "text/plain"), Problems))]
async fn exposition(State(capabilities): State<Capabilities>) -> Result<impl IntoResponse> {
    Ok(([(header::CONTENT_TYPE, TEXT_EXPOSITION)], capabilities.metrics.render()?))
}

/// Current values of metrics.
#[utoipa::path(get, path = "/v1/metrics", tag = "metrics", params(MetricsQuery),
    responses((status = 200, description = "Series whose name starts with the prefix.", body = SeriesList), Problems))]
async fn query(State(capabilities): State<Capabilities>, Query(query): Query<MetricsQuery>) -> Result<Answer<SeriesList>> {
    if !(1..=SERIES_MAX).contains(&query.limit) {
        return Err(ApiError::new(problem::BAD_QUERY, format!("limit must be 1 to {SERIES_MAX}")));
    }
    let values = capabilities.metrics.query(&query.prefix, query.limit).into_iter();
    let series = values.map(|v| Series { name: v.name, labels: object(v.labels), value: v.value }).collect();
    Ok(Answer(SeriesList { series }))
}
