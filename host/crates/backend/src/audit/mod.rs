//! Backends of the audit log, and the rules that all of them share.

mod canonical;
mod cursor;
mod postgres;
mod sqlite;

pub use postgres::PostgresAudit;
pub use sqlite::SqliteAudit;

use aws_lc_rs::digest::{Context, SHA256};
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{APPEND_MAX, AuditFilter, AuditRecord, RECORD_MAX},
    name::TopicName,
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
    check_action("audit.append", &record.entry.action)?;
    if uuid::Uuid::try_parse(&record.id).is_err() {
        return Err(refuse(ErrorKind::InvalidInput, "a record's id is a UUID".to_owned()));
    }
    let bytes = canonical::encode(&record).map_err(|e| refuse(ErrorKind::Internal, "encoding failed".to_owned()).with_source(e))?;
    if bytes.len() > RECORD_MAX {
        return Err(refuse(ErrorKind::LimitExceeded, format!("a record has at most {RECORD_MAX} bytes, not {}", bytes.len())));
    }
    Ok(Encoded { record, bytes })
}

/// Conditions that could never match are mistakes of the caller.
fn check_filter(filter: &AuditFilter) -> Result<()> {
    if let Some(outcome) = &filter.outcome
        && !matches!(outcome.as_str(), "success" | "denied" | "failed")
    {
        return Err(Error::new(ErrorKind::InvalidInput, "audit.find", "an outcome is `success`, `denied` or `failed`"));
    }
    filter.action_prefix.as_ref().map_or(Ok(()), |prefix| check_action("audit.find", prefix))
}

/// Actions are dotted words like topics are.
fn check_action(operation: &'static str, action: &str) -> Result<()> {
    TopicName::new(action).map(drop).map_err(|e| Error::new(ErrorKind::InvalidInput, operation, format!("the action {}", e.message())))
}

/// The leaf hash of RFC 6962: the prefix tells a record from an inner node of the log's tree.
fn leaf_digest(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(bytes);
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_hashed_with_its_prefix() {
        // RFC 6962: the hash of an empty leaf is SHA-256 of one zero byte.
        assert_eq!(leaf_digest(b""), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }
}
