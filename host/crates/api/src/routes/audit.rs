//! Append audit records and find them again.

use super::{Capabilities, object};
use crate::{
    edge::Visit,
    error::{ApiError, Result},
    extract::{Json, Path, Query},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State};
use http::StatusCode;
use plinth_capability::{
    audit::{self, AuditEntry, AuditFilter, AuditOutcome, AuditRecord, Deferred, StoredRecord, Subject},
    now_ms,
    persons::{Personal, Sealed},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// What stands for the plugin in records that the API's callers append.
const API: &str = "api";

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(append, find)).routes(routes!(show))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EntryRequest {
    /// Dotted words: `application.status.change`.
    action: String,
    subject: SubjectView,
    /// `success` if absent.
    #[serde(default)]
    outcome: OutcomeView,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    changes: Vec<ChangeView>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// What it says of one person; stored sealed, and erased with her.
    personal: Option<PersonalRequest>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonalRequest {
    /// Her id in the business. It is not stored; nothing else in the record should name her.
    person: String,
    fields: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
struct SealedView {
    /// The field's name.
    f: String,
    alg: String,
    /// The person's pseudonym, a dot, and which of her keys.
    kid: String,
    /// Base64.
    ct: String,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SubjectView {
    kind: String,
    id: String,
}

#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(tag = "result", rename_all = "kebab-case", deny_unknown_fields)]
enum OutcomeView {
    #[default]
    Success,
    Denied {
        reason: String,
    },
    Failed {
        reason: String,
    },
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeView {
    field: String,
    before: Option<String>,
    after: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Receipt {
    id: String,
    /// From 0, without gaps; absent while the record waits for the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    recorded_at_ms: u64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AppendQuery {
    /// Whether the record may come to the log later, if that does not answer and the host has a spool.
    #[serde(default)]
    deferred: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Record {
    sequence: u64,
    id: String,
    recorded_at_ms: u64,
    /// `key:ops`, `user:4711`, `anonymous`, …
    actor: String,
    plugin_id: String,
    plugin_version: String,
    /// Of the component; empty where no plugin did it.
    plugin_digest: String,
    /// What the host served when it happened; 0 outside of plugins' calls.
    generation: u64,
    /// Of records appended here: the request's id.
    invocation_id: String,
    /// When it went to a host's disk because the log did not answer; absent where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    spooled_at_ms: Option<u64>,
    action: String,
    subject: SubjectView,
    outcome: OutcomeView,
    summary: String,
    changes: Vec<ChangeView>,
    attributes: BTreeMap<String, String>,
    /// Personal fields, sealed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sealed: Vec<SealedView>,
    /// Hex SHA-256 of `0x00` and the stored bytes.
    digest: String,
}

#[derive(Serialize, ToSchema)]
struct RecordPage {
    /// Oldest first.
    records: Vec<Record>,
    next: Option<String>,
}

/// All conditions that are given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FindQuery {
    subject_kind: Option<String>,
    subject_id: Option<String>,
    /// This action and everything below it.
    action: Option<String>,
    /// Recorded at or after.
    from_ms: Option<u64>,
    /// Recorded before.
    until_ms: Option<u64>,
    actor: Option<String>,
    plugin: Option<String>,
    /// `success`, `denied` or `failed`.
    outcome: Option<String>,
    /// In anything that the writer said, whatever the case; 1 to 200 bytes. A page may end early with a `next`.
    text: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// 1 to 1000.
    #[serde(default = "default_limit")]
    limit: u32,
}

fn default_limit() -> u32 {
    100
}

/// A query that can be asked of the log.
pub(super) struct Asked {
    pub(super) filter: AuditFilter,
    pub(super) cursor: Option<String>,
    pub(super) limit: u32,
}

impl FindQuery {
    pub(super) fn checked(self) -> Result<Asked> {
        let Self { subject_kind, subject_id, action, from_ms, until_ms, actor, plugin, outcome, text, cursor, limit } = self;
        if !(1..=audit::PAGE_MAX).contains(&limit) {
            return Err(ApiError::new(problem::BAD_QUERY, format!("limit must be 1 to {}", audit::PAGE_MAX)));
        }
        if outcome.as_deref().is_some_and(|code| !["success", "denied", "failed"].contains(&code)) {
            return Err(ApiError::new(problem::BAD_QUERY, "outcome must be `success`, `denied` or `failed`"));
        }
        let (action_prefix, plugin_id) = (action, plugin);
        let filter =
            AuditFilter { subject_kind, subject_id, action_prefix, from_ms, until_ms, actor, or_actor: None, plugin_id, outcome, text };
        Ok(Asked { filter, cursor, limit })
    }
}

/// Append an audit record.
///
/// Who, when and through what is stamped by the host.
#[utoipa::path(post, path = "/v1/audit", tag = "audit", params(AppendQuery), request_body = EntryRequest,
    responses((status = 201, description = "It is kept for good.", body = Receipt),
        (status = 202, description = "The log is away: the record is safe on the host's disk and comes to the log later.", body = Receipt),
        Problems))]
async fn append(
    State(capabilities): State<Capabilities>,
    visit: Visit,
    Query(AppendQuery { deferred }): Query<AppendQuery>,
    Json(entry): Json<EntryRequest>,
) -> Result<(StatusCode, Answer<Receipt>)> {
    let records = vec![stamped(&visit, entry.into())];
    let receipt = match deferred {
        true => capabilities.audit.defer(records).await?.into_iter().next(),
        false => capabilities.audit.append(records).await?.into_iter().next().map(Deferred::Stored),
    };
    match receipt.ok_or_else(|| ApiError::new(problem::INTERNAL, "the log gave no receipt"))? {
        Deferred::Stored(audit::Receipt { id, sequence, recorded_at_ms }) => {
            Ok((StatusCode::CREATED, Answer(Receipt { id, sequence: Some(sequence), recorded_at_ms })))
        }
        Deferred::Spooled { id, recorded_at_ms } => Ok((StatusCode::ACCEPTED, Answer(Receipt { id, sequence: None, recorded_at_ms }))),
    }
}

/// Find audit records.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(FindQuery),
    responses((status = 200, description = "A page of matching records.", body = RecordPage), Problems))]
async fn find(State(capabilities): State<Capabilities>, Query(query): Query<FindQuery>) -> Result<Answer<RecordPage>> {
    let Asked { filter, cursor, limit } = query.checked()?;
    let page = capabilities.audit.find(&filter, cursor.as_deref(), limit).await?;
    Ok(Answer(RecordPage { records: page.records.into_iter().map(Record::from).collect(), next: page.next }))
}

/// Show one audit record.
#[utoipa::path(get, path = "/v1/audit/{id}", tag = "audit", params(("id" = String, Path, description = "The record's id.")),
    responses((status = 200, description = "The record.", body = Record), Problems))]
async fn show(State(capabilities): State<Capabilities>, Path(id): Path<String>) -> Result<Answer<Record>> {
    let found = capabilities.audit.record(&id).await?;
    Ok(Answer(found.ok_or_else(|| ApiError::new(problem::NOT_FOUND, "no audit record with this id"))?.into()))
}

/// What a caller of the API says, and who it is.
pub(super) fn stamped(visit: &Visit, entry: AuditEntry) -> AuditRecord {
    AuditRecord {
        id: Uuid::now_v7().to_string(),
        recorded_at_ms: now_ms(),
        actor: visit.caller.audit_actor().to_owned(),
        plugin_id: API.to_owned(),
        plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
        plugin_digest: String::new(),
        spooled_at_ms: None,
        generation: 0,
        invocation_id: visit.request_id.as_str().to_owned(),
        entry,
    }
}

impl From<EntryRequest> for AuditEntry {
    fn from(entry: EntryRequest) -> Self {
        let EntryRequest { action, subject, outcome, summary, changes, attributes, personal } = entry;
        let outcome = match outcome {
            OutcomeView::Success => AuditOutcome::Success,
            OutcomeView::Denied { reason } => AuditOutcome::Denied { reason },
            OutcomeView::Failed { reason } => AuditOutcome::Failed { reason },
        };
        let change = |ChangeView { field, before, after }| audit::Change { field, before, after };
        Self {
            action,
            subject: Subject { kind: subject.kind, id: subject.id },
            outcome,
            summary,
            changes: changes.into_iter().map(change).collect(),
            attributes: attributes.into_iter().collect(),
            personal: personal.map(|PersonalRequest { person, fields }| Personal { person, fields: fields.into_iter().collect() }),
            sealed: Vec::new(),
        }
    }
}

impl From<StoredRecord> for Record {
    fn from(stored: StoredRecord) -> Self {
        let StoredRecord { sequence, record, digest } = stored;
        let AuditRecord {
            id,
            recorded_at_ms,
            actor,
            plugin_id,
            plugin_version,
            plugin_digest,
            generation,
            invocation_id,
            spooled_at_ms,
            entry,
        } = record;
        let AuditEntry { action, subject, outcome, summary, changes, attributes, personal: _, sealed } = entry;
        let outcome = match outcome {
            AuditOutcome::Success => OutcomeView::Success,
            AuditOutcome::Denied { reason } => OutcomeView::Denied { reason },
            AuditOutcome::Failed { reason } => OutcomeView::Failed { reason },
        };
        let change = |audit::Change { field, before, after }| ChangeView { field, before, after };
        Self {
            sequence,
            id,
            recorded_at_ms,
            actor,
            plugin_id,
            plugin_version,
            plugin_digest,
            generation,
            invocation_id,
            spooled_at_ms,
            action,
            subject: SubjectView { kind: subject.kind, id: subject.id },
            outcome,
            summary,
            changes: changes.into_iter().map(change).collect(),
            attributes: object(attributes),
            sealed: sealed.into_iter().map(|Sealed { f, alg, kid, ct }| SealedView { f, alg, kid, ct }).collect(),
            digest,
        }
    }
}
