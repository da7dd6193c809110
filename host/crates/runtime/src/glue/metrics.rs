//! Glue for `plinth:metrics`: never an error, but refused samples are counted and named once.

use crate::{
    bindings::plinth::metrics::instruments::{self, Kind, Labels, Sample as WitSample},
    choke::Operation,
    state::CallState,
};
use plinth_capability::metrics::{Sample, SampleKind};

const RECORD: Operation = Operation::new("metrics", "record");
/// Guest-controlled: samples in one `observe-many`.
const SAMPLES_MAX: usize = 1_000;

impl CallState {
    fn record(&mut self, kind: SampleKind, name: String, value: f64, labels: Labels) {
        let sample = Sample { kind, name, value, labels };
        let info = &self.version.info;
        if let Err(why) = self.capabilities.metrics.record(&info.plugin, &info.version, &sample) {
            self.version.meters.rejected_sample(&info.plugin, &sample.name, &why);
        }
    }
}

impl instruments::Host for CallState {
    fn counter_add(&mut self, name: String, delta: f64, labels: Labels) -> wasmtime::Result<()> {
        self.choke_local(RECORD)?;
        self.record(SampleKind::CounterAdd, name, delta, labels);
        Ok(())
    }

    fn gauge_set(&mut self, name: String, value: f64, labels: Labels) -> wasmtime::Result<()> {
        self.choke_local(RECORD)?;
        self.record(SampleKind::GaugeSet, name, value, labels);
        Ok(())
    }

    fn gauge_add(&mut self, name: String, delta: f64, labels: Labels) -> wasmtime::Result<()> {
        self.choke_local(RECORD)?;
        self.record(SampleKind::GaugeAdd, name, delta, labels);
        Ok(())
    }

    fn histogram_observe(&mut self, name: String, value: f64, labels: Labels) -> wasmtime::Result<()> {
        self.choke_local(RECORD)?;
        self.record(SampleKind::HistogramObserve, name, value, labels);
        Ok(())
    }

    fn observe_many(&mut self, samples: Vec<WitSample>) -> wasmtime::Result<()> {
        self.choke_local(RECORD)?;
        for sample in samples.into_iter().take(SAMPLES_MAX) {
            let kind = match sample.kind {
                Kind::CounterAdd => SampleKind::CounterAdd,
                Kind::GaugeSet => SampleKind::GaugeSet,
                Kind::GaugeAdd => SampleKind::GaugeAdd,
                Kind::HistogramObserve => SampleKind::HistogramObserve,
            };
            self.record(kind, sample.name, sample.value, sample.labels);
        }
        Ok(())
    }
}
