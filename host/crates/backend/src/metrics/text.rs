//! What is shown of the metrics: in a fixed order, as text and as values.

use plinth_capability::metrics::SeriesValue;
use prometheus::proto::{Metric, MetricFamily, MetricType};

/// Sorts the families by name and their series by label values; drops empty
/// ones, which the text format does not know.
pub(super) fn arrange(mut families: Vec<MetricFamily>) -> Vec<MetricFamily> {
    families.retain(|family| !family.get_metric().is_empty());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    for family in &mut families {
        family.mut_metric().sort_by(|a, b| label_values(a).cmp(label_values(b)));
    }
    families
}

pub(super) fn values(families: &[MetricFamily], prefix: &str, limit: usize) -> Vec<SeriesValue> {
    let all = families.iter().flat_map(|family| family.get_metric().iter().map(move |metric| (family, metric)));
    let numbers = all
        .flat_map(|(family, metric)| numbers(family.get_field_type(), metric).map(move |(suffix, value)| (family, metric, suffix, value)));
    let named = numbers.map(|(family, metric, suffix, value)| (format!("{}{suffix}", family.name()), metric, value));
    named
        .filter(|(name, ..)| name.starts_with(prefix))
        .take(limit)
        .map(|(name, metric, value)| SeriesValue { name, labels: labels(metric), value })
        .collect()
}

fn label_values(metric: &Metric) -> impl Iterator<Item = &str> {
    metric.get_label().iter().map(|label| label.value())
}

fn labels(metric: &Metric) -> Vec<(String, String)> {
    metric.get_label().iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
}

/// The numbers of one series, each with what its name has beyond the family's.
fn numbers(kind: MetricType, metric: &Metric) -> impl Iterator<Item = (&'static str, f64)> {
    let histogram = metric.get_histogram();
    let (first, second) = match kind {
        MetricType::COUNTER => (Some(("", metric.get_counter().get_value())), None),
        MetricType::GAUGE => (Some(("", metric.get_gauge().get_value())), None),
        MetricType::HISTOGRAM => (Some(("_count", histogram.get_sample_count() as f64)), Some(("_sum", histogram.get_sample_sum()))),
        MetricType::SUMMARY | MetricType::UNTYPED => (None, None),
    };
    first.into_iter().chain(second)
}
