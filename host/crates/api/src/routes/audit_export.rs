//! Audit records as a stream of lines, for those who take away more than a page.

use super::{
    Capabilities,
    audit::{Asked, FindQuery, Record},
};
use crate::{error::Result, extract::Query, problem::Problems};
use axum::{body::Body, extract::State, response::IntoResponse};
use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_TYPE;
use plinth_capability::{
    Error, ErrorKind,
    audit::{AuditFilter, AuditLog, AuditPage},
};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Where an export stands.
struct Export {
    audit: Arc<dyn AuditLog>,
    filter: AuditFilter,
    limit: u32,
    /// Sequences from here on were given after the export began.
    end: u64,
    /// Read and not sent.
    page: Option<AuditPage>,
    cursor: Option<String>,
}

impl Export {
    /// The lines of one page; nothing after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let asked = self.cursor.take();
        let page = match (self.page.take(), &asked) {
            (Some(page), _) => page,
            (None, Some(cursor)) => self.audit.find(&self.filter, Some(cursor), self.limit).await?,
            (None, None) => return Ok(None),
        };
        if asked.is_some() && page.next == asked {
            return Err(Error::new(ErrorKind::Internal, "audit.export", "the pages of the log do not go on"));
        }
        let older = page.records.last().is_none_or(|last| last.sequence < self.end);
        self.cursor = page.next.filter(|_| older);
        let mut lines = Vec::new();
        for stored in page.records.into_iter().filter(|stored| stored.sequence < self.end) {
            serde_json::to_writer(&mut lines, &Record::from(stored))
                .map_err(|e| Error::new(ErrorKind::Internal, "audit.export", "no JSON").with_source(e))?;
            lines.push(b'\n');
        }
        Ok(Some(lines.into()))
    }
}

/// Export audit records.
///
/// Every record that matches and was stored when the request came, oldest first, one JSON object to a line. `limit` is
/// how many are read at a time. What fails on the way breaks the answer off, so an answer that ended well is whole.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", params(FindQuery),
    responses((status = 200, description = "NDJSON.", body = Record, content_type = "application/x-ndjson"), Problems))]
async fn export(State(capabilities): State<Capabilities>, Query(query): Query<FindQuery>) -> Result<impl IntoResponse> {
    let Asked { filter, cursor, limit } = query.checked()?;
    let audit = capabilities.audit.clone();
    let end = audit.count().await?;
    // The first page before the answer begins: until then a fault is a problem with a code.
    let page = Some(audit.find(&filter, cursor.as_deref(), limit).await?);
    let export = Export { audit, filter, limit, end, page, cursor: None };
    let lines = stream::try_unfold(export, async move |mut export| {
        let lines = export.next().await.inspect_err(|error| tracing::warn!(%error, "an export of the audit log broke off"))?;
        Ok::<_, Error>(lines.map(|lines| (lines, export)))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)))
}
