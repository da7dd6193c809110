//! The host's own metrics: families from its tables, series made at first use.

use super::vector::{Series, Vector, key};
use plinth_capability::metrics::{Family, Instrument};
use prometheus::proto::MetricFamily;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Labels of the host are closed sets; this many series mean that one is not.
const SERIES_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct HostMetrics {
    // A std lock: held for a map lookup, never across an await.
    families: RwLock<HashMap<&'static str, HostFamily>>,
}

struct HostFamily {
    vector: Vector,
    series: HashMap<Vec<u8>, Arc<Series>>,
}

impl HostMetrics {
    /// Never fails: a metric must not be the reason that the host stops working.
    pub(super) fn instrument(&self, family: &'static Family, labels: &[&str]) -> Arc<dyn Instrument> {
        let key = key(labels.iter().copied());
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = families.get(family.name).and_then(|known| known.series.get(&key)) {
            return Arc::<Series>::clone(series);
        }
        drop(families);
        self.make(family, labels, key).unwrap_or_else(|error| {
            tracing::error!(metric = family.name, %error, "metric cannot be made, its numbers are lost");
            Arc::new(Series::Nothing)
        })
    }

    pub(super) fn forget(&self, family: &'static Family, labels: &[&str]) {
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = families.get_mut(family.name)
            && known.series.remove(&key(labels.iter().copied())).is_some()
        {
            known.vector.remove(labels);
        }
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        families.values().flat_map(|family| family.vector.collect()).collect()
    }

    fn make(&self, family: &'static Family, labels: &[&str], key: Vec<u8>) -> prometheus::Result<Arc<Series>> {
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        if !families.contains_key(family.name) {
            let vector = Vector::new(family.kind, family.name, family.help, family.labels, family.buckets)?;
            families.insert(family.name, HostFamily { vector, series: HashMap::new() });
        }
        let Some(known) = families.get_mut(family.name) else { return Ok(Arc::new(Series::Nothing)) };
        if let Some(series) = known.series.get(&key) {
            return Ok(Arc::clone(series));
        }
        if known.series.len() >= SERIES_MAX {
            return Err(prometheus::Error::Msg(format!("{SERIES_MAX} series already")));
        }
        let series = Arc::new(known.vector.series(labels)?);
        known.series.insert(key, Arc::clone(&series));
        Ok(series)
    }
}
