//! Backends of the audit log, and the rules that all of them share.

mod archive;
mod cursor;
mod persons;
mod postgres;
mod search;
mod spool;
mod sqlite;
mod tree;

pub use archive::{ArchiveFolder, ArchiveLocation, ArchivedAudit, Archiver, BlockingArchive, Retention, Round};
pub use persons::{Clock, PersonKeeper, PersonsConfig, PseudonymousAudit, Renewed};
pub use postgres::PostgresAudit;
pub use spool::{Spooled, SpooledAudit};
pub use sqlite::SqliteAudit;
pub use tree::{AuditTree, AuditTreeConfig};

use plinth_audit::{
    canonical::{self, CanonicalError, Problem},
    hash::leaf_hash,
};
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{APPEND_MAX, AuditEntry, AuditFilter, AuditOutcome, AuditRecord, RECORD_MAX, Subject, TEXT_MAX},
    name::TopicName,
    now_ms,
};

/// The bytes of a record that are stored, signed for by its digest.
struct Encoded {
    record: AuditRecord,
    bytes: Vec<u8>,
}

/// All of a call or none: the first record that breaks a rule refuses it.
fn encode(records: Vec<AuditRecord>) -> Result<Vec<Encoded>> {
    if records.len() > APPEND_MAX {
        return Err(Error::new(ErrorKind::LimitExceeded, "audit.append", format!("at most {APPEND_MAX} records in one call")));
    }
    records.into_iter().map(encode_one).collect()
}

fn encode_one(record: AuditRecord) -> Result<Encoded> {
    let refuse = |kind, why: String| Error::new(kind, "audit.append", why);
    let unfit = |error: CanonicalError| match error.problem {
        Problem::TooLong => refuse(ErrorKind::LimitExceeded, format!("a record has at most {RECORD_MAX} bytes")),
        _ => refuse(ErrorKind::InvalidInput, format!("a record cannot be written canonically: {error}")),
    };
    check_action("audit.append", &record.entry.action)?;
    if record.entry.personal.is_some() {
        return Err(refuse(ErrorKind::InvalidInput, "personal fields are stored sealed only".to_owned()));
    }
    if uuid::Uuid::try_parse(&record.id).is_err() {
        return Err(refuse(ErrorKind::InvalidInput, "a record's id is a UUID".to_owned()));
    }
    let bytes = canonical::to_bytes(&record).map_err(unfit)?;
    Ok(Encoded { record, bytes })
}

/// Conditions that could never match are mistakes of the caller.
fn check_filter(filter: &AuditFilter) -> Result<()> {
    if let Some(outcome) = &filter.outcome
        && !matches!(outcome.as_str(), "success" | "denied" | "failed")
    {
        return Err(Error::new(ErrorKind::InvalidInput, "audit.find", "an outcome is `success`, `denied` or `failed`"));
    }
    if filter.text.as_ref().is_some_and(|text| text.is_empty() || text.len() > TEXT_MAX) {
        return Err(Error::new(ErrorKind::InvalidInput, "audit.find", format!("a text to look for has 1 to {TEXT_MAX} bytes")));
    }
    filter.action_prefix.as_ref().map_or(Ok(()), |prefix| check_action("audit.find", prefix))
}

/// Actions are dotted words like topics are.
fn check_action(operation: &'static str, action: &str) -> Result<()> {
    TopicName::new(action).map(drop).map_err(|e| Error::new(ErrorKind::InvalidInput, operation, format!("the action {}", e.message())))
}

/// What the host says of the log itself.
fn host_record(action: &str, origin: &str, summary: &str, attributes: impl IntoIterator<Item = (&'static str, String)>) -> AuditRecord {
    AuditRecord {
        id: uuid::Uuid::now_v7().to_string(),
        recorded_at_ms: now_ms(),
        actor: "system".to_owned(),
        plugin_id: "host".to_owned(),
        plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
        plugin_digest: String::new(),
        spooled_at_ms: None,
        generation: 0,
        invocation_id: String::new(),
        entry: AuditEntry {
            action: action.to_owned(),
            subject: Subject { kind: "audit-log".to_owned(), id: origin.to_owned() },
            outcome: AuditOutcome::Success,
            summary: summary.to_owned(),
            changes: Vec::new(),
            attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            personal: None,
            sealed: Vec::new(),
        },
    }
}

/// The leaf hash of RFC 6962 in hexadecimal.
fn leaf_digest(bytes: &[u8]) -> String {
    leaf_hash(bytes).to_hex()
}
