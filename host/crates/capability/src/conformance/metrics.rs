//! The suite of the metrics capability: one case per bullet of its contract.
#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use crate::{
    ErrorKind,
    metrics::{MetricDeclaration, MetricKind, Metrics, SERIES_MAX, Sample, SampleKind},
    name::PluginName,
};
use std::sync::Arc;

/// Runs every case over `$make`, an async expression that yields a fresh `Arc<dyn Metrics>`.
#[macro_export]
macro_rules! metrics_suite {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::metrics, $make;
            declared_metric_is_rendered,
            undeclared_is_refused,
            negative_counter_is_refused,
            series_are_capped,
            bad_names_are_refused,
            redeclaring_is_idempotent,
            render_is_valid_text,
        }
    };
}

fn plugin(name: &str) -> PluginName {
    PluginName::new(name).expect("a good name")
}

fn declaration(name: &str, kind: MetricKind, labels: &[&str]) -> MetricDeclaration {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    MetricDeclaration { name: name.into(), kind, help: "A number.".into(), labels, buckets: Vec::new() }
}

fn sample(kind: SampleKind, name: &str, value: f64, labels: &[(&str, &str)]) -> Sample {
    Sample { kind, name: name.into(), value, labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect() }
}

/// A subject where `review-rules` declared the counter `changes_total{to}`.
fn declared(metrics: &dyn Metrics) -> PluginName {
    let plugin = plugin("review-rules");
    metrics.declare(&plugin, &[declaration("changes_total", MetricKind::Counter, &["to"])]).expect("declares");
    plugin
}

/// The sum of the series whose name is exactly `name`.
fn total(metrics: &dyn Metrics, name: &str) -> f64 {
    metrics.query(name, usize::MAX).iter().filter(|series| series.name == name).map(|series| series.value).sum()
}

pub async fn declared_metric_is_rendered(metrics: Arc<dyn Metrics>) {
    let plugin = declared(&*metrics);
    for _ in 0..2 {
        metrics.record(&plugin, "1.2.0", &sample(SampleKind::CounterAdd, "changes_total", 1.5, &[("to", "approved")])).expect("counts");
    }
    let text = metrics.render().expect("renders");
    let line = text.lines().find(|line| line.starts_with("review_rules_changes_total{")).expect("the series is there");
    for part in ["plugin=\"review-rules\"", "plugin_version=\"1.2.0\"", "to=\"approved\""] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(line.ends_with(" 3"), "{line}");
    metrics.retract(&plugin);
    assert!(!metrics.render().expect("renders").contains("review_rules_changes_total"), "a retracted metric is gone");
}

pub async fn undeclared_is_refused(metrics: Arc<dyn Metrics>) {
    let known = declared(&*metrics);
    let to = ("to", "approved");
    let refused = [
        (&known, sample(SampleKind::CounterAdd, "other_total", 1.0, &[to])),
        (&known, sample(SampleKind::GaugeSet, "changes_total", 1.0, &[to])),
        (&known, sample(SampleKind::CounterAdd, "changes_total", 1.0, &[])),
        (&known, sample(SampleKind::CounterAdd, "changes_total", 1.0, &[("from", "approved")])),
        (&known, sample(SampleKind::CounterAdd, "changes_total", 1.0, &[to, to])),
        (&known, sample(SampleKind::CounterAdd, "changes_total", 1.0, &[to, ("more", "x")])),
        (&plugin("somebody-else"), sample(SampleKind::CounterAdd, "changes_total", 1.0, &[to])),
    ];
    for (plugin, sample) in refused {
        assert_eq!(metrics.record(plugin, "1.0.0", &sample).expect_err("refused").kind(), ErrorKind::InvalidInput, "{sample:?}");
    }
    assert_eq!(metrics.query("review_rules_", usize::MAX), []);
}

pub async fn negative_counter_is_refused(metrics: Arc<dyn Metrics>) {
    let plugin = declared(&*metrics);
    let add = |value| metrics.record(&plugin, "1.0.0", &sample(SampleKind::CounterAdd, "changes_total", value, &[("to", "x")]));
    add(2.0).expect("counts");
    for value in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(add(value).expect_err("refused").kind(), ErrorKind::InvalidInput, "{value}");
    }
    assert!((total(&*metrics, "review_rules_changes_total") - 2.0).abs() < f64::EPSILON);
}

pub async fn series_are_capped(metrics: Arc<dyn Metrics>) {
    let plugin = declared(&*metrics);
    let add = |i: usize| metrics.record(&plugin, "1.0.0", &sample(SampleKind::CounterAdd, "changes_total", 1.0, &[("to", &i.to_string())]));
    for i in 0..SERIES_MAX {
        add(i).expect("within the cap");
    }
    assert_eq!(add(SERIES_MAX).expect_err("beyond the cap").kind(), ErrorKind::LimitExceeded);
    add(0).expect("a known series still counts");
    let series = metrics.query("review_rules_changes_total", usize::MAX);
    assert_eq!(series.len(), SERIES_MAX);
    assert_eq!(metrics.query("review_rules_changes_total", 7).len(), 7, "query is bounded");
}

pub async fn bad_names_are_refused(metrics: Arc<dyn Metrics>) {
    let refuse = |name: &str, declarations: &[MetricDeclaration]| {
        let kind = metrics.declare(&plugin(name), declarations).expect_err("refused").kind();
        assert_eq!(kind, ErrorKind::InvalidInput, "{name}: {declarations:?}");
    };
    let counter = |name: &str, labels: &[&str]| declaration(name, MetricKind::Counter, labels);
    for name in ["", "has space", "has-hyphen", "ünicode", "new\nline", "a{b=\"c\"}"] {
        refuse("a", &[counter(name, &[])]);
    }
    for labels in [&[""][..], &["9x"], &["a-b"], &["__x"], &["plugin"], &["plugin_version"], &["twice", "twice"]] {
        refuse("a", &[counter("good_total", labels)]);
    }
    refuse("a", &[declaration("seconds", MetricKind::Histogram, &["le"])]);
    let histogram = |buckets: &[f64]| MetricDeclaration { buckets: buckets.to_vec(), ..declaration("seconds", MetricKind::Histogram, &[]) };
    for buckets in [&[2.0, 1.0][..], &[1.0, 1.0], &[f64::NAN]] {
        refuse("a", &[histogram(buckets)]);
    }
    refuse("a", &[MetricDeclaration { buckets: vec![1.0], ..counter("good_total", &[]) }]);
    refuse("a", &[counter("twice_total", &[]), counter("twice_total", &[])]);
    refuse("a", &[histogram(&[1.0]), counter("seconds_count", &[])]);
    refuse("plinth", &[counter("hook_calls_total", &[])]);
    metrics.declare(&plugin("a-b"), &[counter("c_total", &[])]).expect("declares");
    refuse("a", &[counter("fine_total", &[]), counter("b_c_total", &[])]);
    let fine = metrics.record(&plugin("a"), "1.0.0", &sample(SampleKind::CounterAdd, "fine_total", 1.0, &[]));
    assert_eq!(fine.expect_err("a refused list declares nothing").kind(), ErrorKind::InvalidInput);
}

pub async fn redeclaring_is_idempotent(metrics: Arc<dyn Metrics>) {
    let plugin = declared(&*metrics);
    let add = |version: &str| metrics.record(&plugin, version, &sample(SampleKind::CounterAdd, "changes_total", 1.0, &[("to", "x")]));
    add("1.0.0").expect("counts");
    declared(&*metrics);
    add("1.1.0").expect("counts");
    assert!((total(&*metrics, "review_rules_changes_total") - 2.0).abs() < f64::EPSILON, "declaring again keeps what was counted");
    metrics.declare(&plugin, &[declaration("changes_total", MetricKind::Gauge, &["to", "from"])]).expect("a change replaces");
    assert_eq!(add("1.1.0").expect_err("it is a gauge now").kind(), ErrorKind::InvalidInput);
    let set = sample(SampleKind::GaugeSet, "changes_total", 7.0, &[("from", "y"), ("to", "x")]);
    metrics.record(&plugin, "1.2.0", &set).expect("label names may come in any order");
    assert!((total(&*metrics, "review_rules_changes_total") - 7.0).abs() < f64::EPSILON);
}

pub async fn render_is_valid_text(metrics: Arc<dyn Metrics>) {
    let plugin = declared(&*metrics);
    let seconds = MetricDeclaration {
        help: "First line\nsecond \\ line".into(),
        buckets: vec![0.5, 1.0],
        ..declaration("seconds", MetricKind::Histogram, &["step"])
    };
    metrics.declare(&plugin, &[seconds, declaration("open", MetricKind::Gauge, &[])]).expect("declares");
    metrics.record(&plugin, "1.0.0", &sample(SampleKind::HistogramObserve, "seconds", 0.75, &[("step", "a\"b\\c\nd")])).expect("observes");
    metrics.record(&plugin, "1.0.0", &sample(SampleKind::GaugeAdd, "open", -2.0, &[])).expect("adds");
    let text = metrics.render().expect("renders");
    for line in [
        "# HELP review_rules_seconds First line\\nsecond \\\\ line",
        "# TYPE review_rules_seconds histogram",
        "# TYPE review_rules_open gauge",
        "review_rules_open{plugin=\"review-rules\",plugin_version=\"1.0.0\"} -2",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in:\n{text}");
    }
    assert!(text.contains("step=\"a\\\"b\\\\c\\nd\""), "label values are escaped:\n{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap_or_default();
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{line}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let typed = |name: &str| text.contains(&format!("# TYPE {name} ")) && text.contains(&format!("# HELP {name} "));
        assert!(typed(name) || typed(family), "help and type of {line}");
    }
    assert!((total(&*metrics, "review_rules_seconds_count") - 1.0).abs() < f64::EPSILON);
    assert!((total(&*metrics, "review_rules_seconds_sum") - 0.75).abs() < f64::EPSILON);
}
