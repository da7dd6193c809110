//! Prometheus metrics against the suite, and the host's own instruments.

use plinth_backend::metrics::PrometheusMetrics;
use plinth_capability::{
    ErrorKind,
    metrics::{Family, LABEL_VALUE_MAX, METRICS_MAX, MetricDeclaration, MetricKind, Metrics, SERIES_MAX, Sample, SampleKind},
    name::PluginName,
};
use std::{collections::BTreeSet, sync::Arc, thread};

plinth_capability::metrics_suite!(async { Arc::new(PrometheusMetrics::new()) as Arc<dyn Metrics> });

static CALLS: Family = Family {
    name: "plinth_hook_calls_total",
    help: "Hook calls by outcome.",
    kind: MetricKind::Counter,
    labels: &["plugin", "outcome"],
    buckets: &[],
};
static LIVE: Family =
    Family { name: "plinth_generations_live", help: "Live generations.", kind: MetricKind::Gauge, labels: &[], buckets: &[] };
static SECONDS: Family = Family {
    name: "plinth_hook_duration_seconds",
    help: "Duration of hook calls.",
    kind: MetricKind::Histogram,
    labels: &["plugin"],
    buckets: &[0.001, 0.1],
};

fn plugin(name: &str) -> PluginName {
    PluginName::new(name).unwrap()
}

fn counter(name: &str, labels: &[&str]) -> MetricDeclaration {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    MetricDeclaration { name: name.into(), kind: MetricKind::Counter, help: "A number.".into(), labels, buckets: vec![] }
}

fn add(metrics: &PrometheusMetrics, plugin: &PluginName, version: &str, name: &str, labels: &[(&str, &str)]) -> Result<(), ErrorKind> {
    let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let sample = Sample { kind: SampleKind::CounterAdd, name: name.into(), value: 1.0, labels };
    metrics.record(plugin, version, &sample).map_err(|error| error.kind())
}

#[test]
fn instruments_of_the_host_are_rendered_until_forgotten() {
    let metrics = PrometheusMetrics::new();
    let calls = metrics.instrument(&CALLS, &["review-rules", "ok"]);
    calls.add(2.0);
    for ignored in [-1.0, f64::NAN, f64::INFINITY] {
        calls.add(ignored);
    }
    calls.set(7.0);
    metrics.instrument(&CALLS, &["review-rules", "ok"]).add(1.0);
    let live = metrics.instrument(&LIVE, &[]);
    live.set(3.0);
    live.add(-1.0);
    let seconds = metrics.instrument(&SECONDS, &["review-rules"]);
    seconds.observe(0.05);
    seconds.add(9.0);
    let text = metrics.render().unwrap();
    for line in [
        "# HELP plinth_hook_calls_total Hook calls by outcome.",
        "# TYPE plinth_hook_calls_total counter",
        "plinth_hook_calls_total{outcome=\"ok\",plugin=\"review-rules\"} 3",
        "plinth_generations_live 2",
        "plinth_hook_duration_seconds_bucket{plugin=\"review-rules\",le=\"0.001\"} 0",
        "plinth_hook_duration_seconds_bucket{plugin=\"review-rules\",le=\"0.1\"} 1",
        "plinth_hook_duration_seconds_count{plugin=\"review-rules\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in:\n{text}");
    }
    assert!(text.contains("\nprocess_resident_memory_bytes "), "the process shows too");
    metrics.forget(&CALLS, &["review-rules", "ok"]);
    assert!(!metrics.render().unwrap().contains("plinth_hook_calls_total"));
    metrics.instrument(&CALLS, &["review-rules", "ok"]).add(1.0);
    assert!(metrics.render().unwrap().contains("plinth_hook_calls_total{outcome=\"ok\",plugin=\"review-rules\"} 1"));
}

#[test]
fn a_wrong_number_of_labels_harms_nobody() {
    let metrics = PrometheusMetrics::new();
    metrics.instrument(&CALLS, &["only-one"]).add(1.0);
    metrics.instrument(&CALLS, &["review-rules", "ok"]).add(1.0);
    assert_eq!(metrics.query("plinth_", usize::MAX).len(), 1);
}

#[test]
fn no_sample_is_lost_between_threads() {
    let metrics = PrometheusMetrics::new();
    let name = plugin("review-rules");
    metrics.declare(&name, &[counter("changes_total", &["to"])]).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..500 {
                    add(&metrics, &name, "1.0.0", "changes_total", &[("to", ["a", "b", "c"][i % 3])]).unwrap();
                    metrics.instrument(&CALLS, &["review-rules", "ok"]).add(1.0);
                }
            });
        }
    });
    let total = |name| metrics.query(name, usize::MAX).iter().map(|series| series.value).sum::<f64>();
    assert_eq!([total("review_rules_changes_total"), total("plinth_hook_calls_total")], [2_000.0; 2]);
}

#[test]
fn versions_long_gone_make_room() {
    let metrics = PrometheusMetrics::new();
    let name = plugin("review-rules");
    metrics.declare(&name, &[counter("changes_total", &["to"])]).unwrap();
    for version in 0..20 {
        for i in 0..SERIES_MAX / 4 {
            add(&metrics, &name, &format!("1.{version}.0"), "changes_total", &[("to", &i.to_string())]).unwrap();
        }
    }
    let series = metrics.query("review_rules_", usize::MAX);
    let versions: BTreeSet<_> = series.iter().flat_map(|series| &series.labels).filter(|(name, _)| name == "plugin_version").collect();
    assert_eq!((series.len(), versions.len()), (SERIES_MAX, 4));
}

#[test]
fn every_count_is_bounded() {
    let metrics = PrometheusMetrics::new();
    let many = |prefix: &str, count: usize| (0..count).map(|i| counter(&format!("{prefix}{i}_total"), &["x"])).collect::<Vec<_>>();
    let declare = |name: &str, list: &[MetricDeclaration]| metrics.declare(&plugin(name), list).map_err(|error| error.kind());
    assert_eq!(declare("a", &many("m", METRICS_MAX + 1)), Err(ErrorKind::LimitExceeded));
    declare("a", &many("m", METRICS_MAX)).unwrap();
    add(&metrics, &plugin("a"), "1.0.0", "m0_total", &[("x", &"v".repeat(LABEL_VALUE_MAX))]).unwrap();
    let long = "v".repeat(LABEL_VALUE_MAX + 1);
    assert_eq!(add(&metrics, &plugin("a"), "1.0.0", "m0_total", &[("x", &long)]), Err(ErrorKind::LimitExceeded));
    declare("a", &many("n", METRICS_MAX)).unwrap();
    assert_eq!(add(&metrics, &plugin("a"), "1.0.0", "m0_total", &[("x", "v")]), Err(ErrorKind::InvalidInput), "it gave way");
    let refused = (0..50).filter(|i| declare(&format!("plugin-{i}"), &many("m", METRICS_MAX)).is_err()).count();
    assert_eq!(refused, 11, "2,000 metrics are the most a host takes, `a` has 50 of them");
    let series = (0..SERIES_MAX * 120).filter(|i| {
        let (name, metric) = (plugin(&format!("plugin-{}", i % 30)), format!("m{}_total", i / 30 % 50));
        add(&metrics, &name, "1.0.0", &metric, &[("x", &(i / 1_500).to_string())]).is_ok()
    });
    assert_eq!(series.count(), 20_000, "series are the most a host takes");
}
