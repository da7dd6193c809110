//! The audit log in figures: what is signed and archived, and whether it goes on.

use plinth_backend::audit::{Spooled, SpooledAudit};
use plinth_capability::{
    Capabilities, Result,
    metrics::{Family, Instrument, MetricKind},
};
use std::{sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(5);

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: MetricKind::Gauge, labels: &[], buckets: &[] }
}

static RECORDS: Family = gauge("plinth_audit_records", "Records that the audit log has taken.");
static UNSIGNED: Family = gauge("plinth_audit_unsigned_records", "Records of the audit log that no signed checkpoint has yet.");
static ARCHIVED: Family = gauge("plinth_audit_archived_records", "Records of the audit log that are in its archive.");
static PRUNED: Family = gauge("plinth_audit_pruned_records", "Records of the audit log that are in its archive only, or expired.");
static FAILING: Family = gauge("plinth_audit_failing", "1 while the audit log cannot be signed or archived, or lacks a record.");

static SPOOLED: Family = gauge("plinth_audit_spooled_records", "Records that wait on this host's disk for the audit log.");
static SPOOL_BYTES: Family = gauge("plinth_audit_spool_bytes", "Bytes of the files in which records wait for the audit log.");
static SPOOL_KEPT: Family = gauge("plinth_audit_spool_kept_files", "Files of the spool that are damaged, or that the audit log refused.");

/// Runs until stopped.
pub(crate) async fn run(capabilities: Capabilities, spool: Option<Arc<SpooledAudit>>, stop: CancellationToken) {
    let [spooled, spool_bytes, spool_kept] =
        [&SPOOLED, &SPOOL_BYTES, &SPOOL_KEPT].map(|family| capabilities.metrics.instrument(family, &[]));
    let gauges = [&RECORDS, &UNSIGNED, &ARCHIVED, &PRUNED, &FAILING].map(|family| capabilities.metrics.instrument(family, &[]));
    let mut due = tokio::time::interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(due.tick()).await.is_some() {
        let Spooled { records, bytes, kept } = spool.as_ref().map(|spool| spool.spooled()).unwrap_or_default();
        spooled.set(records as f64);
        spool_bytes.set(bytes as f64);
        spool_kept.set(kept as f64);
        if let Err(error) = look(&capabilities, &gauges).await {
            tracing::debug!(%error, "the audit log could not be counted");
        }
    }
}

async fn look(capabilities: &Capabilities, gauges: &[Arc<dyn Instrument>; 5]) -> Result<()> {
    let [records, unsigned, archived, pruned, failing] = gauges;
    failing.set(if capabilities.transparency.health().await.is_ok() { 0.0 } else { 1.0 });
    // The trees first: what is appended in between counts as not signed, never as signed and not there.
    let trees = capabilities.transparency.trees().await?;
    let count = capabilities.audit.count().await?;
    let under = trees.last().map_or(0, |tree| tree.first + tree.signed);
    records.set(count as f64);
    unsigned.set(count.saturating_sub(under) as f64);
    archived.set(trees.iter().map(|tree| tree.archived).sum::<u64>() as f64);
    pruned.set(trees.iter().map(|tree| tree.pruned).sum::<u64>() as f64);
    Ok(())
}
