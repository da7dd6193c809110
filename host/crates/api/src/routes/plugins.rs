//! Load, look at, swap, roll back and remove plugins.

use super::Plugins;
use crate::{
    detach::to_the_end,
    edge::Visit,
    error::{ApiError, Result},
    extract::{Json, Multipart, Path, Query},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State, response::IntoResponse};
use bytes::Bytes;
use http::StatusCode;
use plinth_capability::name::PluginName;
use plinth_runtime::{
    Package,
    hook::Hook,
    view::{self, SlotState},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Routes that answer at once.
pub(crate) fn routes() -> OpenApiRouter<Plugins> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(versions))
}

/// Routes that load code, and may take as long as that takes.
pub(crate) fn load_routes() -> OpenApiRouter<Plugins> {
    OpenApiRouter::new().routes(routes!(install)).routes(routes!(remove)).routes(routes!(roll_back)).routes(routes!(swap))
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the multipart form; the parts are read by hand")]
struct InstallForm {
    /// The WebAssembly component.
    #[schema(content_media_type = "application/wasm", value_type = String)]
    component: Vec<u8>,
    /// plugin.toml
    manifest: String,
    /// A JSON object, merged over the manifest's configuration.
    config: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InstallQuery {
    /// Approve what the manifest asks for beyond what is approved already.
    #[serde(default)]
    approve_grants: bool,
    /// Load and probe, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What a change of a slot did.
#[derive(Serialize, ToSchema)]
pub(crate) struct Change {
    #[schema(value_type = String)]
    plugin: PluginName,
    version: String,
    /// `sha256:` and 64 hex digits.
    digest: String,
    /// Of the snapshot in which the change shows.
    generation: u64,
    /// The version that was active before.
    replaced: Option<String>,
    /// Worth knowing, and no reason to stop.
    notices: Vec<String>,
    elapsed_us: u64,
    /// Whether the compiled code came from the cache.
    compile_cached: bool,
}

impl From<view::Change> for Change {
    fn from(change: view::Change) -> Self {
        let view::Change { plugin, version, digest, generation, replaced, notices, elapsed_us, compile_cached } = change;
        Self { plugin, version, digest, generation, replaced, notices, elapsed_us, compile_cached }
    }
}

/// What a dry run found; nothing has changed.
#[derive(Serialize, ToSchema)]
struct DryRun {
    notices: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Removed {
    #[schema(value_type = String)]
    plugin: PluginName,
    /// Of the first snapshot without it.
    generation: u64,
}

#[derive(Serialize, ToSchema)]
struct SlotList {
    generation: u64,
    plugins: Vec<Slot>,
}

/// A plugin's place in the snapshot.
#[derive(Serialize, ToSchema)]
struct Slot {
    #[schema(value_type = String)]
    plugin: PluginName,
    description: String,
    /// `live`, `fell-back` or `degraded`.
    #[schema(value_type = String)]
    state: SlotState,
    reason: Option<String>,
    generation: u64,
    version: String,
    digest: String,
    #[schema(value_type = Vec<String>)]
    hooks: Vec<Hook>,
    versions: Vec<Version>,
    /// Interfaces the component imports, as granted.
    imports: Vec<String>,
    #[schema(value_type = Object)]
    limits: plinth_runtime::limits::Limits,
    /// What the operator approved.
    #[schema(value_type = Object)]
    grants: plinth_runtime::manifest::GrantRequests,
}

#[derive(Serialize, ToSchema)]
struct Version {
    version: String,
    digest: String,
    /// Hook calls that run on it now.
    live_calls: u64,
    installed_at_ms: u64,
    active: bool,
    quarantined: bool,
}

#[derive(Serialize, ToSchema)]
struct VersionList {
    #[schema(value_type = String)]
    plugin: PluginName,
    /// Active first, then the previous one and any that still drain.
    versions: Vec<Version>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SwapRequest {
    /// A stored version; exactly one of the two.
    version: Option<String>,
    /// `sha256:` and 64 hex digits of a stored version.
    digest: Option<String>,
}

impl From<view::VersionView> for Version {
    fn from(view: view::VersionView) -> Self {
        let view::VersionView { version, digest, live_calls, installed_at_ms, active, quarantined } = view;
        Self { version, digest, live_calls, installed_at_ms, active, quarantined }
    }
}

impl From<view::SlotView> for Slot {
    fn from(slot: view::SlotView) -> Self {
        let view::SlotView { plugin, description, state, reason, generation, version, digest, hooks, versions, imports, limits, grants } =
            slot;
        let versions = versions.into_iter().map(Version::from).collect();
        Self { plugin, description, state, reason, generation, version, digest, hooks, versions, imports, limits, grants }
    }
}

/// Install a plugin, or swap it for another version.
///
/// The component is checked, compiled, linked and probed before anything
/// changes; calls in flight end on the version they started on.
#[utoipa::path(post, path = "/v1/plugins", tag = "plugins", params(InstallQuery),
    request_body(content = InstallForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "A new plugin serves calls.", body = Change),
              (status = 200, description = "The plugin was swapped, or a dry run found nothing wrong.", body = Change), Problems))]
async fn install(
    State(plugins): State<Plugins>,
    visit: Visit,
    Query(query): Query<InstallQuery>,
    form: Multipart,
) -> Result<axum::response::Response> {
    let package = package(form, query.approve_grants).await?;
    let runtime = plugins.acting_for(&visit);
    if query.dry_run {
        let notices = to_the_end(&plugins.tasks, async move { runtime.check(package).await }).await?;
        return Ok(Answer(DryRun { notices }).into_response());
    }
    let change = to_the_end(&plugins.tasks, async move { runtime.install(package).await }).await?;
    let status = if change.replaced.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Answer(Change::from(change))).into_response())
}

async fn package(Multipart(mut form): Multipart, approve_grants: bool) -> Result<Package> {
    let (mut component, mut manifest, mut config) = (None::<Bytes>, None::<String>, None::<String>);
    while let Some(part) = form.next_field().await? {
        let name = part.name().unwrap_or_default().to_owned();
        let repeated = match name.as_str() {
            "component" => component.replace(part.bytes().await?).is_some(),
            "manifest" => manifest.replace(part.text().await?).is_some(),
            "config" => config.replace(part.text().await?).is_some(),
            _ => return Err(bad_form(format!("there is no part named `{}`", name.escape_debug()))),
        };
        if repeated {
            return Err(bad_form(format!("the part `{name}` comes twice")));
        }
    }
    let missing = |part: &str| bad_form(format!("the part `{part}` is missing"));
    let config = config.map(|text| serde_json::from_str(&text)).transpose();
    Ok(Package {
        component: component.ok_or_else(|| missing("component"))?,
        manifest: manifest.ok_or_else(|| missing("manifest"))?,
        config: config.map_err(|e| bad_form(format!("the part `config` is not JSON: {e}")))?,
        approve_grants,
    })
}

fn bad_form(detail: String) -> ApiError {
    ApiError::new(problem::BAD_BODY, detail)
}

/// List the plugins.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins",
    responses((status = 200, description = "All slots of the current snapshot.", body = SlotList), Problems))]
async fn list(State(plugins): State<Plugins>) -> Answer<SlotList> {
    let slots = plugins.runtime.slots().into_iter().map(Slot::from).collect();
    Answer(SlotList { generation: plugins.runtime.generation(), plugins: slots })
}

/// Show one plugin.
#[utoipa::path(get, path = "/v1/plugins/{plugin}", tag = "plugins", params(("plugin" = String, Path, description = "The plugin's name.")),
    responses((status = 200, description = "Its slot.", body = Slot), Problems))]
async fn show(State(plugins): State<Plugins>, Path(plugin): Path<String>) -> Result<Answer<Slot>> {
    Ok(Answer(slot(&plugins, &plugin)?.into()))
}

/// List the versions of a plugin.
#[utoipa::path(get, path = "/v1/plugins/{plugin}/versions", tag = "plugins",
    params(("plugin" = String, Path, description = "The plugin's name.")),
    responses((status = 200, description = "What it could be swapped or rolled back to.", body = VersionList), Problems))]
async fn versions(State(plugins): State<Plugins>, Path(plugin): Path<String>) -> Result<Answer<VersionList>> {
    let slot = slot(&plugins, &plugin)?;
    Ok(Answer(VersionList { plugin: slot.plugin, versions: slot.versions.into_iter().map(Version::from).collect() }))
}

fn slot(plugins: &Plugins, plugin: &str) -> Result<view::SlotView> {
    let name = PluginName::new(plugin)?;
    plugins.runtime.slot(&name).ok_or_else(|| ApiError::new(problem::NO_SUCH_PLUGIN, format!("no plugin named {name}")))
}

/// Remove a plugin.
#[utoipa::path(delete, path = "/v1/plugins/{plugin}", tag = "plugins", params(("plugin" = String, Path, description = "The plugin's name.")),
    responses((status = 200, description = "It takes no more calls; those in flight end.", body = Removed), Problems))]
async fn remove(State(plugins): State<Plugins>, visit: Visit, Path(plugin): Path<String>) -> Result<Answer<Removed>> {
    let (name, runtime) = (PluginName::new(&plugin)?, plugins.acting_for(&visit));
    let target = name.clone();
    let generation = to_the_end(&plugins.tasks, async move { runtime.remove(&target).await }).await?;
    Ok(Answer(Removed { plugin: name, generation }))
}

/// Roll a plugin back to its previous version.
#[utoipa::path(post, path = "/v1/plugins/{plugin}/rollback", tag = "plugins",
    params(("plugin" = String, Path, description = "The plugin's name.")),
    responses((status = 200, description = "The previous version serves calls.", body = Change), Problems))]
async fn roll_back(State(plugins): State<Plugins>, visit: Visit, Path(plugin): Path<String>) -> Result<Answer<Change>> {
    let (name, runtime) = (PluginName::new(&plugin)?, plugins.acting_for(&visit));
    let change = to_the_end(&plugins.tasks, async move { runtime.roll_back(&name).await }).await?;
    Ok(Answer(change.into()))
}

/// Swap a plugin for a stored version.
#[utoipa::path(post, path = "/v1/plugins/{plugin}/swap", tag = "plugins", request_body = SwapRequest,
    params(("plugin" = String, Path, description = "The plugin's name.")),
    responses((status = 200, description = "That version serves calls.", body = Change), Problems))]
async fn swap(
    State(plugins): State<Plugins>,
    visit: Visit,
    Path(plugin): Path<String>,
    Json(body): Json<SwapRequest>,
) -> Result<Answer<Change>> {
    let (name, runtime) = (PluginName::new(&plugin)?, plugins.acting_for(&visit));
    let version = match (body.version, body.digest) {
        (Some(version), None) | (None, Some(version)) => version,
        _ => return Err(ApiError::new(problem::BAD_BODY, "give exactly one of `version` and `digest`")),
    };
    let change = to_the_end(&plugins.tasks, async move { runtime.swap_to(&name, &version).await }).await?;
    Ok(Answer(change.into()))
}
