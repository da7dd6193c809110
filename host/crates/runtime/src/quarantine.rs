//! Takes digests that keep trapping out of service, each in its own plugin's turn.

use crate::{
    LoadError,
    changes::Kind,
    hook::ActivationCause,
    metrics::QUARANTINES,
    registry::{QUARANTINED_MAX, Slot, TrapReport},
    runtime::Inner,
    version::Version,
    view::SlotState,
};
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Carries out reports until told to stop, then ends what it has begun. One
/// plugin's turn may take long, and no other waits for it; a version that is
/// being dealt with is not reported again, so there are never more of these
/// than versions.
pub(crate) async fn watch(inner: Weak<Inner>, mut reports: mpsc::Receiver<TrapReport>, stop: CancellationToken) {
    let mut working = JoinSet::new();
    let mut versions: HashMap<tokio::task::Id, Arc<Version>> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = working.join_next_with_id() => {
                let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
                versions.remove(&id);
            }
            report = reports.recv() => {
                let (Some(report), Some(inner)) = (report, inner.upgrade()) else { break };
                if versions.values().any(|version| Arc::ptr_eq(version, &report.version)) {
                    continue;
                }
                let version = report.version.clone();
                let task = working.spawn(async move {
                    if let Err(error) = inner.quarantine(report).await {
                        tracing::error!(%error, "quarantine could not be carried out");
                    }
                });
                versions.insert(task.id(), version);
            }
        }
    }
    while working.join_next().await.is_some() {}
}

impl Inner {
    /// Takes a digest out of service: the previous version answers, or the slot degrades.
    async fn quarantine(self: &Arc<Self>, report: TrapReport) -> Result<(), LoadError> {
        let (plugin, digest) = (&report.version.info.plugin, &report.version.info.digest);
        let _turn = self.turns.of(plugin).await;
        if !self.registry.is_active(plugin, &report.version) {
            return Ok(());
        }
        let snapshot = self.registry.snapshot();
        let Some(slot) = snapshot.slots.get(plugin) else { return Ok(()) };
        let mut quarantined = slot.quarantined.clone();
        quarantined.push(digest.clone());
        let surplus = quarantined.len().saturating_sub(QUARANTINED_MAX);
        quarantined.drain(..surplus);
        let reason = format!("{} {digest} was quarantined after repeated traps: {}", report.version.info.version, report.why);
        let previous = slot.previous.clone().filter(|p| !quarantined.contains(&p.info.digest));
        let previous = match previous {
            Some(previous) => self.fit_to_return(previous, &report).await,
            None => None,
        };
        tracing::error!(%plugin, digest, fallback = previous.as_ref().map(|p| p.info.version.clone()), why = report.why, "digest quarantined");
        self.capabilities.metrics.instrument(&QUARANTINES, &[plugin.as_str()]).add(1.0);
        let next = Slot {
            plugin: plugin.clone(),
            generation: 0,
            approved: slot.approved.clone(),
            stored: previous.as_ref().map_or_else(|| slot.stored.clone(), |p| p.stored.clone()),
            stored_previous: None,
            previous: None,
            state: if previous.is_some() { SlotState::FellBack } else { SlotState::Degraded },
            active: previous,
            reason: Some(reason),
            quarantined,
        };
        self.change(None, Kind::Quarantine, next).await.map(drop)
    }

    async fn fit_to_return(&self, previous: Arc<Version>, report: &TrapReport) -> Option<Arc<Version>> {
        let from = report.version.info.version.clone();
        match self.loader.activate(&self.invoker, &previous, ActivationCause::Rollback { from }).await {
            Ok(()) => Some(previous),
            Err(why) => {
                tracing::error!(plugin = %previous.info.plugin, version = previous.info.version, %why, "the previous version could not be activated");
                None
            }
        }
    }
}
