//! Compares what came with what a case wants; each difference is one problem.

use super::{
    call::{Answer, Ended},
    case::{Then, Wanted, WantedReason},
    coverage::shown,
    script::Script,
    servers,
    stage::{Before, Stage},
    value::{body_difference, difference, json_of},
};
use plinth_capability::{
    audit::{AuditOutcome, AuditRecord},
    database::{QueryLimits, Value as Cell},
    name::CacheKey,
    queue::Message,
};
use plinth_runtime::{
    hook::{Reason, Verdict},
    outcome::{Failure, GuestError},
};
use serde_json::{Map, Value, json};

/// Everything that is not as `then` says.
pub(super) async fn judge(stage: &Stage, before: Before, ended: &Ended, then: &Then, script: &Script) -> Vec<String> {
    let mut problems = outcome(ended, then);
    // Faults end with the call; what it committed is delivered after it.
    if let Err(problem) = stage.settled().await {
        problems.push(problem);
    }
    problems.extend(then.requests.iter().flat_map(|wanted| servers::differences(wanted, &stage.servers.sent())));
    problems.extend(calls(then, script));
    problems.extend(messages(stage, &before, then));
    problems.extend(records(stage, &before, then).await);
    problems.extend(metrics(stage, &before, then));
    problems.extend(cache(stage, then).await);
    problems.extend(rows(stage, then).await);
    problems.extend(log(then, script));
    problems
}

fn wanted_of(failure: &Failure) -> Wanted {
    match failure {
        Failure::Guest(GuestError::Retry { .. }) => Wanted::Retry,
        Failure::Guest(GuestError::Reject { .. }) => Wanted::Reject,
        Failure::Trap(_) => Wanted::Trap,
        Failure::Deadline(_) => Wanted::Deadline,
        Failure::Limit(_) => Wanted::Limit,
        Failure::Denied(_) => Wanted::Denied,
        Failure::Unavailable { .. } => Wanted::Unavailable,
    }
}

fn outcome(ended: &Ended, then: &Then) -> Vec<String> {
    let wanted = then.outcome.unwrap_or(Wanted::Ok);
    match ended {
        Ok(Answer::Unusable(why)) => vec![why.clone()],
        Ok(answer) if wanted == Wanted::Ok => answered(answer, then),
        Ok(_) => vec![format!("outcome: expected {wanted:?}, and it was ok").to_lowercase()],
        Err(failure) if wanted_of(failure) != wanted => {
            vec![format!("outcome: expected {}, and {failure}", format!("{wanted:?}").to_lowercase())]
        }
        Err(failure) => failed(failure, then),
    }
}

fn failed(failure: &Failure, then: &Then) -> Vec<String> {
    let mut problems = Vec::new();
    if let (Failure::Guest(GuestError::Reject { code, .. }), Some(wanted)) = (failure, &then.code)
        && code != wanted
    {
        problems.push(format!("code: expected `{wanted}`, found `{code}`"));
    }
    if let (Failure::Guest(GuestError::Retry { after, .. }), Some(wanted)) = (failure, then.after_ms) {
        let after = after.map(|after| after.as_millis());
        if after != Some(wanted.into()) {
            problems.push(format!("after-ms: expected {wanted}, found {}", after.map_or("none".to_owned(), |ms| ms.to_string())));
        }
    }
    if let Some(wanted) = &then.message
        && !failure.to_string().contains(wanted)
    {
        problems.push(format!("message: expected `{wanted}` in it: {failure}"));
    }
    problems
}

fn answered(answer: &Answer, then: &Then) -> Vec<String> {
    let mut problems = Vec::new();
    if let (Answer::Verdict(verdict), Some(wanted)) = (answer, &then.verdict) {
        if verdict.code() != wanted {
            problems.push(format!("verdict: expected {wanted}, and it was {}{}", verdict.code(), why(verdict)));
        } else if let (Verdict::Hold(found) | Verdict::Deny(found), Some(wanted)) = (verdict, &then.reason) {
            problems.extend(reason(found, wanted));
        } else if let (Verdict::Amend(payload), Some(wanted)) = (verdict, &then.amended) {
            let expected = String::from_utf8_lossy(&wanted.bytes).into();
            problems.extend(body_difference(&expected, &payload.data).map(|why| format!("amended{why}")));
        }
    }
    if let (Answer::Http(response), Some(wanted)) = (answer, &then.http) {
        if response.status().as_u16() != wanted.status {
            let body = String::from_utf8_lossy(response.body());
            problems.push(format!("http: expected status {}, found {}: {body}", wanted.status, response.status().as_u16()));
        }
        for (name, value) in &wanted.headers {
            let found = response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            if found.as_deref() != Some(value) {
                problems.push(format!("http: header {name}: expected `{value}`, found {found:?}"));
            }
        }
        if let Some(body) = &wanted.body {
            let expected = String::from_utf8_lossy(&body.bytes).into();
            problems.extend(body_difference(&expected, response.body()).map(|why| format!("http: body{why}")));
        }
    }
    problems
}

fn why(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Hold(reason) | Verdict::Deny(reason) => format!(" ({}: {})", reason.code, reason.message),
        _ => String::new(),
    }
}

fn reason(found: &Reason, wanted: &WantedReason) -> Option<String> {
    let mut expected = Map::new();
    let mut there = Map::new();
    expected.insert("code".to_owned(), json!(wanted.code));
    there.insert("code".to_owned(), json!(found.code));
    if let Some(message) = &wanted.message {
        expected.insert("message".to_owned(), json!(message));
        there.insert("message".to_owned(), json!(found.message));
    }
    if let Some(details) = &wanted.details {
        expected.insert("details".to_owned(), json!(details));
        there.insert("details".to_owned(), pairs(&found.details));
    }
    difference(&expected.into(), &there.into()).map(|why| format!("reason{why}"))
}

fn pairs(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect()
}

fn calls(then: &Then, script: &Script) -> Option<String> {
    let wanted = then.calls.as_ref()?;
    let found: Vec<String> = script.calls().iter().filter(|seen| seen.tells()).map(shown).collect();
    (found != *wanted).then(|| format!("calls: expected {wanted:?},\n      found {found:?}"))
}

fn messages(stage: &Stage, before: &Before, then: &Then) -> Vec<String> {
    let mut left: Vec<_> = stage.messages().split_off(before.messages);
    let mut problems = Vec::new();
    for (name, wanted) in &then.messages {
        let destination = match stage.grants.destination(name) {
            Ok(destination) => destination,
            Err(error) => {
                problems.push(format!("messages.{name}: {error}"));
                continue;
            }
        };
        let (found, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(to, _)| to == destination);
        left = others;
        if found.len() != wanted.len() {
            let bodies: Vec<_> = found.iter().map(|(_, message)| String::from_utf8_lossy(&message.body)).collect();
            problems.push(format!("messages.{name}: expected {}, found {}: {bodies:?}", wanted.len(), found.len()));
            continue;
        }
        for (at, (wanted, (_, message))) in wanted.iter().zip(&found).enumerate() {
            problems.extend(message_difference(wanted, message).map(|why| format!("messages.{name}[{at}]{why}")));
        }
    }
    for (destination, message) in left {
        problems.push(format!("messages: one came that is not expected, to {destination:?}: {}", String::from_utf8_lossy(&message.body)));
    }
    problems
}

/// A table with `body` is a whole message, anything else its body.
fn message_difference(wanted: &toml::Value, message: &Message) -> Option<String> {
    let Some((table, body)) = wanted.as_table().and_then(|table| Some((table, table.get("body")?))) else {
        return body_difference(&json_of(wanted), &message.body);
    };
    let mut found = Map::from_iter([
        ("headers".to_owned(), pairs(&message.headers)),
        ("content-type".to_owned(), json!(message.content_type)),
        ("routing-key".to_owned(), json!(message.routing_key)),
        ("correlation-id".to_owned(), json!(message.correlation_id)),
        ("priority".to_owned(), json!(message.priority)),
        ("delay-ms".to_owned(), json!(u64::try_from(message.delay.as_millis()).unwrap_or(u64::MAX))),
    ]);
    let rest: Map<String, Value> =
        table.iter().filter(|(key, _)| *key != "body").map(|(key, value)| (key.clone(), json_of(value))).collect();
    found.retain(|key, _| rest.contains_key(key));
    body_difference(&json_of(body), &message.body).or_else(|| difference(&rest.into(), &found.into()))
}

async fn records(stage: &Stage, before: &Before, then: &Then) -> Vec<String> {
    let found = match stage.records().await {
        Ok(mut found) => found.split_off(before.records.min(found.len())),
        Err(error) => return vec![format!("the audit log cannot be read: {error}")],
    };
    let found: Vec<Value> = found.iter().map(record_json).collect();
    if found.len() != then.audit.len() {
        let list: String = found.iter().map(|record| format!("\n      {record}")).collect();
        return vec![format!("audit: expected {} records, found {}{list}", then.audit.len(), found.len())];
    }
    let mut problems = Vec::new();
    for (at, (wanted, found)) in then.audit.iter().zip(found).enumerate() {
        let wanted = json_of(&toml::Value::Table(wanted.clone()));
        let mut found = found;
        if let (Some(found), Some(wanted)) = (found.as_object_mut(), wanted.as_object()) {
            found.retain(|key, _| wanted.contains_key(key));
        }
        problems.extend(difference(&wanted, &found).map(|why| format!("audit[{at}]{why}")));
    }
    problems
}

fn record_json(record: &AuditRecord) -> Value {
    let entry = &record.entry;
    let reason = match &entry.outcome {
        AuditOutcome::Denied { reason } | AuditOutcome::Failed { reason } => Some(reason),
        AuditOutcome::Success => None,
    };
    json!({
        "action": entry.action,
        "kind": entry.subject.kind,
        "id": entry.subject.id,
        "outcome": entry.outcome.code(),
        "reason": reason,
        "summary": entry.summary,
        "attributes": pairs(&entry.attributes),
        "changes": entry.changes.iter().map(|c| json!({"field": c.field, "before": c.before, "after": c.after})).collect::<Vec<_>>(),
        "actor": record.actor,
    })
}

fn metrics(stage: &Stage, before: &Before, then: &Then) -> Vec<String> {
    let now = stage.metrics();
    let rose = |name: &String| now.get(name).copied().unwrap_or(0.0) - before.metrics.get(name).copied().unwrap_or(0.0);
    let wrong = then.metrics.iter().filter(|(name, wanted)| (rose(name) - **wanted).abs() > 1e-9);
    wrong.map(|(name, wanted)| format!("metrics: `{name}` should rise by {wanted}, and rose by {}", rose(name))).collect()
}

async fn cache(stage: &Stage, then: &Then) -> Vec<String> {
    let mut problems = Vec::new();
    for (bucket, entries) in &then.cache {
        for (key, wanted) in entries {
            let found = async {
                let (full, _) = stage.grants.bucket(bucket)?;
                stage.capabilities().cache.get(full, &CacheKey::new(key)?).await
            };
            let found = match found.await {
                Ok(found) => found.map(|entry| entry.value),
                Err(error) => {
                    problems.push(format!("cache.{bucket}.{key}: {error}"));
                    continue;
                }
            };
            let why = match (wanted, found) {
                (toml::Value::Boolean(false), None) => None,
                (toml::Value::Boolean(false), Some(found)) => {
                    Some(format!(": should not be there, and is {}", String::from_utf8_lossy(&found)))
                }
                (_, None) => Some(": is not there".to_owned()),
                (wanted, Some(found)) => body_difference(&json_of(wanted), &found),
            };
            problems.extend(why.map(|why| format!("cache.{bucket}.{key}{why}")));
        }
    }
    problems
}

async fn rows(stage: &Stage, then: &Then) -> Vec<String> {
    let mut problems = Vec::new();
    for wanted in &then.rows {
        let found = async { stage.database(&wanted.database).await?.query(&wanted.query, Vec::new(), QueryLimits::default()).await };
        match found.await {
            Ok(found) => {
                let found: Value = found.rows.iter().map(|row| row.iter().map(cell_json).collect::<Value>()).collect();
                let expected: Value = wanted.rows.iter().map(|row| row.iter().map(json_of).collect::<Value>()).collect();
                problems.extend(difference(&expected, &found).map(|why| format!("rows of `{}`{why}", wanted.query)));
            }
            Err(error) => problems.push(format!("rows of `{}`: {error}", wanted.query)),
        }
    }
    problems
}

/// TOML has no null: it is written as `"<null>"`.
fn cell_json(cell: &Cell) -> Value {
    match cell {
        Cell::Null => json!("<null>"),
        Cell::Boolean(is) => json!(is),
        Cell::Integer(number) => json!(number),
        Cell::Real(number) => json!(number),
        Cell::Blob(bytes) => json!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)),
        Cell::IntegerArray(list) => json!(list),
        Cell::TextArray(list) => json!(list),
        Cell::Text(text) | Cell::Decimal(text) | Cell::Date(text) | Cell::Time(text) | Cell::Timestamp(text) => json!(text),
        Cell::LocalTimestamp(text) | Cell::Uuid(text) | Cell::Json(text) | Cell::Other { text, .. } => json!(text),
    }
}

fn log(then: &Then, script: &Script) -> Option<String> {
    let lines = script.lines();
    let mut rest = lines.iter();
    let missing = then.log.iter().find(|wanted| !rest.any(|line| line.contains(wanted.as_str())))?;
    Some(format!("log: no line has `{missing}`, or not in this order: {lines:?}"))
}
