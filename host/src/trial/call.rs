//! Calls the hook of a case as the host would.

use super::{
    case::{Given, When, millis},
    stage::Stage,
    value::Body,
};
use bytes::Bytes;
use plinth_runtime::{
    hook::{Cause, Event, HttpRequest, Payload, Question, Task, Trigger, Verdict},
    outcome::{Failure, Reply},
};
use std::collections::BTreeMap;

/// What a hook answered.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Verdict(Verdict),
    Http(http::Response<Bytes>),
    /// It was not called.
    Unusable(String),
}

/// How the call ended.
pub(super) type Ended = Result<Answer, Failure>;

pub(super) async fn call(stage: &Stage, when: &When, given: &Given) -> Ended {
    let (runtime, plugin) = (&stage.runtime, &stage.plugin);
    let caller = given.caller.clone().unwrap_or_default();
    let now = given.now_ms().unwrap_or_else(plinth_capability::now_ms);
    let attempt = caller.attempt.unwrap_or(1);
    let cause = Cause { actor: caller.actor, roles: caller.roles, attempt, ..Cause::default() };
    match when {
        When::Event(event) => {
            let event = Event {
                id: id(),
                topic: event.topic.clone(),
                subject: event.subject.clone(),
                occurred_at_ms: now,
                payload: payload(&event.payload),
                attributes: pairs(&event.attributes),
            };
            runtime.on_event(plugin, event, cause).await.outcome.map(|()| Answer::Done)
        }
        When::Task(task) => {
            let task = Task {
                id: id(),
                queue: task.queue.clone(),
                routing_key: task.routing_key.clone(),
                attempt,
                enqueued_at_ms: now,
                correlation_id: None,
                payload: payload(&task.payload),
                attributes: pairs(&task.attributes),
            };
            runtime.handle_task(plugin, task, cause).await.outcome.map(|()| Answer::Done)
        }
        When::Decision(asked) => {
            let question = Question {
                point: asked.point.clone(),
                subject: asked.subject.clone(),
                payload: payload(&asked.payload),
                attributes: pairs(&asked.attributes),
            };
            runtime.ask(plugin, question, cause).await.outcome.map(Answer::Verdict)
        }
        When::Job(run) => {
            let trigger = Trigger {
                job: run.name.clone(),
                run_id: id(),
                scheduled_for_ms: run.scheduled_for.as_ref().and_then(millis).unwrap_or(now),
                attempt,
                last_success_ms: run.last_success.as_ref().and_then(millis),
                attributes: Vec::new(),
            };
            runtime.run_job(plugin, trigger, cause).await.outcome.map(|()| Answer::Done)
        }
        When::Http(request) => {
            let mut built = http::Request::builder().method(request.method.as_str()).uri(request.path.as_str());
            built = request.headers.iter().fold(built, |built, (name, value)| built.header(name, value));
            let has = |header: &str| request.headers.keys().any(|name| name.eq_ignore_ascii_case(header));
            if !has("content-type") && !request.body.bytes.is_empty() {
                built = built.header("content-type", &request.body.content_type);
            }
            if !has("host") {
                built = built.header("host", "localhost");
            }
            match built.body(request.body.bytes.clone()) {
                Ok(request) => {
                    let reply: Reply<_> = runtime.handle_http(plugin, HttpRequest { request, timeout: None }, cause).await;
                    reply.outcome.map(Answer::Http)
                }
                Err(error) => Ok(Answer::Unusable(format!("when.http is no request: {error}"))),
            }
        }
    }
}

fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn payload(body: &Body) -> Payload {
    Payload { content_type: body.content_type.clone(), data: body.bytes.clone() }
}

fn pairs(attributes: &BTreeMap<String, String>) -> Vec<(String, String)> {
    attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
