//! The audit log as outsiders check it: trees, signed checkpoints, tiles and proofs in the forms of C2SP.

use super::Capabilities;
use crate::{
    error::{ApiError, Result},
    extract::{Path, Query},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State, response::IntoResponse};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use plinth_capability::transparency::TreeView;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const TEXT: &str = "text/plain; charset=utf-8";
/// What has a name of its own never changes.
const FOR_EVER: &str = "max-age=31536000, immutable";

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new()
        .routes(routes!(trees))
        .routes(routes!(checkpoint))
        .routes(routes!(tile))
        .routes(routes!(consistency))
        .routes(routes!(proof))
}

#[derive(Serialize, ToSchema)]
struct Trees {
    /// Oldest first; the last one grows.
    trees: Vec<Tree>,
}

#[derive(Serialize, ToSchema)]
struct Tree {
    /// From 0; another begins where the database was restored behind what it had signed.
    epoch: u64,
    /// The first line of its checkpoints.
    origin: String,
    /// The key that verifies its checkpoints, as a signed note's verifier key.
    verifier_key: String,
    /// The sequence of the record that is leaf 0.
    first_sequence: u64,
    /// Leaves under the newest checkpoint.
    signed_size: u64,
    /// Leaves it ended with; absent while it grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_size: Option<u64>,
    /// Leaves whose records are in the archive.
    archived_size: u64,
    /// Of these, leaves whose records are not in the database any more.
    pruned_size: u64,
    /// Of these, leaves whose records were dropped when their time was over; their hashes stay.
    expired_size: u64,
}

#[derive(Serialize, ToSchema)]
struct Consistency {
    size1: u64,
    size2: u64,
    /// Hashes in base64, as RFC 6962 orders them.
    proof: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Sizes {
    /// Leaves of the older tree.
    from: u64,
    /// Leaves of the newer tree, at most what is signed.
    to: u64,
}

fn none(what: &'static str) -> ApiError {
    ApiError::new(problem::NOT_FOUND, what)
}

/// List the trees of the audit log.
#[utoipa::path(get, path = "/v1/audit/log", tag = "audit",
    responses((status = 200, description = "Every tree, with the key that verifies it.", body = Trees), Problems))]
async fn trees(State(capabilities): State<Capabilities>) -> Result<Answer<Trees>> {
    let tree = |TreeView { epoch, origin, verifier_key, first, signed, sealed, archived, pruned, expired }| Tree {
        epoch,
        origin,
        verifier_key,
        first_sequence: first,
        signed_size: signed,
        sealed_size: sealed,
        archived_size: archived,
        pruned_size: pruned,
        expired_size: expired,
    };
    Ok(Answer(Trees { trees: capabilities.transparency.trees().await?.into_iter().map(tree).collect() }))
}

/// Read the newest signed checkpoint of a tree.
#[utoipa::path(get, path = "/v1/audit/log/{epoch}/checkpoint", tag = "audit",
    params(("epoch" = u64, Path, description = "Which tree.")),
    responses((status = 200, description = "A signed note (C2SP tlog-checkpoint).", body = String, content_type = "text/plain"), Problems))]
async fn checkpoint(State(capabilities): State<Capabilities>, Path(epoch): Path<u64>) -> Result<impl IntoResponse> {
    let note = capabilities.transparency.checkpoint(epoch).await?.ok_or_else(|| none("no tree of this epoch"))?;
    Ok(([(CONTENT_TYPE, TEXT), (CACHE_CONTROL, "no-cache")], note))
}

/// Read a tile or an entry bundle of a tree.
///
/// The path is `<level>/<index>[.p/<width>]` or `entries/<index>[.p/<width>]` (C2SP tlog-tiles).
#[utoipa::path(get, path = "/v1/audit/log/{epoch}/tile/{*path}", tag = "audit",
    params(("epoch" = u64, Path, description = "Which tree."), ("path" = String, Path, description = "Which tile.")),
    responses((status = 200, description = "Hashes of 32 bytes, or records with their lengths.", body = String, content_type = "application/octet-stream"), Problems))]
async fn tile(State(capabilities): State<Capabilities>, Path((epoch, path)): Path<(u64, String)>) -> Result<impl IntoResponse> {
    let bytes = capabilities.transparency.tile(epoch, &format!("tile/{path}")).await?.ok_or_else(|| none("the tree has no such tile"))?;
    Ok(([(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, FOR_EVER)], bytes))
}

/// Prove that an older tree is a prefix of a newer one.
#[utoipa::path(get, path = "/v1/audit/log/{epoch}/consistency", tag = "audit",
    params(("epoch" = u64, Path, description = "Which tree."), Sizes),
    responses((status = 200, description = "A consistency proof of RFC 6962.", body = Consistency), Problems))]
async fn consistency(
    State(capabilities): State<Capabilities>,
    Path(epoch): Path<u64>,
    Query(sizes): Query<Sizes>,
) -> Result<Answer<Consistency>> {
    let Sizes { from, to } = sizes;
    let proof = capabilities.transparency.consistency(epoch, from, to).await?.ok_or_else(|| none("no tree of this epoch"))?;
    Ok(Answer(Consistency { size1: from, size2: to, proof: proof.iter().map(|hash| STANDARD.encode(hash)).collect() }))
}

/// Prove that a record is in the log.
///
/// The proof verifies offline with the tree's verifier key: `plinth audit check-proof`.
#[utoipa::path(get, path = "/v1/audit/{id}/proof", tag = "audit", params(("id" = String, Path, description = "The record's id.")),
    responses((status = 200, description = "A C2SP tlog-proof.", body = String, content_type = "text/plain"), Problems))]
async fn proof(State(capabilities): State<Capabilities>, Path(id): Path<String>) -> Result<impl IntoResponse> {
    let proof = capabilities.transparency.proof(&id).await?;
    let proof = proof.ok_or_else(|| none("no signed checkpoint has this record; a new one is signed within seconds"))?;
    Ok(([(CONTENT_TYPE, TEXT), (CACHE_CONTROL, "no-cache")], proof))
}
