//! The metrics capability on Prometheus: the host's own numbers, the plugins', and the process's.
//!
//! No `prometheus::Registry`: it remembers the labels of a name for ever, and a
//! new version of a plugin may change them.

mod declaration;
mod host;
mod plugins;
mod text;
mod vector;

use plinth_capability::{
    Error, ErrorKind, Result,
    metrics::{Family, Instrument, MetricDeclaration, Metrics, Sample, SeriesValue},
    name::PluginName,
};
use prometheus::{TextEncoder, core::Collector, process_collector::ProcessCollector, proto::MetricFamily};
use std::sync::Arc;

pub struct PrometheusMetrics {
    host: host::HostMetrics,
    plugins: plugins::PluginMetrics,
    process: ProcessCollector,
}

impl Default for PrometheusMetrics {
    fn default() -> Self {
        Self { host: host::HostMetrics::default(), plugins: plugins::PluginMetrics::default(), process: ProcessCollector::for_self() }
    }
}

impl PrometheusMetrics {
    pub fn new() -> Self {
        Self::default()
    }

    /// By name, each with its series by label values; none is empty.
    fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.host.collect();
        families.extend(self.plugins.collect());
        families.extend(self.process.collect());
        text::arrange(families)
    }
}

impl Metrics for PrometheusMetrics {
    fn instrument(&self, family: &'static Family, labels: &[&str]) -> Arc<dyn Instrument> {
        self.host.instrument(family, labels)
    }

    fn forget(&self, family: &'static Family, labels: &[&str]) {
        self.host.forget(family, labels);
    }

    fn declare(&self, plugin: &PluginName, declarations: &[MetricDeclaration]) -> Result<()> {
        self.plugins.declare(plugin, declarations)
    }

    fn retract(&self, plugin: &PluginName) {
        self.plugins.retract(plugin);
    }

    fn record(&self, plugin: &PluginName, version: &str, sample: &Sample) -> Result<()> {
        self.plugins.record(plugin, version, sample)
    }

    fn render(&self) -> Result<String> {
        let failed = |error| Error::new(ErrorKind::Internal, "metrics.render", "the metrics could not be rendered").with_source(error);
        TextEncoder::new().encode_to_string(&self.gather()).map_err(|error: prometheus::Error| failed(error))
    }

    fn query(&self, prefix: &str, limit: usize) -> Vec<SeriesValue> {
        text::values(&self.gather(), prefix, limit)
    }
}
