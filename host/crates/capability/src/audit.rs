//! The audit capability: who did what, when, with which result, kept for good.

use crate::{
    Result,
    persons::{Personal, Sealed},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Guest-controlled: bytes of one record as stored.
pub const RECORD_MAX: usize = 65_535;
/// Guest-controlled: records of one append.
pub const APPEND_MAX: usize = 1_000;
/// Guest-controlled: bytes of a text to look for.
pub const TEXT_MAX: usize = 200;
/// Guest-controlled: records of one page.
pub const PAGE_MAX: u32 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum AuditOutcome {
    Success,
    Denied { reason: String },
    Failed { reason: String },
}

impl AuditOutcome {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied { .. } => "denied",
            Self::Failed { .. } => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub kind: String,
    pub id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub field: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What the writer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Verb in dotted form: `application.status.change`.
    pub action: String,
    pub subject: Subject,
    pub outcome: AuditOutcome,
    pub summary: String,
    pub changes: Vec<Change>,
    pub attributes: Vec<(String, String)>,
    /// Of one person, in clear. No store takes it like this, and no text of the entry has it: it is sealed first.
    #[serde(skip)]
    pub personal: Option<Personal>,
    /// What was personal, as it is stored; the writer cannot set it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<Sealed>,
}

/// An entry with what the host stamps on it; the writer cannot set these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// UUID v7; appending it again answers the first receipt.
    pub id: String,
    pub recorded_at_ms: u64,
    /// `user:4711`, `plugin:review-rules`, `system`.
    pub actor: String,
    pub plugin_id: String,
    pub plugin_version: String,
    /// Of the component: `sha256:` and hexadecimal digits; empty where no plugin did it, and in records of hosts that
    /// did not know it yet.
    #[serde(default)]
    pub plugin_digest: String,
    /// Of the snapshot that the call ran under; 0 outside of calls, and in records of hosts that did not know it yet.
    #[serde(default)]
    pub generation: u64,
    pub invocation_id: String,
    /// When it went to a host's spool because the log was away; it came to the log later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spooled_at_ms: Option<u64>,
    pub entry: AuditEntry,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub id: String,
    /// From 0, without gaps.
    pub sequence: u64,
    pub recorded_at_ms: u64,
}

/// What became of a record that may come to the log later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deferred {
    Stored(Receipt),
    /// It is safe on the host's disk and comes to the log, under this id, when that answers again.
    Spooled {
        id: String,
        recorded_at_ms: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRecord {
    pub sequence: u64,
    pub record: AuditRecord,
    /// Hex SHA-256 of `0x00` and the stored bytes.
    pub digest: String,
}

/// All conditions that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub subject_kind: Option<String>,
    pub subject_id: Option<String>,
    /// This action and everything below it: `application.status` finds `application.status.change`.
    pub action_prefix: Option<String>,
    pub from_ms: Option<u64>,
    pub until_ms: Option<u64>,
    pub actor: Option<String>,
    /// Another name of that actor, which is as good.
    pub or_actor: Option<String>,
    pub plugin_id: Option<String>,
    /// `success`, `denied` or `failed`.
    pub outcome: Option<String>,
    /// In anything that the writer said, whatever the case. It has no index: give other conditions beside it.
    pub text: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    pub records: Vec<StoredRecord>,
    pub next: Option<String>,
}

/// # Contract
///
/// - `appended_is_durable`: a record whose append was answered `Ok` is found with all its fields, also after the process was killed.
/// - `sequence_has_no_gaps`: sequences count from 0 without gaps over all writers, in the order of the receipts of one call.
/// - `append_is_idempotent`: appending a record under an id that is stored answers the first receipt and stores nothing.
/// - `append_is_all_or_none`: one bad record in a call stores none of them.
/// - `large_record_is_refused`: a record over `RECORD_MAX` bytes is `LimitExceeded`.
/// - `deferred_is_stored_where_the_log_answers`: as appended, with the same refusals and under the same id.
/// - `long_values_are_found`: what a filter asks for may be as long as a record can hold.
/// - `empty_action_is_refused`: an action that is not dotted words is `InvalidInput`.
/// - `clear_personal_fields_are_refused`: a record that still has personal fields in clear is `InvalidInput`.
/// - `filters_combine`: every filter narrows, and all that are set must hold.
/// - `text_is_looked_for`: a text finds the records that have it in action, subject, summary, reason, changes or attributes, whatever
///   the case. An empty or overlong one is `InvalidInput`.
/// - `action_prefix_is_by_words`: a prefix matches whole words of an action only.
/// - `pages_are_complete`: following `next` lists each matching record once, oldest first, also while others append. A page has a
///   bound on what is read for it: where that was not enough it ends early, even empty, with a `next`.
/// - `bad_cursor_is_refused`: a cursor the log did not give is `InvalidInput`.
/// - `digest_covers_the_bytes`: `digest` is the SHA-256 of `0x00` and the stored bytes, the same at every read.
///
/// # Cancel safety
///
/// A dropped `append` may or may not have happened: repeat it under the same ids.
#[async_trait]
pub trait AuditLog: Send + Sync {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>>;
    /// For records that may come later: where there is a spool, they wait there while the log does not answer.
    async fn defer(&self, records: Vec<AuditRecord>) -> Result<Vec<Deferred>> {
        Ok(self.append(records).await?.into_iter().map(Deferred::Stored).collect())
    }
    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage>;
    async fn record(&self, id: &str) -> Result<Option<StoredRecord>>;
    async fn count(&self) -> Result<u64>;
    /// Whether the backend answers; the reason if not.
    async fn health(&self) -> Result<()>;
}
