//! Ask the plugins bound to a decision point.

use super::{Plugins, object};
use crate::{
    detach::to_the_end,
    error::{ApiError, Result},
    extract::{Causing, Json, Path},
    problem::{self, Problems},
};
use axum::{Json as Answer, extract::State};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use plinth_capability::name::TopicName;
use plinth_runtime::{
    Decision,
    hook::{Payload, Question, Verdict},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Client-controlled: bytes of a subject.
const SUBJECT_MAX: usize = 512;

pub(crate) fn routes() -> OpenApiRouter<Plugins> {
    OpenApiRouter::new().routes(routes!(decide))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DecisionRequest {
    /// What is decided about, e.g. an application number.
    subject: String,
    /// Any JSON; handed to the plugins as it is.
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
struct DecisionAnswer {
    /// `abstain` (nobody had an opinion), `allow`, `amend`, `hold` or `deny`.
    verdict: &'static str,
    /// Why, of `hold` and `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// The payload after all amendments, if there were any and it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// The same, if it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// In the order asked.
    answers: Vec<OneAnswer>,
}

#[derive(Serialize, ToSchema)]
struct Reason {
    code: String,
    message: String,
    details: BTreeMap<String, String>,
}

/// What one plugin said, and which version of it.
#[derive(Serialize, ToSchema)]
struct OneAnswer {
    plugin: String,
    version: String,
    digest: String,
    generation: u64,
    invocation_id: String,
    /// A verdict, or how the call failed.
    answer: String,
}

/// Ask the plugins bound to a decision point.
///
/// The first `deny` wins, then `hold`; amendments apply in the plugins' order.
#[utoipa::path(post, path = "/v1/decisions/{point}", tag = "decisions", request_body = DecisionRequest,
    params(("point" = String, Path, description = "The decision point, dotted words.")),
    responses((status = 200, description = "The verdict, whatever it is.", body = DecisionAnswer), Problems))]
async fn decide(
    State(plugins): State<Plugins>,
    Path(point): Path<String>,
    Causing(cause): Causing,
    Json(body): Json<DecisionRequest>,
) -> Result<Answer<DecisionAnswer>> {
    let point = TopicName::new(&point)?;
    if body.subject.len() > SUBJECT_MAX {
        return Err(ApiError::new(problem::BAD_BODY, format!("subject has more than {SUBJECT_MAX} bytes")));
    }
    let data = Bytes::from(String::from(Box::<str>::from(body.payload)));
    let question = Question {
        point: point.into(),
        subject: body.subject,
        payload: Payload { content_type: "application/json".to_owned(), data },
        attributes: body.attributes.into_iter().collect(),
    };
    let runtime = plugins.runtime.clone();
    let decision = to_the_end(&plugins.tasks, async move { runtime.decide(question, cause).await }).await;
    Ok(Answer(decision.into()))
}

impl From<Decision> for DecisionAnswer {
    fn from(decision: Decision) -> Self {
        let verdict = decision.verdict.code();
        let (reason, amended) = match decision.verdict {
            Verdict::Hold(reason) | Verdict::Deny(reason) => (Some(reason), None),
            Verdict::Amend(payload) => (None, Some(payload)),
            Verdict::Abstain | Verdict::Allow => (None, None),
        };
        let reason = reason.map(|r| Reason { code: r.code, message: r.message, details: object(r.details) });
        let (payload, payload_base64, content_type) = shown(decision.payload.or(amended));
        let answers = decision.answers.into_iter().map(OneAnswer::from).collect();
        Self { verdict, reason, payload, payload_base64, content_type, answers }
    }
}

fn shown(payload: Option<Payload>) -> (Option<Box<RawValue>>, Option<String>, Option<String>) {
    let Some(Payload { content_type, data }) = payload else { return (None, None, None) };
    match serde_json::from_slice(&data) {
        Ok(json) => (Some(json), None, Some(content_type)),
        Err(_) => (None, Some(BASE64_STANDARD.encode(&data)), Some(content_type)),
    }
}

impl From<plinth_runtime::Answer> for OneAnswer {
    fn from(answer: plinth_runtime::Answer) -> Self {
        let plinth_runtime::Answer { plugin, version, digest, generation, invocation_id, answer } = answer;
        Self { plugin: plugin.into(), version, digest, generation, invocation_id, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(verdict: Verdict, payload: Option<(&str, &str)>) -> serde_json::Value {
        let payload = payload.map(|(kind, data)| Payload { content_type: kind.into(), data: Bytes::from(data.to_owned()) });
        serde_json::to_value(DecisionAnswer::from(Decision { verdict, payload, answers: Vec::new() })).unwrap()
    }

    #[test]
    fn a_verdict_is_told_with_its_reason_and_payload() {
        let json = serde_json::json!({"verdict": "allow", "payload": {"a": 1.10}, "content_type": "application/json", "answers": []});
        assert_eq!(answer(Verdict::Allow, Some(("application/json", r#"{"a":1.10}"#))), json);
        let json = serde_json::json!({"verdict": "amend", "payload_base64": "YSxi", "content_type": "text/csv", "answers": []});
        let csv = Payload { content_type: "text/csv".into(), data: Bytes::from_static(b"a,b") };
        assert_eq!(answer(Verdict::Amend(csv), None), json);
        let reason = plinth_runtime::hook::Reason {
            code: "four-eyes".into(),
            message: "Ask another.".into(),
            details: vec![("a".into(), "b".into())],
        };
        let held = answer(Verdict::Hold(reason), None);
        assert_eq!(
            (&held["verdict"], &held["reason"]["code"], &held["reason"]["details"]["a"]),
            (&"hold".into(), &"four-eyes".into(), &"b".into())
        );
    }
}
