//! Many cache entries at once: batch, touch, invalidate by tag.

use super::{Capabilities, cache::bucket_name};
use crate::{
    error::{ApiError, Result},
    extract::{Json, Path},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use plinth_capability::{
    cache::{BATCH_MAX, Cache, Entry},
    name::{BucketName, CacheKey, Tag},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(batch)).routes(routes!(touch)).routes(routes!(invalidate))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Place {
    /// `shared`, or a plugin's name.
    namespace: String,
    bucket: String,
}

impl Place {
    fn bucket(&self) -> Result<BucketName> {
        bucket_name(&self.namespace, &self.bucket)
    }
}

/// Done in this order: delete, set, get. At most 1000 keys in each.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BatchRequest {
    #[serde(default)]
    delete: Vec<String>,
    #[serde(default)]
    set: Vec<NewEntry>,
    #[serde(default)]
    get: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEntry {
    key: String,
    /// Exactly one of this and `text`.
    value_base64: Option<String>,
    text: Option<String>,
    /// The bucket's default if absent.
    ttl_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct BatchAnswer {
    /// One per key of `get`, in the order asked.
    entries: Vec<FoundEntry>,
    /// How many entries were written.
    stored: usize,
    /// How many live entries were deleted.
    deleted: u32,
}

#[derive(Serialize, ToSchema)]
struct FoundEntry {
    key: String,
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    /// The value, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TouchRequest {
    key: String,
    ttl_ms: u64,
}

#[derive(Serialize, ToSchema)]
struct Touched {
    /// False: there was no live entry.
    touched: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InvalidateRequest {
    tags: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Invalidated {
    /// How many entries were dropped.
    invalidated: u32,
}

/// Delete, write and read many entries.
#[utoipa::path(post, path = "/v1/cache/{namespace}/{bucket}/batch", tag = "cache", params(Place), request_body = BatchRequest,
    responses((status = 200, description = "What was found and done.", body = BatchAnswer), Problems))]
async fn batch(
    State(capabilities): State<Capabilities>,
    Path(place): Path<Place>,
    Json(body): Json<BatchRequest>,
) -> Result<Answer<BatchAnswer>> {
    let (bucket, cache) = (place.bucket()?, capabilities.cache.as_ref());
    // All names and values are checked before anything changes.
    let (delete, get, set) = (keys(&body.delete)?, keys(&body.get)?, by_ttl(body.set)?);
    let deleted = if delete.is_empty() { 0 } else { cache.delete_many(&bucket, &delete).await? };
    let stored = store(cache, &bucket, set).await?;
    let found = if get.is_empty() { Vec::new() } else { cache.get_many(&bucket, &get).await? };
    let entries = body.get.into_iter().zip(found).map(|(key, entry)| FoundEntry::new(key, entry)).collect();
    Ok(Answer(BatchAnswer { entries, stored, deleted }))
}

fn keys(names: &[String]) -> Result<Vec<CacheKey>> {
    if names.len() > BATCH_MAX {
        return Err(too_many());
    }
    Ok(names.iter().map(|name| CacheKey::new(name)).collect::<Result<_, _>>()?)
}

fn too_many() -> ApiError {
    ApiError::new(problem::BAD_BODY, format!("at most {BATCH_MAX} entries are taken at once"))
}

type ByTtl = BTreeMap<Option<u64>, Vec<(CacheKey, Bytes)>>;

/// The cache writes many entries under one lifetime.
fn by_ttl(entries: Vec<NewEntry>) -> Result<ByTtl> {
    if entries.len() > BATCH_MAX {
        return Err(too_many());
    }
    let mut groups = ByTtl::new();
    for NewEntry { key, value_base64, text, ttl_ms } in entries {
        let bad = |why: &str| ApiError::new(problem::BAD_BODY, format!("set `{}`: {why}", key.escape_debug()));
        let value = match (value_base64, text) {
            (None, Some(text)) => Bytes::from(text),
            (Some(data), None) => BASE64_STANDARD.decode(data).map_err(|_| bad("value_base64 is not base64"))?.into(),
            _ => return Err(bad("give exactly one of `value_base64` and `text`")),
        };
        groups.entry(ttl_ms).or_default().push((CacheKey::new(&key)?, value));
    }
    Ok(groups)
}

async fn store(cache: &dyn Cache, bucket: &BucketName, groups: ByTtl) -> Result<usize> {
    let mut stored = 0;
    for (ttl_ms, entries) in groups {
        let ttl = ttl_ms.map(Duration::from_millis);
        stored += entries.len();
        cache.set_many(bucket, entries, ttl).await?;
    }
    Ok(stored)
}

impl FoundEntry {
    fn new(key: String, entry: Option<Entry>) -> Self {
        let Some(Entry { value, version }) = entry else {
            return Self { key, found: false, value_base64: None, text: None, version: None };
        };
        let text = std::str::from_utf8(&value).ok().map(str::to_owned);
        Self { key, found: true, value_base64: Some(BASE64_STANDARD.encode(&value)), text, version: Some(version.0) }
    }
}

/// Restart an entry's lifetime.
#[utoipa::path(post, path = "/v1/cache/{namespace}/{bucket}/touch", tag = "cache", params(Place), request_body = TouchRequest,
    responses((status = 200, description = "Whether there was an entry.", body = Touched), Problems))]
async fn touch(
    State(capabilities): State<Capabilities>,
    Path(place): Path<Place>,
    Json(body): Json<TouchRequest>,
) -> Result<Answer<Touched>> {
    let (bucket, key) = (place.bucket()?, CacheKey::new(&body.key)?);
    Ok(Answer(Touched { touched: capabilities.cache.touch(&bucket, &key, Duration::from_millis(body.ttl_ms)).await? }))
}

/// Drop every entry that carries one of the tags.
#[utoipa::path(post, path = "/v1/cache/{namespace}/{bucket}/invalidate", tag = "cache", params(Place), request_body = InvalidateRequest,
    responses((status = 200, description = "How many were dropped.", body = Invalidated), Problems))]
async fn invalidate(
    State(capabilities): State<Capabilities>,
    Path(place): Path<Place>,
    Json(body): Json<InvalidateRequest>,
) -> Result<Answer<Invalidated>> {
    let bucket = place.bucket()?;
    if body.tags.len() > BATCH_MAX {
        return Err(too_many());
    }
    let tags: Vec<_> = body.tags.iter().map(|tag| Tag::new(tag)).collect::<Result<_, _>>()?;
    Ok(Answer(Invalidated { invalidated: capabilities.cache.invalidate(&bucket, &tags).await? }))
}
