//! The one table of the runtime's own metrics, and the series resolved once per version.

use crate::{
    choke::{CAPABILITIES, OUTCOMES},
    hook::Hook,
    outcome::VersionInfo,
};
use plinth_capability::{
    Error,
    metrics::{Family, Instrument, MetricKind, Metrics},
    name::PluginName,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const SECONDS: &[f64] = &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

macro_rules! family {
    ($name:ident, $text:literal, $kind:ident, $help:literal, [$($label:literal),*], $buckets:expr) => {
        pub(crate) static $name: Family =
            Family { name: $text, help: $help, kind: MetricKind::$kind, labels: &[$($label),*], buckets: $buckets };
    };
}

family!(CALLS, "plinth_hook_calls_total", Counter, "Hook calls by how they ended.", ["plugin", "plugin_version", "hook", "outcome"], &[]);
family!(CALL_SECONDS, "plinth_hook_call_seconds", Histogram, "Time of a hook call, admission to answer.", ["plugin", "hook"], SECONDS);
family!(CPU_SECONDS, "plinth_guest_cpu_seconds_total", Counter, "CPU time of guests.", ["plugin", "plugin_version"], &[]);
family!(WAIT_SECONDS, "plinth_admission_wait_seconds", Histogram, "Time calls waited for their turn.", ["plugin"], SECONDS);
family!(
    LIVE,
    "plinth_live_calls",
    Gauge,
    "Hook calls running now; returns to 0 for a version that was replaced.",
    ["plugin", "plugin_version", "digest"],
    &[]
);
family!(HOST_CALLS, "plinth_host_calls_total", Counter, "Capability calls of plugins.", ["plugin", "capability", "outcome"], &[]);
family!(HOST_CALL_SECONDS, "plinth_host_call_seconds", Histogram, "Time of a capability call.", ["capability"], SECONDS);
family!(
    PEAK_MEMORY,
    "plinth_guest_memory_peak_bytes",
    Gauge,
    "Largest memory of one call of this version.",
    ["plugin", "plugin_version"],
    &[]
);
family!(REJECTED_SAMPLES, "plinth_plugin_metrics_rejected_total", Counter, "Samples a plugin sent that were refused.", ["plugin"], &[]);
family!(DROPPED_LOG_LINES, "plinth_plugin_log_lines_dropped_total", Counter, "Log lines over a call's budget.", ["plugin"], &[]);
family!(GENERATION, "plinth_registry_generation", Gauge, "Generation of the published snapshot.", [], &[]);
family!(SWAPS, "plinth_swaps_total", Counter, "Changes of a slot.", ["plugin", "kind"], &[]);
family!(QUARANTINES, "plinth_quarantines_total", Counter, "Digests taken out of service for trapping.", ["plugin"], &[]);

/// Values of the `kind` label of `plinth_swaps_total`.
pub(crate) const SWAP_KINDS: [&str; 4] = ["install", "swap", "roll-back", "quarantine"];

/// All outcome codes, in the order of the resolved series.
const CODES: [&str; 7] = ["ok", "guest-error", "trap", "deadline", "limit", "denied", "unavailable"];

/// Names logged once, so that a plugin cannot flood the log with refusals.
const NAMES_LOGGED_MAX: usize = 100;

/// Every series one version writes, resolved when it is loaded: a call touches
/// no map and builds no label.
pub(crate) struct VersionMeters {
    calls: Vec<[Arc<dyn Instrument>; CODES.len()]>,
    call_seconds: Vec<Arc<dyn Instrument>>,
    cpu: Arc<dyn Instrument>,
    wait: Arc<dyn Instrument>,
    pub(crate) live: Arc<dyn Instrument>,
    host_calls: [[Arc<dyn Instrument>; OUTCOMES.len()]; CAPABILITIES.len()],
    host_call_seconds: [Arc<dyn Instrument>; CAPABILITIES.len()],
    peak: Arc<dyn Instrument>,
    peak_seen: std::sync::atomic::AtomicU64,
    rejected: Arc<dyn Instrument>,
    dropped: Arc<dyn Instrument>,
    names_logged: Mutex<HashSet<String>>,
}

impl VersionMeters {
    pub(crate) fn new(metrics: &dyn Metrics, info: &VersionInfo) -> Self {
        let (plugin, version) = (info.plugin.as_str(), info.version.as_str());
        let series = |family: &'static Family, labels: &[&str]| metrics.instrument(family, labels);
        Self {
            calls: Hook::ALL.iter().map(|h| CODES.map(|code| series(&CALLS, &[plugin, version, h.name(), code]))).collect(),
            call_seconds: Hook::ALL.iter().map(|h| series(&CALL_SECONDS, &[plugin, h.name()])).collect(),
            cpu: series(&CPU_SECONDS, &[plugin, version]),
            wait: series(&WAIT_SECONDS, &[plugin]),
            live: series(&LIVE, &[plugin, version, &info.digest]),
            host_calls: CAPABILITIES.map(|c| OUTCOMES.map(|o| series(&HOST_CALLS, &[plugin, c, o]))),
            host_call_seconds: CAPABILITIES.map(|c| series(&HOST_CALL_SECONDS, &[c])),
            peak: series(&PEAK_MEMORY, &[plugin, version]),
            peak_seen: std::sync::atomic::AtomicU64::new(0),
            rejected: series(&REJECTED_SAMPLES, &[plugin]),
            dropped: series(&DROPPED_LOG_LINES, &[plugin]),
            names_logged: Mutex::new(HashSet::new()),
        }
    }

    pub(crate) fn called(&self, hook: Hook, code: &str, elapsed: Duration) {
        let at = Hook::ALL.iter().position(|h| *h == hook).unwrap_or(0);
        let code = CODES.iter().position(|c| *c == code).unwrap_or(0);
        if let Some(series) = self.calls.get(at).and_then(|row| row.get(code)) {
            series.add(1.0);
        }
        if let Some(series) = self.call_seconds.get(at) {
            series.observe(elapsed.as_secs_f64());
        }
    }

    pub(crate) fn used_cpu(&self, cpu: Duration) {
        self.cpu.add(cpu.as_secs_f64());
    }

    pub(crate) fn used_memory(&self, peak: u64) {
        if self.peak_seen.fetch_max(peak, std::sync::atomic::Ordering::Relaxed) < peak {
            self.peak.set(peak as f64);
        }
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.wait.observe(time.as_secs_f64());
    }

    pub(crate) fn host_call(&self, capability: &str, outcome: &str, elapsed: Duration) {
        let Some(at) = CAPABILITIES.iter().position(|c| *c == capability) else { return };
        let outcome = OUTCOMES.iter().position(|o| *o == outcome).unwrap_or(0);
        if let Some(series) = self.host_calls.get(at).and_then(|row| row.get(outcome)) {
            series.add(1.0);
        }
        if let Some(series) = self.host_call_seconds.get(at) {
            series.observe(elapsed.as_secs_f64());
        }
    }

    pub(crate) fn rejected_sample(&self, plugin: &PluginName, name: &str, why: &Error) {
        self.rejected.add(1.0);
        let mut logged = self.names_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < NAMES_LOGGED_MAX && logged.insert(name.chars().take(80).collect()) {
            tracing::warn!(%plugin, metric = ?name.chars().take(80).collect::<String>(), why = why.message(), "metric sample refused");
        }
    }

    pub(crate) fn dropped_log_line(&self) {
        self.dropped.add(1.0);
    }

    /// Drops the series that name a version which is gone for good.
    pub(crate) fn forget(metrics: &dyn Metrics, info: &VersionInfo) {
        let (plugin, version) = (info.plugin.as_str(), info.version.as_str());
        for hook in Hook::ALL {
            for code in CODES {
                metrics.forget(&CALLS, &[plugin, version, hook.name(), code]);
            }
        }
        metrics.forget(&CPU_SECONDS, &[plugin, version]);
        metrics.forget(&LIVE, &[plugin, version, &info.digest]);
        metrics.forget(&PEAK_MEMORY, &[plugin, version]);
    }

    /// Drops what is left of a plugin that was removed.
    pub(crate) fn forget_plugin(metrics: &dyn Metrics, plugin: &PluginName) {
        let plugin = plugin.as_str();
        for hook in Hook::ALL {
            metrics.forget(&CALL_SECONDS, &[plugin, hook.name()]);
        }
        for capability in CAPABILITIES {
            for outcome in OUTCOMES {
                metrics.forget(&HOST_CALLS, &[plugin, capability, outcome]);
            }
        }
        for family in [&WAIT_SECONDS, &REJECTED_SAMPLES, &DROPPED_LOG_LINES, &QUARANTINES] {
            metrics.forget(family, &[plugin]);
        }
        for kind in SWAP_KINDS {
            metrics.forget(&SWAPS, &[plugin, kind]);
        }
    }
}
