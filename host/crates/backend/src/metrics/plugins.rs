//! The plugins' metrics: what each declared, and the bounded series of it.

use super::{
    declaration::{self, OPERATION, OWN_LABELS, exported, full_name},
    vector::{Series, Vector, key},
};
use plinth_capability::{
    Error, ErrorKind, Result,
    metrics::{Instrument, LABEL_VALUE_MAX, METRICS_MAX, MetricDeclaration, MetricKind, SERIES_MAX, Sample, SampleKind},
    name::PluginName,
};
use prometheus::proto::MetricFamily;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Of all plugins together; what one plugin takes, another cannot.
const METRICS_TOTAL_MAX: usize = 2_000;
const SERIES_TOTAL_MAX: usize = 20_000;
/// Versions of a plugin whose series are kept. Two are live while one drains;
/// without a bound the series of versions long gone would fill the cap.
const VERSIONS_MAX: usize = 4;

#[derive(Default)]
pub(super) struct PluginMetrics {
    // A std lock: held for map lookups, never across an await.
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    plugins: HashMap<PluginName, BTreeMap<String, Metric>>,
}

struct Metric {
    declaration: MetricDeclaration,
    vector: Vector,
    series: HashMap<Vec<u8>, Kept>,
    /// Those with series, oldest first.
    versions: VecDeque<String>,
}

struct Kept {
    series: Series,
    /// In the order of the labels: plugin, version, then the declared ones.
    values: Vec<String>,
}

impl PluginMetrics {
    /// All of the list or nothing. What only an older version declared stays,
    /// for its calls still in flight, as long as there is room.
    pub(super) fn declare(&self, plugin: &PluginName, declarations: &[MetricDeclaration]) -> Result<()> {
        let mut state = self.write();
        declaration::check(plugin, declarations, &state.names_of_others(plugin))?;
        let made = declarations.iter().map(|declaration| Metric::new(plugin, declaration)).collect::<Result<Vec<_>>>()?;
        let elsewhere: usize = state.plugins.iter().filter(|(name, _)| *name != plugin).map(|(_, metrics)| metrics.len()).sum();
        let metrics = state.plugins.entry(plugin.clone()).or_default();
        let stale = giving_way(metrics, declarations);
        let added = made.iter().filter(|new| !metrics.contains_key(&new.declaration.name)).count();
        if elsewhere + metrics.len() - stale.len() + added > METRICS_TOTAL_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, "the plugins of this host have too many metrics"));
        }
        metrics.retain(|name, _| !stale.contains(name));
        for new in made {
            if !metrics.get(&new.declaration.name).is_some_and(|old| old.same_shape(&new)) {
                metrics.insert(new.declaration.name.clone(), new);
            }
        }
        Ok(())
    }

    pub(super) fn retract(&self, plugin: &PluginName) {
        self.write().plugins.remove(plugin);
    }

    pub(super) fn record(&self, plugin: &PluginName, version: &str, sample: &Sample) -> Result<()> {
        if !sample.value.is_finite() || sample.kind == SampleKind::CounterAdd && sample.value < 0.0 {
            return Err(invalid("a counter grows, and every value is a finite number"));
        }
        let state = self.read();
        let metric = state.metric(plugin, sample)?;
        let values = metric.values(plugin, version, sample)?;
        let key = key(values.iter().copied());
        if let Some(kept) = metric.series.get(&key) {
            kept.series.apply(sample);
            return Ok(());
        }
        drop(state);
        self.series(plugin, version, sample)?.apply(sample);
        Ok(())
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        self.read().plugins.values().flat_map(BTreeMap::values).flat_map(|metric| metric.vector.collect()).collect()
    }

    /// Makes the series, unless another call was faster.
    fn series(&self, plugin: &PluginName, version: &str, sample: &Sample) -> Result<Series> {
        let mut state = self.write();
        let total: usize = state.plugins.values().flat_map(BTreeMap::values).map(|metric| metric.series.len()).sum();
        // Again: the metric may have been declared anew in between.
        let values = state.metric(plugin, sample)?.values(plugin, version, sample)?;
        let key = key(values.iter().copied());
        let metric = state.plugins.get_mut(plugin).and_then(|metrics| metrics.get_mut(&sample.name)).ok_or_else(undeclared)?;
        if let Some(kept) = metric.series.get(&key) {
            return Ok(kept.series.clone());
        }
        metric.admit(version);
        if metric.series.len() >= SERIES_MAX || total >= SERIES_TOTAL_MAX {
            let message = format!("metric `{}` has too many label values", sample.name);
            return Err(Error::new(ErrorKind::LimitExceeded, "metrics.record", message));
        }
        let series = metric.vector.series(&values).map_err(|error| invalid("the labels do not fit the metric").with_source(error))?;
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        metric.series.insert(key, Kept { series: series.clone(), values });
        Ok(series)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn names_of_others(&self, plugin: &PluginName) -> HashSet<String> {
        let others = self.plugins.iter().filter(|(name, _)| *name != plugin);
        let metrics = others.flat_map(|(name, metrics)| metrics.values().map(move |metric| (name, metric)));
        metrics.flat_map(|(name, metric)| exported(&full_name(name, &metric.declaration.name), metric.declaration.kind)).collect()
    }

    fn metric(&self, plugin: &PluginName, sample: &Sample) -> Result<&Metric> {
        let metric = self.plugins.get(plugin).and_then(|metrics| metrics.get(&sample.name)).ok_or_else(undeclared)?;
        let kind = match sample.kind {
            SampleKind::CounterAdd => MetricKind::Counter,
            SampleKind::GaugeSet | SampleKind::GaugeAdd => MetricKind::Gauge,
            SampleKind::HistogramObserve => MetricKind::Histogram,
        };
        if kind != metric.declaration.kind {
            return Err(invalid("the metric is declared with another kind"));
        }
        Ok(metric)
    }
}

impl Metric {
    fn new(plugin: &PluginName, declaration: &MetricDeclaration) -> Result<Self> {
        let labels: Vec<&str> = OWN_LABELS.into_iter().chain(declaration.labels.iter().map(String::as_str)).collect();
        let name = full_name(plugin, &declaration.name);
        let vector = Vector::new(declaration.kind, &name, &declaration.help, &labels, &declaration.buckets).map_err(|error| {
            let message = format!("metric `{}` is not one that Prometheus takes", declaration.name);
            Error::new(ErrorKind::InvalidInput, OPERATION, message).with_source(error)
        })?;
        Ok(Self { declaration: declaration.clone(), vector, series: HashMap::new(), versions: VecDeque::new() })
    }

    /// Whether what was counted can go on counting; another help text can wait
    /// for the next start of the host.
    fn same_shape(&self, other: &Self) -> bool {
        let set = |declaration: &MetricDeclaration| declaration.labels.iter().cloned().collect::<HashSet<_>>();
        let (old, new) = (&self.declaration, &other.declaration);
        old.kind == new.kind && old.buckets == new.buckets && set(old) == set(new)
    }

    /// The values in the order of the labels, whatever order the sample has.
    fn values<'a>(&self, plugin: &'a PluginName, version: &'a str, sample: &'a Sample) -> Result<Vec<&'a str>> {
        let labels = &self.declaration.labels;
        let mut values = Vec::with_capacity(OWN_LABELS.len() + labels.len());
        values.extend([plugin.as_str(), version]);
        for label in labels {
            let value = sample.labels.iter().find(|(name, _)| name == label).map(|(_, value)| value.as_str());
            values.push(value.ok_or_else(|| invalid("a declared label is missing"))?);
        }
        // As many as declared, and each declared one found: so there is no other.
        if sample.labels.len() != labels.len() {
            return Err(invalid("the labels are not the declared ones"));
        }
        if sample.labels.iter().any(|(_, value)| value.len() > LABEL_VALUE_MAX) {
            let message = format!("a label value has at most {LABEL_VALUE_MAX} bytes");
            return Err(Error::new(ErrorKind::LimitExceeded, "metrics.record", message));
        }
        Ok(values)
    }

    /// Makes room for the series of a version by dropping those of the oldest.
    fn admit(&mut self, version: &str) {
        if self.versions.iter().any(|known| known == version) {
            return;
        }
        if self.versions.len() >= VERSIONS_MAX
            && let Some(oldest) = self.versions.pop_front()
        {
            let vector = &self.vector;
            self.series.retain(|_, kept| {
                let stays = kept.values.get(1) != Some(&oldest);
                if !stays {
                    vector.remove(&kept.values);
                }
                stays
            });
        }
        self.versions.push_back(version.to_owned());
    }
}

impl Series {
    fn apply(&self, sample: &Sample) {
        match sample.kind {
            SampleKind::CounterAdd | SampleKind::GaugeAdd => self.add(sample.value),
            SampleKind::GaugeSet => self.set(sample.value),
            SampleKind::HistogramObserve => self.observe(sample.value),
        }
    }
}

/// The older metrics that would be too many beside the declared ones, or collide.
fn giving_way(metrics: &BTreeMap<String, Metric>, declarations: &[MetricDeclaration]) -> HashSet<String> {
    let listed: HashSet<&str> = declarations.iter().map(|declaration| declaration.name.as_str()).collect();
    let claimed: HashSet<String> = declarations.iter().flat_map(|new| exported(&new.name, new.kind)).collect();
    let older: Vec<_> = metrics.iter().filter(|(name, _)| !listed.contains(name.as_str())).collect();
    let crowded = older.len() + declarations.len() > METRICS_MAX;
    let collides = |(name, old): &(&String, &Metric)| exported(name, old.declaration.kind).iter().any(|name| claimed.contains(name));
    older.into_iter().filter(|metric| crowded || collides(metric)).map(|(name, _)| name.clone()).collect()
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "metrics.record", message)
}

fn undeclared() -> Error {
    invalid("the plugin declares no metric of this name")
}
