//! The metrics capability: numbers about the host and about each plugin's business.

use crate::{Result, name::PluginName};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Label values of one metric beyond this many combinations are refused.
pub const SERIES_MAX: usize = 200;
/// Metrics one plugin may declare.
pub const METRICS_MAX: usize = 50;
/// Guest-controlled: bytes of one label value.
pub const LABEL_VALUE_MAX: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric of the host itself, from the one table of its crate.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    /// For histograms; empty otherwise.
    pub buckets: &'static [f64],
}

/// One series of the host, resolved once and used many times.
pub trait Instrument: Send + Sync {
    /// Counters refuse a negative value silently; histograms ignore it.
    fn add(&self, value: f64);
    /// Gauges only.
    fn set(&self, value: f64);
    /// Histograms only.
    fn observe(&self, value: f64);
}

/// A plugin's metric, from its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricDeclaration {
    /// Without the plugin's prefix: `status_changes_total`.
    pub name: String,
    pub kind: MetricKind,
    pub help: String,
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default)]
    pub buckets: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    CounterAdd,
    GaugeSet,
    GaugeAdd,
    HistogramObserve,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub kind: SampleKind,
    pub name: String,
    pub value: f64,
    pub labels: Vec<(String, String)>,
}

/// One number as it stands now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesValue {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// # Contract
///
/// - `declared_metric_is_rendered`: a sample of a declared metric shows in `render` under `{plugin}_{name}` with `plugin` and `plugin_version` labels.
/// - `undeclared_is_refused`: a sample of an undeclared metric, of another kind or with other label names is `InvalidInput` and changes nothing.
/// - `negative_counter_is_refused`: a negative or non-finite delta of a counter is `InvalidInput`.
/// - `series_are_capped`: the sample that would make series `SERIES_MAX + 1` is `LimitExceeded`; known series still count.
/// - `bad_names_are_refused`: a declaration whose name, label or buckets Prometheus would refuse, or that collides with another, is `InvalidInput`.
/// - `redeclaring_is_idempotent`: a second version of a plugin may declare the same metric; a changed kind or labels replaces it.
/// - `render_is_valid_text`: `render` is Prometheus text exposition, help and type included.
pub trait Metrics: Send + Sync {
    /// The series of a host metric with these label values, made at first use.
    fn instrument(&self, family: &'static Family, labels: &[&str]) -> Arc<dyn Instrument>;
    /// Drops one series, e.g. of a version that is gone.
    fn forget(&self, family: &'static Family, labels: &[&str]);
    fn declare(&self, plugin: &PluginName, declarations: &[MetricDeclaration]) -> Result<()>;
    fn retract(&self, plugin: &PluginName);
    fn record(&self, plugin: &PluginName, version: &str, sample: &Sample) -> Result<()>;
    fn render(&self) -> Result<String>;
    /// Series whose name starts with `prefix`, histograms as `_count` and `_sum`.
    fn query(&self, prefix: &str, limit: usize) -> Vec<SeriesValue>;
}
