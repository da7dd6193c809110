//! Put a task into a queue.

use super::Capabilities;
use crate::{
    error::{ApiError, Result},
    extract::{Json, Path},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::StatusCode;
use plinth_capability::{
    name::QueueName,
    queue::{Destination, Message},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, time::Duration};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// What the host itself says about a message; a caller must not forge it.
const RESERVED: &str = "plinth-";

pub(crate) fn routes() -> OpenApiRouter<Capabilities> {
    OpenApiRouter::new().routes(routes!(publish))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TaskRequest {
    /// Any JSON, handed on as it is; exactly one of this and `data_base64`.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    data_base64: Option<String>,
    /// Default: `application/json` for `payload`, else `application/octet-stream`.
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    routing_key: Option<String>,
    correlation_id: Option<String>,
    /// Repeats of it to this queue are dropped for a day; made up if absent.
    message_id: Option<String>,
    /// Deliver no earlier than this long from now.
    #[serde(default)]
    delay_ms: u64,
    /// A dead letter if not delivered within this time.
    expires_ms: Option<u64>,
    /// 0 (lowest) to 9.
    #[serde(default)]
    priority: u8,
}

#[derive(Serialize, ToSchema)]
struct Accepted {
    id: String,
}

/// Put a task into a queue.
#[utoipa::path(post, path = "/v1/tasks/{queue}", tag = "queues", request_body = TaskRequest,
    params(("queue" = String, Path, description = "The queue's name; `/` in it is sent as `%2F`.")),
    responses((status = 202, description = "Durably stored; a plugin will work it off.", body = Accepted), Problems))]
async fn publish(
    State(capabilities): State<Capabilities>,
    Path(queue): Path<String>,
    Json(body): Json<TaskRequest>,
) -> Result<(StatusCode, Answer<Accepted>)> {
    let queue = QueueName::new(&queue)?;
    let message = message(body)?;
    let id = message.id.clone();
    let results = capabilities.queue.publish(&Destination::Queue(queue), vec![message]).await?;
    results.into_iter().collect::<Result<(), _>>()?;
    Ok((StatusCode::ACCEPTED, Answer(Accepted { id })))
}

fn message(task: TaskRequest) -> Result<Message> {
    let bad = |detail: String| ApiError::new(problem::BAD_BODY, detail);
    let (body, default_type) = match (task.payload, task.data_base64) {
        (Some(json), None) => (Bytes::from(String::from(Box::<str>::from(json))), "application/json"),
        (None, Some(text)) => {
            let data = BASE64_STANDARD.decode(text).map_err(|e| bad(format!("data_base64 is not base64: {e}")))?;
            (Bytes::from(data), "application/octet-stream")
        }
        _ => return Err(bad("give exactly one of `payload` and `data_base64`".to_owned())),
    };
    if let Some(name) = task.headers.keys().find(|name| name.to_ascii_lowercase().starts_with(RESERVED)) {
        return Err(bad(format!("header `{}`: names with `{RESERVED}` are the host's own", name.escape_debug())));
    }
    Ok(Message {
        id: task.message_id.unwrap_or_else(|| Uuid::now_v7().to_string()),
        body,
        content_type: task.content_type.unwrap_or_else(|| default_type.to_owned()),
        headers: task.headers.into_iter().collect(),
        routing_key: task.routing_key.unwrap_or_default(),
        correlation_id: task.correlation_id,
        priority: task.priority,
        delay: Duration::from_millis(task.delay_ms),
        expires: task.expires_ms.map(Duration::from_millis),
    })
}
