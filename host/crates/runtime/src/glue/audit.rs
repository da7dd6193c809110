//! Glue for `plinth:audit`: the plugin says what happened, the host stamps who and when.

use super::{no_extensions, wit_error};
use crate::{
    bindings::plinth::audit::{
        audit_types::{self, Entry as WitEntry, EntryPage, Filter as WitFilter, Outcome as WitOutcome, Receipt as WitReceipt, StoredEntry},
        reader, writer,
    },
    choke::Operation,
    state::CallState,
};
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{APPEND_MAX, AuditEntry, AuditFilter, AuditOutcome, AuditRecord, Change, PAGE_MAX, Receipt, StoredRecord, Subject},
};

type Answer<T> = wasmtime::Result<std::result::Result<T, audit_types::Error>>;

const WRITE: Operation = Operation::new("audit", "write");
const FIND: Operation = Operation::new("audit", "find");

pub(super) fn wit(error: Error) -> audit_types::Error {
    wit_error!(crate::bindings::plinth::audit::audit_types, error;
        Kind::OutcomeUnknown => |e: &Error| types::Error::OutcomeUnknown(e.message().to_owned()),
    )
}

fn entry_in(entry: WitEntry) -> AuditEntry {
    AuditEntry {
        action: entry.action,
        subject: Subject { kind: entry.subject.kind, id: entry.subject.id },
        outcome: match entry.outcome {
            WitOutcome::Success => AuditOutcome::Success,
            WitOutcome::Denied(reason) => AuditOutcome::Denied { reason },
            WitOutcome::Failed(reason) => AuditOutcome::Failed { reason },
        },
        summary: entry.summary,
        changes: entry.changes.into_iter().map(|c| Change { field: c.field, before: c.before, after: c.after }).collect(),
        attributes: entry.attributes,
        personal: None,
        sealed: Vec::new(),
    }
}

fn entry_out(entry: AuditEntry) -> WitEntry {
    WitEntry {
        action: entry.action,
        subject: audit_types::Subject { kind: entry.subject.kind, id: entry.subject.id },
        outcome: match entry.outcome {
            AuditOutcome::Success => WitOutcome::Success,
            AuditOutcome::Denied { reason } => WitOutcome::Denied(reason),
            AuditOutcome::Failed { reason } => WitOutcome::Failed(reason),
        },
        summary: entry.summary,
        changes: entry.changes.into_iter().map(|c| audit_types::Change { field: c.field, before: c.before, after: c.after }).collect(),
        attributes: entry.attributes,
    }
}

pub(super) fn receipt_out(receipt: Receipt) -> WitReceipt {
    WitReceipt { id: receipt.id, sequence: receipt.sequence, recorded_at_ms: receipt.recorded_at_ms }
}

fn stored_out(stored: StoredRecord) -> StoredEntry {
    let StoredRecord { sequence, record, digest } = stored;
    let attributes = [("plugin-digest", record.plugin_digest), ("generation", record.generation.to_string())];
    StoredEntry {
        receipt: WitReceipt { id: record.id, sequence, recorded_at_ms: record.recorded_at_ms },
        entry: entry_out(record.entry),
        actor: record.actor,
        plugin_id: record.plugin_id,
        plugin_version: record.plugin_version,
        invocation_id: record.invocation_id,
        digest,
        attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
    }
}

fn filter_in(filter: WitFilter) -> Result<AuditFilter> {
    let (texts, unknown): (Vec<_>, Vec<_>) = filter.extensions.into_iter().partition(|(key, _)| key == "text");
    no_extensions("audit.find", &unknown)?;
    let (subject_kind, subject_id) = filter.subject.map_or((None, None), |s| (Some(s.kind), Some(s.id)));
    Ok(AuditFilter {
        subject_kind,
        subject_id,
        action_prefix: filter.action_prefix,
        from_ms: filter.from_ms,
        until_ms: filter.until_ms,
        actor: filter.actor,
        plugin_id: filter.plugin_id,
        outcome: filter.outcome,
        or_actor: None,
        text: texts.into_iter().next_back().map(|(_, text)| text),
    })
}

impl CallState {
    /// Who, when and in which call: nothing the plugin says can change these.
    pub(super) fn audit_record(&self, entry: WitEntry) -> Result<AuditRecord> {
        self.version.grants.audit_action(&entry.action)?;
        let info = &self.version.info;
        Ok(AuditRecord {
            id: uuid::Uuid::now_v7().to_string(),
            recorded_at_ms: plinth_capability::now_ms(),
            actor: self.cause.actor.clone().unwrap_or_else(|| format!("plugin:{}", info.plugin)),
            plugin_id: info.plugin.to_string(),
            plugin_version: info.version.clone(),
            plugin_digest: info.digest.clone(),
            spooled_at_ms: None,
            generation: self.cause.generation,
            invocation_id: self.invocation_id.clone(),
            entry: entry_in(entry),
        })
    }
}

impl audit_types::Host for CallState {}

impl writer::Host for CallState {
    async fn write(&mut self, entry: WitEntry) -> Answer<WitReceipt> {
        let receipts = writer::Host::write_many(self, vec![entry]).await?;
        let none = || wit(Error::new(ErrorKind::Internal, "audit.write", "the log answered without a receipt"));
        Ok(receipts.and_then(|mut list| list.pop().ok_or_else(none)))
    }

    async fn write_many(&mut self, entries: Vec<WitEntry>) -> Answer<Vec<WitReceipt>> {
        let records = if entries.len() > APPEND_MAX {
            Err(Error::new(ErrorKind::LimitExceeded, "audit.write", format!("at most {APPEND_MAX} entries in one call")))
        } else {
            entries.into_iter().map(|entry| self.audit_record(entry)).collect::<Result<Vec<_>>>()
        };
        let audit = self.capabilities.audit.clone();
        let work = async move { audit.append(records?).await };
        Ok(self.choke(WRITE, work).await?.map(|list| list.into_iter().map(receipt_out).collect()).map_err(wit))
    }
}

impl reader::Host for CallState {
    async fn find(&mut self, filter: WitFilter, cursor: Option<String>, limit: u32) -> Answer<EntryPage> {
        let audit = self.capabilities.audit.clone();
        let work = async move { audit.find(&filter_in(filter)?, cursor.as_deref(), limit.min(PAGE_MAX)).await };
        let page = self.choke(FIND, work).await?;
        Ok(page.map(|p| EntryPage { entries: p.records.into_iter().map(stored_out).collect(), next: p.next }).map_err(wit))
    }
}
