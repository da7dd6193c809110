//! One metric of any kind: its series by label values.

use plinth_capability::metrics::{Instrument, MetricKind};
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, Opts, core::Collector, proto::MetricFamily,
};

pub(super) enum Vector {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

impl Vector {
    /// Without buckets a histogram takes Prometheus' own.
    pub(super) fn new(kind: MetricKind, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        let opts = Opts::new(name, help);
        Ok(match kind {
            MetricKind::Counter => Self::Counter(CounterVec::new(opts, labels)?),
            MetricKind::Gauge => Self::Gauge(GaugeVec::new(opts, labels)?),
            MetricKind::Histogram => {
                let opts = HistogramOpts::from(opts);
                let opts = if buckets.is_empty() { opts } else { opts.buckets(buckets.to_vec()) };
                Self::Histogram(HistogramVec::new(opts, labels)?)
            }
        })
    }

    pub(super) fn series<V: AsRef<str> + std::fmt::Debug>(&self, values: &[V]) -> prometheus::Result<Series> {
        Ok(match self {
            Self::Counter(vector) => Series::Counter(vector.get_metric_with_label_values(values)?),
            Self::Gauge(vector) => Series::Gauge(vector.get_metric_with_label_values(values)?),
            Self::Histogram(vector) => Series::Histogram(vector.get_metric_with_label_values(values)?),
        })
    }

    /// Dropping a series that is not there is no error.
    pub(super) fn remove<V: AsRef<str> + std::fmt::Debug>(&self, values: &[V]) {
        let _absent = match self {
            Self::Counter(vector) => vector.remove_label_values(values),
            Self::Gauge(vector) => vector.remove_label_values(values),
            Self::Histogram(vector) => vector.remove_label_values(values),
        };
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        match self {
            Self::Counter(vector) => vector.collect(),
            Self::Gauge(vector) => vector.collect(),
            Self::Histogram(vector) => vector.collect(),
        }
    }
}

/// One series; what its kind does not know is ignored.
#[derive(Clone)]
pub(super) enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
    /// Of a family that could not be made: the reason was logged.
    Nothing,
}

impl Instrument for Series {
    fn add(&self, value: f64) {
        match self {
            // Prometheus panics on a negative value in a debug build.
            Self::Counter(counter) if value >= 0.0 && value.is_finite() => counter.inc_by(value),
            Self::Gauge(gauge) => gauge.add(value),
            Self::Counter(_) | Self::Histogram(_) | Self::Nothing => {}
        }
    }

    fn set(&self, value: f64) {
        if let Self::Gauge(gauge) = self {
            gauge.set(value);
        }
    }

    fn observe(&self, value: f64) {
        if let Self::Histogram(histogram) = self {
            histogram.observe(value);
        }
    }
}

/// Label values as one key. No byte of UTF-8 is 0xFF, so different values never meet.
pub(super) fn key<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    for value in values {
        key.extend_from_slice(value.as_bytes());
        key.push(0xFF);
    }
    key
}
