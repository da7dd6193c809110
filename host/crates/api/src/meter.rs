//! The API's own metrics: requests by route and class of status, and how long they took.

use http::StatusCode;
use plinth_capability::metrics::{Family, Instrument, MetricKind, Metrics};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

static REQUESTS: Family = Family {
    name: "plinth_http_requests_total",
    help: "Requests answered by the HTTP API.",
    kind: MetricKind::Counter,
    labels: &["route", "status"],
    buckets: &[],
};

static DURATION: Family = Family {
    name: "plinth_http_request_duration_seconds",
    help: "Time from a request's head to its answer.",
    kind: MetricKind::Histogram,
    labels: &["route"],
    buckets: &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0],
};

/// Closed: what a status is counted as.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

pub(crate) struct Meter {
    metrics: Arc<dyn Metrics>,
    /// Routes come from the router, so there are only so many. A std lock: held
    /// for a map lookup, never across an await.
    routes: RwLock<HashMap<Box<str>, Arc<Series>>>,
}

struct Series {
    requests: [Arc<dyn Instrument>; 5],
    duration: Arc<dyn Instrument>,
}

impl Meter {
    pub(crate) fn new(metrics: Arc<dyn Metrics>) -> Self {
        Self { metrics, routes: RwLock::default() }
    }

    pub(crate) fn count(&self, route: &str, status: StatusCode, elapsed: Duration) {
        let series = self.series(route);
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(requests) = series.requests.get(class) {
            requests.add(1.0);
        }
        series.duration.observe(elapsed.as_secs_f64());
    }

    fn series(&self, route: &str) -> Arc<Series> {
        if let Some(series) = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route) {
            return Arc::clone(series);
        }
        let requests = CLASSES.map(|class| self.metrics.instrument(&REQUESTS, &[route, class]));
        let series = Arc::new(Series { requests, duration: self.metrics.instrument(&DURATION, &[route]) });
        self.routes.write().unwrap_or_else(PoisonError::into_inner).insert(route.into(), Arc::clone(&series));
        series
    }
}
