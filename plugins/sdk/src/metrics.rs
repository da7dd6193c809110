//! Counters, gauges and histograms. Nothing here fails: a metric must never be
//! the reason a business call does. Declare each name in `plugin.toml`.

use crate::bindings::plinth::metrics::instruments;
pub use crate::bindings::plinth::metrics::instruments::{Kind, Sample};

/// Adds to a counter.
pub fn counter(name: &str, delta: f64, labels: &[(&str, &str)]) {
    instruments::counter_add(name, delta, &owned(labels));
}

/// Sets a gauge.
pub fn gauge(name: &str, value: f64, labels: &[(&str, &str)]) {
    instruments::gauge_set(name, value, &owned(labels));
}

/// Moves a gauge.
pub fn gauge_add(name: &str, delta: f64, labels: &[(&str, &str)]) {
    instruments::gauge_add(name, delta, &owned(labels));
}

/// Observes one value of a histogram.
pub fn histogram(name: &str, value: f64, labels: &[(&str, &str)]) {
    instruments::histogram_observe(name, value, &owned(labels));
}

/// Many samples in one call.
pub fn observe_many(samples: &[Sample]) {
    instruments::observe_many(samples);
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
