//! Persons in the audit log: what is said of one is sealed under a key of her own, and closed for good with it.

use crate::{
    Result,
    audit::{AuditRecord, Receipt},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Guest-controlled: bytes of a person's id.
pub const PERSON_MAX: usize = 512;
/// Guest-controlled: personal fields of one record.
pub const FIELDS_MAX: usize = 32;
/// Guest-controlled: bytes of a field's name.
pub const FIELD_NAME_MAX: usize = 100;
/// The action of the record that an erasure leaves.
pub const ERASED: &str = "subject.erased";

/// What a record says of one person, in clear: it is never stored like this.
#[derive(Clone, PartialEq, Eq)]
pub struct Personal {
    /// As the business names her, e.g. a user's id.
    pub person: String,
    /// Name and value.
    pub fields: Vec<(String, String)>,
}

/// Without the person and the values: a log line must not keep what the log does not.
impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Personal({} fields)", self.fields.len())
    }
}

/// A personal field as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Its name.
    pub f: String,
    /// How it is sealed.
    pub alg: String,
    /// The person's pseudonym, a dot, and which of her keys.
    pub kid: String,
    /// What is sealed, in base64.
    pub ct: String,
}

/// # Contract
///
/// - `sealed_says_nothing`: a sealed record holds neither the person's id nor a value; its fields keep their names and order.
/// - `opened_is_what_was_sealed`: a sealed record opens to the same fields, also after the process was killed.
/// - `sealed_belongs_to_its_record`: a sealed field that was moved to another record, or renamed, is `Unverified`.
/// - `sealing_again_changes_nothing`: a record without personal fields in clear stays as it is, whatever is sealed in it.
/// - `actors_are_pseudonymous`: `user:ID` becomes `user:~PSEUDONYM`, always the same for the same id; other actors stay.
/// - `limits_are_kept`: more than `FIELDS_MAX` fields, or a name over `FIELD_NAME_MAX`, is `LimitExceeded`; a person without an id,
///   with one over `PERSON_MAX`, without fields or with two of one name is `InvalidInput`.
/// - `erased_stays_closed`: what was sealed before an erasure is `NotFound` to whoever opens it, also after the process was killed.
/// - `erasing_is_recorded_once`: an erasure appends one record, `ERASED`, that names the pseudonym and not the person; erasing again
///   is `None` and appends nothing, and so is erasing somebody who has no key.
/// - `a_new_key_after_erasure`: what is sealed afterwards opens under the same pseudonym; what was sealed before stays closed.
///
/// # Cancel safety
///
/// A dropped `erase` may have happened in part: repeat it. The key is unusable before anything is recorded.
#[async_trait]
pub trait Persons: Send + Sync {
    /// The record as it may be stored: personal fields sealed, the actor pseudonymous.
    async fn seal(&self, record: AuditRecord) -> Result<AuditRecord>;
    /// The personal fields of a stored record, in clear.
    async fn open(&self, record: &AuditRecord) -> Result<Vec<(String, String)>>;
    /// Destroys the person's key and appends `by`, with its id and subject set, as the record of it.
    async fn erase(&self, person: &str, by: AuditRecord) -> Result<Option<Receipt>>;
    /// What records made since actors are pseudonymous call this actor; nothing if the same.
    fn pseudonymous(&self, actor: &str) -> Option<String>;
    /// Whether persons can be sealed and their keys are renewed; the reason if not.
    async fn health(&self) -> Result<()>;
}

/// Of a host that is not set up for personal fields: it stores none.
pub struct NoPersons;

#[async_trait]
impl Persons for NoPersons {
    async fn seal(&self, record: AuditRecord) -> Result<AuditRecord> {
        if record.entry.personal.is_some() {
            return Err(unconfigured("audit.append"));
        }
        Ok(record)
    }

    async fn open(&self, record: &AuditRecord) -> Result<Vec<(String, String)>> {
        if record.entry.sealed.is_empty() { Ok(Vec::new()) } else { Err(unconfigured("audit.open")) }
    }

    async fn erase(&self, _: &str, _: AuditRecord) -> Result<Option<Receipt>> {
        Err(unconfigured("audit.erase"))
    }

    fn pseudonymous(&self, _: &str) -> Option<String> {
        None
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }
}

fn unconfigured(operation: &'static str) -> crate::Error {
    crate::Error::new(crate::ErrorKind::Denied, operation, "this host keeps no personal fields: `audit-log.persons` is not set")
}
