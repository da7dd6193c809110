//! Look at queues and their dead letters; put dead letters back or forget them.

use super::{Capabilities, object};
use crate::{
    error::{ApiError, Result},
    extract::{Json, Path, Query},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State};
use base64::{Engine, prelude::BASE64_STANDARD};
use plinth_capability::{
    name::QueueName,
    queue::{self, DeadLetterFilter, Queue, Selection},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Client-controlled: dead letters of one page, ids of one selection.
const LETTERS_MAX: u32 = 1_000;

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(dead_letters, purge)).routes(routes!(replay))
}

#[derive(Serialize, ToSchema)]
struct QueueList {
    queues: Vec<QueueView>,
}

#[derive(Serialize, ToSchema)]
struct QueueView {
    queue: String,
    depth: Depth,
}

#[derive(Serialize, ToSchema)]
struct Depth {
    /// Deliverable now.
    ready: u64,
    /// Waiting for a delay or a backoff to end.
    delayed: u64,
    /// Delivered and not yet settled.
    in_flight: u64,
    dead: u64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// 1 to 1000.
    #[serde(default = "default_limit")]
    limit: u32,
}

fn default_limit() -> u32 {
    100
}

#[derive(Serialize, ToSchema)]
struct DeadLetterPage {
    /// Oldest first.
    dead_letters: Vec<DeadLetter>,
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct DeadLetter {
    message_id: String,
    queue: String,
    /// Topic or queue it was published to.
    destination: String,
    content_type: String,
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The body, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    headers: BTreeMap<String, String>,
    attempts: u32,
    /// `rejected`, `attempts-exhausted` or `expired`.
    reason: String,
    last_error: String,
    enqueued_at_ms: u64,
    died_at_ms: u64,
}

/// Which dead letters: exactly one of the three.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeadLetterSelection {
    #[serde(default)]
    all: bool,
    /// Message ids, at most 1000.
    ids: Option<Vec<String>>,
    matching: Option<DeadLetterConditions>,
}

/// At least one condition; all that are given must hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeadLetterConditions {
    reason: Option<DeathReason>,
    /// Topic or queue it was published to.
    destination: Option<String>,
    /// Died at or after, in milliseconds since 1970.
    died_after_ms: Option<u64>,
    /// Died before, in milliseconds since 1970.
    died_before_ms: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum DeathReason {
    Rejected,
    AttemptsExhausted,
    Expired,
}

#[derive(Serialize, ToSchema)]
struct Replayed {
    replayed: u64,
}

#[derive(Serialize, ToSchema)]
struct Purged {
    purged: u64,
}

/// List the queues.
#[utoipa::path(get, path = "/v1/queues", tag = "queues",
    responses((status = 200, description = "Every declared queue and how full it is.", body = QueueList), Problems))]
async fn list(State(capabilities): State<Capabilities>) -> Result<Answer<QueueList>> {
    let mut queues = Vec::new();
    for name in capabilities.queue.queues().await? {
        queues.push(view(capabilities.queue.as_ref(), name).await?);
    }
    Ok(Answer(QueueList { queues }))
}

/// Show one queue.
#[utoipa::path(get, path = "/v1/queues/{queue}", tag = "queues",
    params(("queue" = String, Path, description = "The queue's name; `/` in it is sent as `%2F`.")),
    responses((status = 200, description = "How full it is.", body = QueueView), Problems))]
async fn show(State(capabilities): State<Capabilities>, Path(name): Path<String>) -> Result<Answer<QueueView>> {
    Ok(Answer(view(capabilities.queue.as_ref(), QueueName::new(&name)?).await?))
}

async fn view(queue: &dyn Queue, name: QueueName) -> Result<QueueView> {
    let queue::Depth { ready, delayed, in_flight, dead } = queue.depth(&name).await?;
    Ok(QueueView { queue: name.into(), depth: Depth { ready, delayed, in_flight, dead } })
}

/// List the dead letters of a queue.
#[utoipa::path(get, path = "/v1/queues/{queue}/dead-letters", tag = "queues",
    params(("queue" = String, Path, description = "The queue's name; `/` in it is sent as `%2F`."), PageQuery),
    responses((status = 200, description = "Messages given up, and why.", body = DeadLetterPage), Problems))]
async fn dead_letters(
    State(capabilities): State<Capabilities>,
    Path(name): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Answer<DeadLetterPage>> {
    let name = QueueName::new(&name)?;
    if !(1..=LETTERS_MAX).contains(&page.limit) {
        return Err(ApiError::new(problem::BAD_QUERY, format!("limit must be 1 to {LETTERS_MAX}")));
    }
    let found = capabilities.queue.dead_letters(&name, page.cursor.as_deref(), page.limit).await?;
    Ok(Answer(DeadLetterPage { dead_letters: found.letters.into_iter().map(DeadLetter::from).collect(), next: found.next }))
}

/// Put dead letters back into their queue.
#[utoipa::path(post, path = "/v1/queues/{queue}/replay", tag = "queues", request_body = DeadLetterSelection,
    params(("queue" = String, Path, description = "The queue's name; `/` in it is sent as `%2F`.")),
    responses((status = 200, description = "They are ready again, as if new.", body = Replayed), Problems))]
async fn replay(
    State(capabilities): State<Capabilities>,
    Path(name): Path<String>,
    Json(body): Json<DeadLetterSelection>,
) -> Result<Answer<Replayed>> {
    let name = QueueName::new(&name)?;
    Ok(Answer(Replayed { replayed: capabilities.queue.replay(&name, body.try_into()?).await? }))
}

/// Forget dead letters for good; their ids stay repeats for a day.
#[utoipa::path(delete, path = "/v1/queues/{queue}/dead-letters", tag = "queues", request_body = DeadLetterSelection,
    params(("queue" = String, Path, description = "The queue's name; `/` in it is sent as `%2F`.")),
    responses((status = 200, description = "They are gone.", body = Purged), Problems))]
async fn purge(
    State(capabilities): State<Capabilities>,
    Path(name): Path<String>,
    Json(body): Json<DeadLetterSelection>,
) -> Result<Answer<Purged>> {
    let name = QueueName::new(&name)?;
    Ok(Answer(Purged { purged: capabilities.queue.purge(&name, body.try_into()?).await? }))
}

impl TryFrom<DeadLetterSelection> for Selection {
    type Error = ApiError;

    /// A selection is explicit: nothing that is left out means all.
    fn try_from(body: DeadLetterSelection) -> Result<Self> {
        let refuse = |why: String| Err(ApiError::new(problem::BAD_BODY, why));
        match (body.all, body.ids, body.matching) {
            (true, None, None) => Ok(Self::All),
            (false, Some(ids), None) if ids.len() > LETTERS_MAX as usize => refuse(format!("at most {LETTERS_MAX} ids are taken")),
            (false, Some(ids), None) => Ok(Self::Ids(ids)),
            (false, None, Some(conditions)) => match DeadLetterFilter::from(conditions) {
                filter if filter == DeadLetterFilter::default() => refuse("`matching` needs a condition".to_owned()),
                filter => Ok(Self::Matching(filter)),
            },
            _ => refuse("give exactly one of `all` (true), `ids` and `matching`".to_owned()),
        }
    }
}

impl From<DeadLetterConditions> for DeadLetterFilter {
    fn from(conditions: DeadLetterConditions) -> Self {
        let DeadLetterConditions { reason, destination, died_after_ms, died_before_ms } = conditions;
        let code = |reason| match reason {
            DeathReason::Rejected => "rejected",
            DeathReason::AttemptsExhausted => "attempts-exhausted",
            DeathReason::Expired => "expired",
        };
        Self { reason: reason.map(|reason| code(reason).to_owned()), destination, died_after_ms, died_before_ms }
    }
}

impl From<queue::DeadLetter> for DeadLetter {
    fn from(letter: queue::DeadLetter) -> Self {
        let queue::DeadLetter { message_id, queue, destination, content_type, body, headers, .. } = letter;
        let (text, data_base64) = match String::from_utf8(body) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
        };
        Self {
            message_id,
            queue: queue.into(),
            destination,
            content_type,
            text,
            data_base64,
            headers: object(headers),
            attempts: letter.attempts,
            reason: letter.reason,
            last_error: letter.last_error,
            enqueued_at_ms: letter.enqueued_at_ms,
            died_at_ms: letter.died_at_ms,
        }
    }
}
