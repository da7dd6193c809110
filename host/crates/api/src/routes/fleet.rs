//! Who is where: the hosts over one state and the generation each of them serves.

use super::Plugins;
use crate::{error::Result, problem::Problems};
use axum::{Json as Answer, extract::State};
use plinth_runtime::view::HostView;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<Plugins> {
    OpenApiRouter::new().routes(routes!(show))
}

#[derive(Serialize, ToSchema)]
struct Fleet {
    /// Whether several hosts may share this state; if not, the one host is listed.
    shared: bool,
    /// What this host serves.
    generation: u64,
    hosts: Vec<FleetHost>,
}

#[derive(Serialize, ToSchema)]
struct FleetHost {
    name: String,
    /// Made anew at each start of the host.
    id: String,
    /// The one that answers.
    this: bool,
    /// Heard of in the last five seconds.
    live: bool,
    /// Serves calls, and is asked about changes.
    ready: bool,
    /// Everything up to this generation is what it serves.
    generation: u64,
    /// Why it is not further.
    note: Option<String>,
    /// Since it was last heard of.
    age_ms: u64,
}

impl From<HostView> for FleetHost {
    fn from(view: HostView) -> Self {
        let HostView { name, id, this, live, ready, generation, note, age_ms } = view;
        Self { name, id, this, live, ready, generation, note, age_ms }
    }
}

/// Show the hosts of the fleet.
///
/// Hosts that were heard of in the last hour, by name. A host that was stopped
/// says goodbye; one that was killed is listed as not live.
#[utoipa::path(get, path = "/v1/fleet", tag = "fleet",
    responses((status = 200, description = "Every host and what it serves.", body = Fleet), Problems))]
async fn show(State(plugins): State<Plugins>) -> Result<Answer<Fleet>> {
    let view = plugins.runtime.fleet().await?;
    let hosts = view.hosts.into_iter().map(FleetHost::from).collect();
    Ok(Answer(Fleet { shared: view.shared, generation: plugins.runtime.generation(), hosts }))
}
