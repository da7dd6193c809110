//! Keeps reports of failed calls in memory: the newest of each plugin, and only so many in a while.

use super::{Report, mask::masked, trail::Trail};
use plinth_capability::name::PluginName;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Of one plugin, so that none pushes out the others'.
const KEPT: usize = 100;
/// Of all plugins, those gone included: at some 30 kB each.
const KEPT_IN_ALL: usize = 1_000;
/// A plugin whose every call fails costs no more than this in a second, after a burst of as many as are kept.
const PER_SECOND: f64 = 5.0;

#[derive(Debug, Default)]
struct Shelf {
    reports: VecDeque<Arc<Report>>,
    /// Failed calls of which nothing was kept.
    passed_over: u64,
    allowance: Allowance,
}

/// A token bucket.
#[derive(Debug)]
struct Allowance {
    left: f64,
    since: Instant,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: KEPT as f64, since: Instant::now() }
    }
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.left = (self.left + passed * PER_SECOND).min(KEPT as f64);
        self.since = now;
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<HashMap<PluginName, Shelf>>);

impl Reports {
    /// A std lock: held for a push or a look, never across an await.
    fn shelves(&self) -> MutexGuard<'_, HashMap<PluginName, Shelf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `begun` has everything but what the trail knows.
    pub(crate) fn keep(&self, begun: Report, trail: &Trail) {
        let plugin = begun.version.plugin.clone();
        {
            let mut shelves = self.shelves();
            let shelf = shelves.entry(plugin.clone()).or_default();
            if !shelf.allowance.take(Instant::now()) {
                shelf.passed_over += 1;
                return;
            }
        }
        // Outside of the lock: this looks through all that the plugin said.
        let left = trail.take();
        let report = Report {
            message: masked(&begun.message),
            stack: left.stack,
            log: left.lines.iter().map(|line| masked(line)).collect(),
            stderr: left.stderr.as_deref().map(masked),
            calls: left.calls.into(),
            calls_made: left.calls_made,
            memory_bytes: left.memory_bytes,
            ..begun
        };
        let mut shelves = self.shelves();
        let shelf = shelves.entry(plugin).or_default();
        if shelf.reports.len() == KEPT {
            shelf.reports.pop_front();
        }
        shelf.reports.push_back(Arc::new(report));
        make_room(&mut shelves);
    }

    pub(crate) fn get(&self, invocation_id: &str) -> Option<Arc<Report>> {
        let shelves = self.shelves();
        shelves.values().flat_map(|shelf| &shelf.reports).find(|report| report.invocation_id == invocation_id).cloned()
    }

    /// The newest first, and of how many nothing was kept.
    pub(crate) fn newest(&self, plugin: Option<&PluginName>, limit: usize) -> (Vec<Arc<Report>>, u64) {
        let shelves = self.shelves();
        let wanted = || shelves.iter().filter(|(name, _)| plugin.is_none_or(|plugin| plugin == *name)).map(|(_, shelf)| shelf);
        let mut reports: Vec<Arc<Report>> = wanted().flat_map(|shelf| shelf.reports.iter().cloned()).collect();
        reports.sort_by_key(|report| std::cmp::Reverse((report.ended_at_ms, report.invocation_id.clone())));
        reports.truncate(limit);
        (reports, wanted().map(|shelf| shelf.passed_over).sum())
    }
}

/// The oldest report goes first, whosever it is.
fn make_room(shelves: &mut HashMap<PluginName, Shelf>) {
    while shelves.values().map(|shelf| shelf.reports.len()).sum::<usize>() > KEPT_IN_ALL {
        let front = |shelf: &Shelf| shelf.reports.front().map_or(u64::MAX, |report| report.ended_at_ms);
        let Some(oldest) = shelves.values_mut().min_by_key(|shelf| front(shelf)) else { return };
        oldest.reports.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hook::Hook, outcome::VersionInfo};
    use std::time::Duration;

    fn report(plugin: &str, number: u64) -> Report {
        let plugin = PluginName::new(plugin).unwrap();
        Report {
            invocation_id: format!("{plugin}-{number}"),
            version: Arc::new(VersionInfo { plugin, version: "1.0.0".into(), digest: String::new() }),
            generation: 1,
            hook: Hook::Http,
            attempt: 1,
            ended_at_ms: number,
            took: Duration::ZERO,
            cpu: Duration::ZERO,
            memory_bytes: 0,
            outcome: "trap",
            message: "password=x".into(),
            stack: Vec::new(),
            log: Vec::new(),
            stderr: None,
            calls: Vec::new(),
            calls_made: 0,
        }
    }

    #[test]
    fn one_plugin_takes_no_others_place_and_what_is_passed_over_is_counted() {
        let reports = Reports::default();
        let trail = Trail::default();
        trail.logged("error", "token=abc".to_owned());
        reports.keep(report("quiet", 0), &trail);
        for number in 1..=500 {
            reports.keep(report("loud", number), &Trail::default());
        }
        let quiet = reports.get("quiet-0").unwrap();
        assert_eq!(
            (quiet.message.as_str(), quiet.log.as_slice()),
            ("password=[redacted]", ["error: token=[redacted]".to_owned()].as_slice())
        );
        let loud = PluginName::new("loud").unwrap();
        let (newest, passed_over) = reports.newest(Some(&loud), 10);
        assert_eq!(newest.len(), 10);
        assert!((390..=400).contains(&passed_over), "{passed_over}");
        assert!(newest[0].ended_at_ms >= 100 && newest.is_sorted_by_key(|report| std::cmp::Reverse(report.ended_at_ms)));
        assert_eq!(reports.newest(None, 1_000).0.len(), KEPT + 1);
        assert!(reports.get("loud-500").is_none(), "it was passed over");
    }

    #[test]
    fn all_plugins_together_are_bounded() {
        let reports = Reports::default();
        for plugin in 0..15 {
            for number in 0..KEPT as u64 {
                reports.keep(report(&format!("p{plugin}"), plugin * 1_000 + number), &Trail::default());
            }
        }
        let (kept, _) = reports.newest(None, usize::MAX);
        assert_eq!(kept.len(), KEPT_IN_ALL);
        assert_eq!(kept.last().unwrap().ended_at_ms, 5_000, "the oldest went first");
    }

    #[test]
    fn an_allowance_comes_back_with_time() {
        let mut allowance = Allowance::default();
        let now = allowance.since;
        assert_eq!((0..KEPT + 50).filter(|_| allowance.take(now)).count(), KEPT);
        let later = now + Duration::from_secs(2);
        assert_eq!((0..50).filter(|_| allowance.take(later)).count(), 10);
    }
}
