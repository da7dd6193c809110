//! Retention: what leaves the database for the archive, and what leaves the archive. Each step is a record itself.

use super::{
    Archiver,
    read::manifest,
    shelf::{Archived, Cut, Pruned},
    write::failed,
};
use crate::audit::{encode_one, host_record};
use plinth_audit::segment::{Names, SEGMENT_RECORDS};
use plinth_capability::{Result, now_ms, transparency::TreeView};

/// Records that are removed in one transaction, so that who appends does not wait for long.
const CUT: u64 = 4_096;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

impl Archiver {
    /// Takes out of the database what is old enough and sound in the archive; how many segments.
    pub(super) async fn prune(&self, tree: &TreeView, online_days: u32) -> Result<u64> {
        let mut pruned = 0;
        loop {
            let leaves = self.shelved.pruned(tree.epoch).await?.map_or(0, |gone| gone.leaves);
            let number = leaves / SEGMENT_RECORDS;
            let Some(archived) = self.shelved.shelf.segment(tree.epoch, number).await? else { return Ok(pruned) };
            if !is_older(&archived, online_days) {
                return Ok(pruned);
            }
            // Half a segment is gone where a host was stopped; it was verified before that.
            if leaves.is_multiple_of(SEGMENT_RECORDS) {
                self.verified(tree, number, self.chain(tree.epoch, number).await?).await?;
            }
            if !self.cut(tree, &archived, leaves, online_days).await? {
                return Ok(pruned);
            }
            pruned += 1;
            tracing::info!(epoch = tree.epoch, segment = number, "records of the audit log are in the archive only now");
        }
    }

    /// False if another host was faster.
    async fn cut(&self, tree: &TreeView, archived: &Archived, mut from: u64, online_days: u32) -> Result<bool> {
        let end = (archived.segment + 1) * SEGMENT_RECORDS;
        while from < end {
            let record = match from.is_multiple_of(SEGMENT_RECORDS) {
                true => {
                    let (action, told) = ("audit.pruned", "Old records were taken out of the database; the archive has them.");
                    Some(encode_one(self.said(tree, archived, action, told, ("online-days", online_days))?)?)
                }
                false => None,
            };
            let to = end.min(from + CUT);
            if !self.shelved.shelf.prune(Cut { epoch: tree.epoch, first: tree.first, from, to }, record).await? {
                return Ok(false);
            }
            from = to;
        }
        Ok(true)
    }

    /// Drops from the archive the records that are too old to be kept; how many segments. Tiles, checkpoints and
    /// manifests stay, so what is left still verifies.
    pub(super) async fn expire(&self, tree: &TreeView, archived_days: u32) -> Result<u64> {
        let mut dropped = 0;
        while let Some(Pruned { leaves, expired, .. }) = self.shelved.pruned(tree.epoch).await? {
            let folder = self.shelved.folder(tree.epoch)?;
            if let Some(last) = expired.checked_sub(1) {
                // It was said before it is done: what was cut off in between is done now.
                folder.remove(&Names::of(last).records).await?;
            }
            let Some(archived) = self.shelved.shelf.segment(tree.epoch, expired).await? else { break };
            if (expired + 1) * SEGMENT_RECORDS > leaves || !is_older(&archived, archived_days) {
                break;
            }
            let (action, told) = ("audit.expired", "Old records were dropped from the archive; their hashes stay.");
            let record = encode_one(self.said(tree, &archived, action, told, ("archived-days", archived_days))?)?;
            if !self.shelved.shelf.expire(tree.epoch, expired, record).await? {
                break;
            }
            dropped += 1;
        }
        Ok(dropped)
    }

    fn said(
        &self,
        tree: &TreeView,
        archived: &Archived,
        action: &str,
        told: &str,
        rule: (&'static str, u32),
    ) -> Result<plinth_capability::audit::AuditRecord> {
        let digest = manifest(archived)?.digest().map_err(|e| failed("a stored manifest is damaged").with_source(e))?;
        let attributes = [
            ("segment", archived.segment.to_string()),
            ("first-sequence", (tree.first + archived.segment * SEGMENT_RECORDS).to_string()),
            ("records", SEGMENT_RECORDS.to_string()),
            ("manifest-sha256", digest.to_hex()),
            (rule.0, rule.1.to_string()),
        ];
        Ok(host_record(action, &tree.origin, told, attributes))
    }
}

/// Whether the newest of its records is.
fn is_older(archived: &Archived, days: u32) -> bool {
    archived.until_ms.saturating_add(u64::from(days) * DAY_MS) < now_ms()
}
