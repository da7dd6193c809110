//! Single cache entries, with HTTP's own conditions: `ETag`, `If-Match`, `If-None-Match`.

use super::Capabilities;
use crate::{
    error::{ApiError, Result},
    extract::{Path, Query},
    problem::{self, Problems},
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use plinth_capability::{
    cache::{Condition, Entry, Version, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(get, put, delete))
}

/// Where an entry is: `{namespace}/{bucket}` is the bucket's full name.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Place {
    /// `shared`, or a plugin's name.
    namespace: String,
    bucket: String,
    /// 1 to 512 bytes; `/` in it is sent as `%2F`.
    key: String,
}

impl Place {
    fn names(&self) -> Result<(BucketName, CacheKey)> {
        Ok((bucket_name(&self.namespace, &self.bucket)?, CacheKey::new(&self.key)?))
    }
}

pub(super) fn bucket_name(namespace: &str, bucket: &str) -> Result<BucketName> {
    Ok(BucketName::new(&format!("{namespace}/{bucket}"))?)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PutQuery {
    /// How long the entry lives; the bucket's default if absent.
    ttl_ms: Option<u64>,
    /// Separated by commas.
    tags: Option<String>,
}

/// Read a cache entry.
#[utoipa::path(get, path = "/v1/cache/{namespace}/{bucket}/entries/{key}", tag = "cache", params(Place),
    responses((status = 200, description = "The value; `ETag` names its version.", body = Vec<u8>, content_type = "application/octet-stream"),
              (status = 304, description = "`If-None-Match` names the version that is there."), Problems))]
async fn get(State(capabilities): State<Capabilities>, Path(place): Path<Place>, headers: HeaderMap) -> Result<Response> {
    let (bucket, key) = place.names()?;
    let Some(entry) = capabilities.cache.get(&bucket, &key).await? else {
        return Err(ApiError::new(problem::NOT_FOUND, "no live entry under this key"));
    };
    let tag = etag(&entry.version);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind), (header::ETAG, tag)], entry.value).into_response())
}

/// Write a cache entry.
///
/// `If-None-Match: *` writes only where nothing is, `If-Match` only over that version.
#[utoipa::path(put, path = "/v1/cache/{namespace}/{bucket}/entries/{key}", tag = "cache",
    params(Place, PutQuery, ("if-match" = Option<String>, Header, description = "An `ETag`."),
           ("if-none-match" = Option<String>, Header, description = "`*`.")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The value, as it is."),
    responses((status = 204, description = "Written; `ETag` names the new version."), Problems))]
async fn put(
    State(capabilities): State<Capabilities>,
    Path(place): Path<Place>,
    Query(query): Query<PutQuery>,
    headers: HeaderMap,
    value: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response> {
    let (bucket, key) = place.names()?;
    let tags = query.tags.iter().flat_map(|list| list.split(',')).map(Tag::new).collect::<Result<_, _>>()?;
    let write = Write { ttl: query.ttl_ms.map(Duration::from_millis), condition: condition(&headers)?, tags };
    match capabilities.cache.set(&bucket, &key, value?, write).await? {
        WriteOutcome::Stored(version) => Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag(&version))]).into_response()),
        WriteOutcome::Conflict(found) => Err(ApiError::new(problem::PRECONDITION_FAILED, found_instead(found.as_ref()))),
    }
}

/// Delete a cache entry.
#[utoipa::path(delete, path = "/v1/cache/{namespace}/{bucket}/entries/{key}", tag = "cache", params(Place),
    responses((status = 204, description = "There is no such entry any more."), Problems))]
async fn delete(State(capabilities): State<Capabilities>, Path(place): Path<Place>) -> Result<StatusCode> {
    let (bucket, key) = place.names()?;
    capabilities.cache.delete_many(&bucket, &[key]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A version as an entity tag: quoted, and percent-encoded where a tag could not hold it.
fn etag(version: &Version) -> HeaderValue {
    let mut tag = String::from("\"");
    for byte in version.0.bytes() {
        match byte {
            b'"' | b'%' | 0..=0x20 | 0x7f.. => tag.push_str(&format!("%{byte:02X}")),
            _ => tag.push(byte as char),
        }
    }
    tag.push('"');
    HeaderValue::try_from(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

fn version_of(tag: &str) -> Option<Version> {
    let inner = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    crate::cloudevents::percent_decode(inner).map(Version)
}

fn condition(headers: &HeaderMap) -> Result<Condition> {
    let bad = |name: HeaderName, what| ApiError::new(problem::BAD_HEADER, format!("{name} must be {what}"));
    match (headers.get(header::IF_NONE_MATCH), headers.get(header::IF_MATCH)) {
        (None, None) => Ok(Condition::Always),
        (Some(any), None) if any == "*" => Ok(Condition::IfAbsent),
        (Some(_), None) => Err(bad(header::IF_NONE_MATCH, "`*`")),
        (None, Some(tag)) => {
            let version = tag.to_str().ok().and_then(version_of);
            version.map(|v| Condition::IfVersion(Some(v))).ok_or_else(|| bad(header::IF_MATCH, "one entity tag, in quotes"))
        }
        (Some(_), Some(_)) => Err(bad(header::IF_MATCH, "the only condition")),
    }
}

fn found_instead(found: Option<&Entry>) -> String {
    match found {
        Some(entry) => format!("there is an entry of version {}", etag(&entry.version).to_str().unwrap_or_default()),
        None => "there is no live entry under this key".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_survives_being_an_entity_tag() {
        for version in ["1", "a-b/c", "with \"quotes\" and spaces", "100%", "版本"] {
            let tag = etag(&Version(version.into()));
            assert_eq!(version_of(tag.to_str().unwrap()), Some(Version(version.into())), "{version}");
        }
        assert_eq!(version_of("1"), None);
        assert_eq!(version_of("W/\"1\""), None);
        assert_eq!(version_of("\"%f\""), None);
    }
}
