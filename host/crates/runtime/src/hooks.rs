//! Each hook's part of a call: load the export, convert, call, convert back.

use crate::{
    bindings::{
        exports::plinth::hooks::{decision, event_listener, lifecycle, scheduled_job, task_handler},
        plinth::hooks::hook_types::{self, HookError},
        wasmcloud::messaging::types::BrokerMessage,
    },
    glue::wasmcloud_messaging::REPLY_TO,
    hook::{ActivationCause, Event, Payload, Question, Reason, Task, Trigger, Verdict},
    invoke::Work,
    outcome::{Failure, GuestError, Outcome},
    state::CallState,
    version::Version,
};
use std::time::Duration;
use wasmtime::{Store, component::Instance};

/// An export that the caller checked for, gone: a fault of the host.
fn missing<T>() -> Outcome<T> {
    Err(Failure::unavailable("this version does not export the hook"))
}

/// The manifest says what reaches a plugin; nothing else does.
pub(crate) fn unbound<T>(what: &str, name: &str) -> Outcome<T> {
    Err(Failure::Denied(format!("the manifest binds no {what} `{}`", name.escape_debug())))
}

fn guest_error(error: HookError) -> Failure {
    Failure::Guest(match error {
        HookError::Retry(retry) => GuestError::retry(retry.message, retry.after_ms.map(|ms| Duration::from_millis(ms.into()))),
        HookError::Reject(failure) => GuestError::reject(failure.code, failure.message),
    })
}

fn refused(failure: hook_types::Failure) -> Failure {
    Failure::Guest(GuestError::reject(failure.code, failure.message))
}

fn payload_in(payload: Payload) -> hook_types::Payload {
    hook_types::Payload { content_type: payload.content_type, data: payload.data.into() }
}

fn reason_out(reason: hook_types::Reason) -> Reason {
    Reason { code: reason.code, message: reason.message, details: reason.details }
}

pub(crate) fn on_event(event: Event) -> Work<()> {
    Box::new(move |store, instance, version| {
        Box::pin(async move {
            let Some(indices) = &version.exports.event_listener else { return Ok(missing()) };
            let topics = version.manifest.hooks.event_listener.iter().flat_map(|binding| &binding.topics);
            if !topics.into_iter().any(|pattern| pattern.matches(&event.topic)) {
                return Ok(unbound("topic", &event.topic));
            }
            let guest = indices.load(&mut *store, instance)?;
            let event = event_listener::Event {
                id: event.id,
                topic: event.topic,
                subject: event.subject,
                occurred_at_ms: event.occurred_at_ms,
                payload: payload_in(event.payload),
                attributes: event.attributes,
            };
            Ok(guest.call_on_event(store, &event).await?.map_err(guest_error))
        })
    })
}

pub(crate) fn handle_task(task: Task) -> Work<()> {
    Box::new(move |store, instance, version| {
        Box::pin(async move {
            let mut queues = version.manifest.hooks.task_handler.iter().flat_map(|binding| &binding.queues);
            if !queues.any(|queue| queue.as_str() == task.queue) {
                return Ok(unbound("queue", &task.queue));
            }
            let Some(indices) = &version.exports.task_handler else { return handle_message(store, instance, version, task).await };
            let guest = indices.load(&mut *store, instance)?;
            let task = task_handler::Task {
                id: task.id,
                queue: task.queue,
                routing_key: task.routing_key,
                attempt: task.attempt,
                enqueued_at_ms: task.enqueued_at_ms,
                correlation_id: task.correlation_id,
                payload: payload_in(task.payload),
                attributes: task.attributes,
            };
            Ok(guest.call_handle(store, &task).await?.map_err(guest_error))
        })
    })
}

/// The same for a guest that was written for `wasmcloud:messaging`: what it answers is tried again.
async fn handle_message(store: &mut Store<CallState>, instance: &Instance, version: &Version, task: Task) -> wasmtime::Result<Outcome<()>> {
    let Some(indices) = &version.exports.message_handler else { return Ok(missing()) };
    let guest = indices.load(&mut *store, instance)?;
    let reply_to = task.attributes.into_iter().find_map(|(name, value)| (name == REPLY_TO).then_some(value));
    let message = BrokerMessage { subject: task.queue, body: task.payload.data.into(), reply_to };
    let answer = guest.call_handle_message(store, &message).await?;
    Ok(answer.map_err(|message| Failure::Guest(GuestError::retry(message, None))))
}

pub(crate) fn decide(question: Question) -> Work<Verdict> {
    Box::new(move |store, instance, version| {
        Box::pin(async move {
            let Some(indices) = &version.exports.decision else { return Ok(missing()) };
            let guest = indices.load(&mut *store, instance)?;
            let question = decision::Question {
                point: question.point,
                subject: question.subject,
                payload: payload_in(question.payload),
                attributes: question.attributes,
            };
            let verdict = match guest.call_decide(store, &question).await? {
                Ok(verdict) => verdict,
                Err(error) => return Ok(Err(guest_error(error))),
            };
            Ok(match verdict {
                decision::Verdict::Abstain => Ok(Verdict::Abstain),
                decision::Verdict::Allow => Ok(Verdict::Allow),
                decision::Verdict::Amend(payload) => bounded(payload, version.limits.result_bytes).map(Verdict::Amend),
                decision::Verdict::Hold(reason) => Ok(Verdict::Hold(reason_out(reason))),
                decision::Verdict::Deny(reason) => Ok(Verdict::Deny(reason_out(reason))),
            })
        })
    })
}

fn bounded(payload: hook_types::Payload, most: u64) -> Outcome<Payload> {
    if payload.data.len() as u64 > most {
        return Err(Failure::Limit(format!("a payload of {} bytes, {most} are allowed", payload.data.len())));
    }
    Ok(Payload { content_type: payload.content_type, data: payload.data.into() })
}

pub(crate) fn run_job(trigger: Trigger) -> Work<()> {
    Box::new(move |store, instance, version| {
        Box::pin(async move {
            let Some(indices) = &version.exports.scheduled_job else { return Ok(missing()) };
            let guest = indices.load(&mut *store, instance)?;
            let trigger = scheduled_job::Trigger {
                job: trigger.job,
                run_id: trigger.run_id,
                scheduled_for_ms: trigger.scheduled_for_ms,
                attempt: trigger.attempt,
                last_success_ms: trigger.last_success_ms,
                attributes: trigger.attributes,
            };
            Ok(guest.call_run(store, &trigger).await?.map_err(guest_error))
        })
    })
}

pub(crate) fn check_health() -> Work<()> {
    Box::new(|store, instance, version| {
        Box::pin(async move {
            let Some(indices) = &version.exports.health else { return Ok(Ok(())) };
            let guest = indices.load(&mut *store, instance)?;
            Ok(guest.call_check(store).await?.map_err(refused))
        })
    })
}

pub(crate) fn activate(cause: ActivationCause) -> Work<()> {
    Box::new(move |store, instance, version| {
        Box::pin(async move {
            let Some(indices) = &version.exports.lifecycle else { return Ok(Ok(())) };
            let guest = indices.load(&mut *store, instance)?;
            let cause = match cause {
                ActivationCause::Start => lifecycle::Cause::Start,
                ActivationCause::Upgrade { from } => lifecycle::Cause::Upgrade(from),
                ActivationCause::Rollback { from } => lifecycle::Cause::Rollback(from),
            };
            let activation = lifecycle::Activation { cause, attributes: Vec::new() };
            Ok(guest.call_activate(store, &activation).await?.map_err(refused))
        })
    })
}

pub(crate) fn deactivate() -> Work<()> {
    Box::new(|store, instance, version| {
        Box::pin(async move {
            let Some(indices) = &version.exports.lifecycle else { return Ok(Ok(())) };
            let guest = indices.load(&mut *store, instance)?;
            Ok(Ok(guest.call_deactivate(store).await?))
        })
    })
}

/// Loads every exported hook of an instance, which checks their types. For the
/// probe: a changed type is found before any call depends on it.
pub(crate) fn check_types() -> Work<()> {
    Box::new(|store, instance, version| {
        Box::pin(async move {
            let exports = &version.exports;
            macro_rules! load {
                ($($hook:ident),*) => {$(
                    if let Some(indices) = &exports.$hook {
                        indices.load(&mut *store, instance)?;
                    }
                )*};
            }
            load!(event_listener, task_handler, message_handler, decision, scheduled_job, lifecycle, health, http);
            Ok(Ok(()))
        })
    })
}
