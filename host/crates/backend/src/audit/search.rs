//! Finding records in pages, wherever they are: in the database, and those that are in the archive only.

use super::{
    archive::{Page, Pruned, Shelf, Shelved, segment_of},
    check_filter, cursor, leaf_digest,
};
use plinth_audit::segment::{FRAME_RECORDS, SEGMENT_RECORDS};
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{AuditFilter, AuditOutcome, AuditPage, AuditRecord, PAGE_MAX, StoredRecord},
};
use std::ops::Range;

/// Records that one page reads; it ends early with a cursor if they are not enough.
const SCAN_MAX: u64 = 16_384;
/// Records that are read at once for a text.
const BATCH: u64 = 1_024;
const FRAME: u64 = FRAME_RECORDS as u64;

/// A page of the log. `archive` is what was taken out of the database; without it a page that would need it fails.
pub(super) async fn find(
    shelf: &dyn Shelf,
    archive: Option<&Shelved>,
    filter: &AuditFilter,
    cursor: Option<&str>,
    limit: u32,
) -> Result<AuditPage> {
    check_filter(filter)?;
    let after = cursor.map(|text| cursor::read(shelf.cursor_key(), text)).transpose()?;
    let limit = usize::try_from(limit.clamp(1, PAGE_MAX)).unwrap_or(usize::MAX);
    let text = filter.text.as_deref().map(str::to_lowercase);
    loop {
        let pruned = shelf.pruned().await?;
        let (position, wanted, text) = (cursor::position(after), limit + 1, text.as_deref());
        let mut search = Search { shelf, archive, filter, text, found: Vec::new(), position, wanted, budget: SCAN_MAX };
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
        let next = last.map(|last| cursor::write(shelf.cursor_key(), i64::try_from(last).unwrap_or(i64::MAX)));
        return Ok(AuditPage { records, next });
    }
}

/// A page on its way.
struct Search<'a> {
    shelf: &'a dyn Shelf,
    archive: Option<&'a Shelved>,
    filter: &'a AuditFilter,
    /// What the records must say, in lower case.
    text: Option<&'a str>,
    found: Vec<StoredRecord>,
    /// The sequence to look at next.
    position: u64,
    /// One more than is asked for, so that it is known whether there are more.
    wanted: usize,
    /// Records that may still be read without being asked for.
    budget: u64,
}

impl Search<'_> {
    fn missing(&self) -> usize {
        self.wanted.saturating_sub(self.found.len())
    }

    /// Whether the end of the log was reached; not if enough was found, or no more may be read.
    async fn run(&mut self, pruned: &[Pruned]) -> Result<bool> {
        while self.missing() > 0 {
            if let Some(gone) = pruned.iter().find(|gone| gone.gone().contains(&self.position)) {
                if !self.archived(gone).await? {
                    return Ok(false);
                }
                continue;
            }
            let end = pruned.iter().map(|gone| gone.first).find(|first| *first > self.position);
            if !self.stored(end.unwrap_or(u64::MAX)).await? {
                return Ok(false);
            }
            if end.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes on in the database to here; whether that is all there is up to here.
    async fn stored(&mut self, end: u64) -> Result<bool> {
        while self.budget > 0 {
            let limit = if self.text.is_some() { BATCH } else { self.missing() as u64 };
            let Page { records, until, read } = self.shelf.page(self.filter, self.position..end, limit).await?;
            self.budget = self.budget.saturating_sub(read.max(1));
            for stored in records {
                self.position = stored.sequence + 1;
                if self.text.is_none_or(|text| says(&stored.record, text)) {
                    self.found.push(stored);
                }
                if self.missing() == 0 {
                    return Ok(false);
                }
            }
            self.position = until;
            if until >= end {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes on in the archive to the end of what is there; false if no more may be read.
    async fn archived(&mut self, gone: &Pruned) -> Result<bool> {
        let Range { start, end } = gone.gone();
        while self.position < end && self.missing() > 0 {
            let leaf = self.position - start;
            let segment = segment_of(leaf);
            if gone.dropped(leaf) || !self.may_be_in(gone.epoch, segment).await? {
                self.position = end.min(start + (segment + 1) * SEGMENT_RECORDS);
                continue;
            }
            if self.budget == 0 {
                return Ok(false);
            }
            let next = self.shelf.skip(self.filter, self.position..end).await?;
            if next > self.position {
                self.budget = self.budget.saturating_sub(1);
                self.position = next;
                continue;
            }
            self.budget = self.budget.saturating_sub(FRAME);
            self.frame(gone, leaf / FRAME, end).await?;
        }
        Ok(true)
    }

    /// By what is known of a segment without reading it.
    async fn may_be_in(&self, epoch: u64, segment: u64) -> Result<bool> {
        let archived = self.shelf.segment(epoch, segment).await?.ok_or_else(lacking)?;
        let late_enough = self.filter.from_ms.is_none_or(|from| archived.until_ms >= from);
        Ok(late_enough && self.filter.until_ms.is_none_or(|until| archived.from_ms < until))
    }

    async fn frame(&mut self, gone: &Pruned, index: u64, end: u64) -> Result<()> {
        let closed = || Error::new(ErrorKind::Unavailable, "audit.find", "these records are in the archive only");
        let frame = self.archive.ok_or_else(closed)?.frame(gone.epoch, index).await?.ok_or_else(lacking)?;
        let first = gone.first + index * FRAME;
        for (sequence, bytes) in (first..end).zip(frame.iter()).filter(|(sequence, _)| *sequence >= self.position) {
            let stored = read(sequence, bytes)?;
            if meets(self.filter, &stored.record) && self.text.is_none_or(|text| says(&stored.record, text)) {
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

fn lacking() -> Error {
    Error::new(ErrorKind::Failed, "audit.find", "records were taken out of the database that are in no segment")
}

pub(super) fn read(sequence: u64, bytes: &[u8]) -> Result<StoredRecord> {
    let record = serde_json::from_slice(bytes)
        .map_err(|e| Error::new(ErrorKind::Failed, "audit.find", "an archived record is damaged").with_source(e))?;
    Ok(StoredRecord { sequence, record, digest: leaf_digest(bytes) })
}

/// As the databases decide it; the text is looked for apart.
pub(super) fn meets(filter: &AuditFilter, record: &AuditRecord) -> bool {
    let AuditFilter { subject_kind, subject_id, action_prefix, from_ms, until_ms, actor, or_actor, plugin_id, outcome, text: _ } = filter;
    let equal = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let entry = &record.entry;
    let below = |prefix: &String| entry.action.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    equal(subject_kind, &entry.subject.kind)
        && equal(subject_id, &entry.subject.id)
        && (equal(actor, &record.actor) || or_actor.as_ref() == Some(&record.actor))
        && equal(plugin_id, &record.plugin_id)
        && equal(outcome, entry.outcome.code())
        && action_prefix.as_ref().is_none_or(below)
        && from_ms.is_none_or(|from| record.recorded_at_ms >= from)
        && until_ms.is_none_or(|until| record.recorded_at_ms < until)
}

/// Whether anything that the writer said has this text in it; `text` is in lower case.
fn says(record: &AuditRecord, text: &str) -> bool {
    let entry = &record.entry;
    let reason = match &entry.outcome {
        AuditOutcome::Success => None,
        AuditOutcome::Denied { reason } | AuditOutcome::Failed { reason } => Some(reason),
    };
    let changes = entry.changes.iter().flat_map(|change| [Some(&change.field), change.before.as_ref(), change.after.as_ref()]).flatten();
    let attributes = entry.attributes.iter().flat_map(|(name, value)| [name, value]);
    let said = [&entry.action, &entry.subject.kind, &entry.subject.id, &entry.summary];
    said.into_iter().chain(reason).chain(changes).chain(attributes).any(|said| said.to_lowercase().contains(text))
}
