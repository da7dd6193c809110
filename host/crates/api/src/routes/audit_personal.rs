//! What audit records say of persons: opened by those who may, and erased. Both are records themselves.

use super::{Capabilities, audit::stamped};
use crate::{
    auth::Caller,
    edge::Visit,
    error::{ApiError, Result},
    extract::{Json, Path},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State, response::IntoResponse};
use http::header::CACHE_CONTROL;
use plinth_capability::{
    Error, ErrorKind,
    audit::{AuditEntry, AuditOutcome, Subject},
    persons::ERASED,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a key's `roles` must hold.
const ROLE: &str = "audit-personal";
/// Client-controlled: bytes of a reason.
const REASON_MAX: usize = 1_000;
const OPENED: &str = "audit.personal.opened";

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(open)).routes(routes!(erase))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OpenRequest {
    /// Why; it is recorded. 1 to 1000 bytes, and no personal data.
    reason: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EraseRequest {
    /// The id under which records were written.
    person: String,
    /// Why; it is recorded. 1 to 1000 bytes, and no personal data.
    reason: String,
}

#[derive(Serialize, ToSchema)]
struct Opened {
    /// In clear.
    fields: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
struct Erasure {
    /// The record of it; none if there was nothing to erase.
    id: Option<String>,
    sequence: Option<u64>,
}

fn permitted(caller: &Caller, reason: &str) -> Result<()> {
    if !caller.has_role(ROLE) {
        return Err(ApiError::new(problem::DENIED, format!("personal fields need a key with the role `{ROLE}`")));
    }
    if reason.is_empty() || reason.len() > REASON_MAX {
        return Err(ApiError::new(problem::INVALID_INPUT, format!("a reason has 1 to {REASON_MAX} bytes")));
    }
    Ok(())
}

fn entry(action: &str, subject: Subject, summary: &str, reason: String) -> AuditEntry {
    AuditEntry {
        action: action.to_owned(),
        subject,
        outcome: AuditOutcome::Success,
        summary: summary.to_owned(),
        changes: Vec::new(),
        attributes: vec![("reason".to_owned(), reason)],
        personal: None,
        sealed: Vec::new(),
    }
}

fn gone(error: Error) -> ApiError {
    match error.kind() {
        ErrorKind::NotFound => ApiError::new(problem::ERASED, error.message()),
        _ => error.into(),
    }
}

/// Open the personal fields of an audit record.
///
/// Needs a key with the role `audit-personal`, where the host has keys. That they were opened, by whom and why, is recorded
/// before they are shown. 410 `erased` once the person was erased.
#[utoipa::path(post, path = "/v1/audit/{id}/personal", tag = "audit", request_body = OpenRequest,
    params(("id" = String, Path, description = "The record's id.")),
    responses((status = 200, description = "The fields in clear.", body = Opened), Problems))]
async fn open(
    State(capabilities): State<Capabilities>,
    Path(id): Path<String>,
    visit: Visit,
    Json(OpenRequest { reason }): Json<OpenRequest>,
) -> Result<impl IntoResponse> {
    permitted(&visit.caller, &reason)?;
    let found = capabilities.audit.record(&id).await?;
    let record = found.ok_or_else(|| ApiError::new(problem::NOT_FOUND, "no audit record with this id"))?.record;
    let fields = capabilities.persons.open(&record).await.map_err(gone)?;
    let subject = Subject { kind: "audit-record".to_owned(), id };
    let told = entry(OPENED, subject, "The personal fields of a record were opened.", reason);
    capabilities.audit.append(vec![stamped(&visit, told)]).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Answer(Opened { fields: fields.into_iter().collect() })))
}

/// Erase a person from the audit log.
///
/// Destroys her key, so that what records say of her can never be opened again; the log still verifies. Needs a key with the
/// role `audit-personal`, where the host has keys. Erasing again changes nothing.
#[utoipa::path(post, path = "/v1/audit/persons/erase", tag = "audit", request_body = EraseRequest,
    responses((status = 200, description = "She is erased.", body = Erasure), Problems))]
async fn erase(
    State(capabilities): State<Capabilities>,
    visit: Visit,
    Json(EraseRequest { person, reason }): Json<EraseRequest>,
) -> Result<Answer<Erasure>> {
    permitted(&visit.caller, &reason)?;
    // The keeper of the keys puts the pseudonym in.
    let subject = Subject { kind: "person".to_owned(), id: String::new() };
    let told = entry(ERASED, subject, "A person's key was destroyed.", reason);
    let receipt = capabilities.persons.erase(&person, stamped(&visit, told)).await?;
    Ok(Answer(match receipt {
        Some(receipt) => Erasure { id: Some(receipt.id), sequence: Some(receipt.sequence) },
        None => Erasure { id: None, sequence: None },
    }))
}
