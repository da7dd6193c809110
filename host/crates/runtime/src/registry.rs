//! The published snapshot: which version answers for which plugin, and since which generation.

use crate::{
    hook::Hook,
    manifest::{GrantRequests, OnFailure},
    outcome::Failure,
    version::Version,
    view::SlotState,
};
use arc_swap::ArcSwap;
use plinth_capability::{
    name::PluginName,
    state::{StoredSlot, StoredVersion},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// This many traps of one digest within this time take it out of service.
pub(crate) const TRAPS_MAX: usize = 5;
pub(crate) const TRAPS_WINDOW: Duration = Duration::from_secs(60);
/// Digests remembered per slot as quarantined.
pub(crate) const QUARANTINED_MAX: usize = 16;

/// One plugin's place. Slots are independent: changing one moves no other.
pub(crate) struct Slot {
    pub(crate) plugin: PluginName,
    /// Of the snapshot in which this slot last changed.
    pub(crate) generation: u64,
    /// None if degraded: then calls are answered with the declared default.
    pub(crate) active: Option<Arc<Version>>,
    /// Still compiled, so that rolling back is one store of a pointer.
    pub(crate) previous: Option<Arc<Version>>,
    /// What to load after a restart, also where loading failed.
    pub(crate) stored: StoredVersion,
    pub(crate) stored_previous: Option<StoredVersion>,
    pub(crate) state: SlotState,
    pub(crate) reason: Option<String>,
    pub(crate) approved: GrantRequests,
    pub(crate) quarantined: Vec<String>,
}

impl Slot {
    pub(crate) fn to_stored(&self) -> StoredSlot {
        StoredSlot {
            plugin: self.plugin.clone(),
            generation: self.generation,
            active: self.stored.clone(),
            previous: self.stored_previous.clone(),
            quarantined: self.quarantined.clone(),
        }
    }
}

/// Immutable; readers see one or the next, never a mix.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) slots: BTreeMap<PluginName, Arc<Slot>>,
    /// Decision point → who is asked, in order, and what their failure means.
    points: HashMap<String, Vec<(PluginName, OnFailure)>>,
}

impl Snapshot {
    /// This snapshot with one slot replaced or, with `None`, removed.
    pub(crate) fn with(&self, plugin: &PluginName, slot: Option<Slot>, generation: u64) -> Self {
        let mut slots = self.slots.clone();
        match slot {
            Some(slot) => drop(slots.insert(plugin.clone(), Arc::new(slot))),
            None => drop(slots.remove(plugin)),
        }
        let points = points(&slots);
        Self { generation, slots, points }
    }

    pub(crate) fn asked(&self, point: &str) -> Vec<(PluginName, OnFailure)> {
        self.points.get(point).cloned().unwrap_or_default()
    }
}

fn points(slots: &BTreeMap<PluginName, Arc<Slot>>) -> HashMap<String, Vec<(PluginName, OnFailure)>> {
    let mut bound: Vec<_> = slots.values().filter_map(|slot| Some((slot, binding(slot)?))).collect();
    bound.sort_by(|(a, x), (b, y)| (x.order, &a.plugin).cmp(&(y.order, &b.plugin)));
    let mut points: HashMap<String, Vec<_>> = HashMap::new();
    for (slot, binding) in bound {
        for point in &binding.points {
            points.entry(point.as_str().to_owned()).or_default().push((slot.plugin.clone(), binding.on_failure));
        }
    }
    points
}

/// A degraded slot keeps its place at its points: they fail as declared.
fn binding(slot: &Slot) -> Option<crate::manifest::DecisionBinding> {
    match &slot.active {
        Some(version) => version.manifest.hooks.decision.clone(),
        None => crate::manifest::Manifest::parse(&slot.stored.manifest).ok()?.hooks.decision,
    }
}

/// A digest that reached the limit of traps.
pub(crate) struct TrapReport {
    pub(crate) version: Arc<Version>,
    pub(crate) why: String,
}

pub(crate) struct Registry {
    current: ArcSwap<Snapshot>,
    changed: watch::Sender<u64>,
    reports: mpsc::Sender<TrapReport>,
    /// Recent traps by digest. A std mutex: held for a push, never across an await.
    traps: Mutex<HashMap<String, VecDeque<Instant>>>,
}

impl Registry {
    pub(crate) fn new(generation: u64) -> (Self, mpsc::Receiver<TrapReport>) {
        let (reports, received) = mpsc::channel(64);
        let registry = Self {
            current: ArcSwap::from_pointee(Snapshot { generation, ..Snapshot::default() }),
            changed: watch::Sender::new(generation),
            reports,
            traps: Mutex::default(),
        };
        (registry, received)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The one moment in which a change becomes visible.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let generation = snapshot.generation;
        self.current.store(Arc::new(snapshot));
        self.changed.send_replace(generation);
    }

    /// The version that answers now, if it exports the hook.
    pub(crate) fn active(&self, plugin: &PluginName, hook: Hook) -> Result<(Arc<Version>, u64), Failure> {
        let snapshot = self.current.load();
        let slot = snapshot.slots.get(plugin).ok_or_else(|| Failure::unavailable(format!("no plugin named {plugin}")))?;
        let Some(version) = &slot.active else {
            let why = slot.reason.as_deref().unwrap_or("degraded");
            return Err(Failure::Unavailable { why: format!("{plugin} is degraded: {why}"), retry_after: Some(Duration::from_secs(5)) });
        };
        if !version.exports.has(hook) {
            return Err(Failure::unavailable(format!("{plugin} {} has no {} hook", version.info.version, hook.name())));
        }
        Ok((version.clone(), slot.generation))
    }

    pub(crate) fn is_active(&self, plugin: &PluginName, version: &Arc<Version>) -> bool {
        let snapshot = self.current.load();
        snapshot.slots.get(plugin).and_then(|slot| slot.active.as_ref()).is_some_and(|active| Arc::ptr_eq(active, version))
    }

    /// Counts a trap; the one that reaches the limit is reported.
    pub(crate) fn trapped(&self, version: &Arc<Version>, why: &str) {
        let digest = &version.info.digest;
        let now = Instant::now();
        let mut traps = self.traps.lock().unwrap_or_else(PoisonError::into_inner);
        traps.retain(|_, times| times.back().is_some_and(|last| now.duration_since(*last) <= TRAPS_WINDOW));
        let recent = traps.entry(digest.clone()).or_default();
        recent.push_back(now);
        while recent.front().is_some_and(|t| now.duration_since(*t) > TRAPS_WINDOW) {
            recent.pop_front();
        }
        if recent.len() < TRAPS_MAX {
            return;
        }
        recent.clear();
        // A full channel means reports are being worked on; the next trap counts again.
        let _ = self.reports.try_send(TrapReport { version: version.clone(), why: why.to_owned() });
    }
}
