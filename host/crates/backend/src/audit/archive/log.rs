//! The log as one: records in the database, and those that are in the archive only.

use super::{
    read::{Shelved, segment_of},
    shelf::Pruned,
};
use crate::{
    audit::{check_filter, cursor, leaf_digest, tree::AuditTree},
    sqlite::to_sql,
};
use async_trait::async_trait;
use plinth_audit::segment::{FRAME_RECORDS, SEGMENT_RECORDS};
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, PAGE_MAX, Receipt, StoredRecord},
};
use std::{ops::Range, sync::Arc};

/// Records of the archive that one page reads; it ends early with a cursor if they are not enough.
const SCAN_MAX: u64 = 16_384;
const FRAME: u64 = FRAME_RECORDS as u64;

/// An audit log whose old records may have been taken out of its database.
pub struct ArchivedAudit {
    log: Arc<dyn AuditLog>,
    shelved: Arc<Shelved>,
}

/// A page on its way.
struct Search<'a> {
    shelved: &'a Shelved,
    filter: &'a AuditFilter,
    found: Vec<StoredRecord>,
    /// The sequence to look at next.
    position: u64,
    /// One more than is asked for, so that it is known whether there are more.
    wanted: usize,
    /// Records of the archive that may still be read.
    budget: u64,
}

impl ArchivedAudit {
    /// `log` is what `tree` was opened over.
    pub fn new(log: Arc<dyn AuditLog>, tree: &AuditTree) -> Self {
        Self { log, shelved: tree.shelved() }
    }
}

impl Search<'_> {
    fn missing(&self) -> usize {
        self.wanted.saturating_sub(self.found.len())
    }

    /// Whether the end of the log was reached; not if enough was found, or no more may be read.
    async fn run(&mut self, pruned: &[Pruned]) -> Result<bool> {
        while self.missing() > 0 {
            if let Some(gone) = pruned.iter().find(|gone| gone.gone().contains(&self.position)) {
                if !self.archive(gone).await? {
                    return Ok(false);
                }
                continue;
            }
            let end = pruned.iter().map(|gone| gone.first).find(|first| *first > self.position);
            let rows = self.position..end.unwrap_or(u64::MAX);
            let limit = u32::try_from(self.missing()).unwrap_or(u32::MAX);
            self.found.extend(self.shelved.shelf.page(self.filter, rows, limit).await?);
            match end {
                _ if self.missing() == 0 => {}
                Some(end) => self.position = end,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Goes on in the archive to the end of what is there; false if no more may be read.
    async fn archive(&mut self, gone: &Pruned) -> Result<bool> {
        let Range { start, end } = gone.gone();
        while self.position < end && self.missing() > 0 {
            let leaf = self.position - start;
            let segment = segment_of(leaf);
            let next_segment = end.min(start + (segment + 1) * SEGMENT_RECORDS);
            if gone.dropped(leaf) || !self.may_be_in(gone.epoch, segment).await? {
                self.position = next_segment;
                continue;
            }
            if self.budget == 0 {
                return Ok(false);
            }
            self.budget = self.budget.saturating_sub(FRAME);
            self.frame(gone, leaf / FRAME, end).await?;
        }
        Ok(true)
    }

    /// By what is known of a segment without reading it.
    async fn may_be_in(&self, epoch: u64, segment: u64) -> Result<bool> {
        let lacks = || Error::new(ErrorKind::Failed, "audit.find", "records were taken out that are in no segment");
        let archived = self.shelved.shelf.segment(epoch, segment).await?.ok_or_else(lacks)?;
        let late_enough = self.filter.from_ms.is_none_or(|from| archived.until_ms >= from);
        Ok(late_enough && self.filter.until_ms.is_none_or(|until| archived.from_ms < until))
    }

    async fn frame(&mut self, gone: &Pruned, index: u64, end: u64) -> Result<()> {
        let lacks = || Error::new(ErrorKind::Failed, "audit.find", "records were taken out that are in no segment");
        let frame = self.shelved.frame(gone.epoch, index).await?.ok_or_else(lacks)?;
        let first = gone.first + index * FRAME;
        for (sequence, bytes) in (first..end).zip(frame.iter()).filter(|(sequence, _)| *sequence >= self.position) {
            let stored = read(sequence, bytes)?;
            if meets(self.filter, &stored.record) {
                self.found.push(stored);
            }
            if self.missing() == 0 {
                return Ok(());
            }
        }
        self.position = end.min(first + FRAME);
        Ok(())
    }
}

#[async_trait]
impl AuditLog for ArchivedAudit {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        self.log.append(records).await
    }

    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        check_filter(filter)?;
        let shelf = &self.shelved.shelf;
        let after = cursor.map(|text| cursor::read(shelf.cursor_key(), text)).transpose()?;
        let position = cursor::position(after);
        let limit = usize::try_from(limit.clamp(1, PAGE_MAX)).unwrap_or(usize::MAX);
        loop {
            let pruned = shelf.pruned().await?;
            let mut search =
                Search { shelved: &self.shelved, filter, found: Vec::new(), position, wanted: limit + 1, budget: SCAN_MAX };
            let ended = search.run(&pruned).await?;
            // What is taken out between two looks was seen in neither place.
            if shelf.pruned().await? != pruned {
                continue;
            }
            let Search { found: mut records, position, .. } = search;
            let last = match records.len() > limit {
                true => {
                    records.truncate(limit);
                    records.last().map(|last| last.sequence)
                }
                false if ended => None,
                // Not the last page, whatever is in it.
                false => position.checked_sub(1),
            };
            return Ok(AuditPage { records, next: last.map(|last| cursor::write(shelf.cursor_key(), to_sql(last))) });
        }
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        match self.log.record(id).await? {
            Some(found) => Ok(Some(found)),
            None => self.shelved.find(id).await?.map(|found| read(found.sequence, &found.bytes)).transpose(),
        }
    }

    async fn count(&self) -> Result<u64> {
        self.log.count().await
    }

    async fn health(&self) -> Result<()> {
        self.log.health().await
    }
}

fn read(sequence: u64, bytes: &[u8]) -> Result<StoredRecord> {
    let record = serde_json::from_slice(bytes)
        .map_err(|e| Error::new(ErrorKind::Failed, "audit.find", "an archived record is damaged").with_source(e))?;
    Ok(StoredRecord { sequence, record, digest: leaf_digest(bytes) })
}

/// As the databases decide it.
fn meets(filter: &AuditFilter, record: &AuditRecord) -> bool {
    let AuditFilter { subject_kind, subject_id, action_prefix, from_ms, until_ms, actor, plugin_id, outcome } = filter;
    let equal = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let entry = &record.entry;
    let below = |prefix: &String| entry.action.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    equal(subject_kind, &entry.subject.kind)
        && equal(subject_id, &entry.subject.id)
        && equal(actor, &record.actor)
        && equal(plugin_id, &record.plugin_id)
        && equal(outcome, entry.outcome.code())
        && action_prefix.as_ref().is_none_or(below)
        && from_ms.is_none_or(|from| record.recorded_at_ms >= from)
        && until_ms.is_none_or(|until| record.recorded_at_ms < until)
}
