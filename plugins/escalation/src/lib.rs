//! Reference plugin `escalation`: overdue applications by clock and by queue.

pub mod rules;

use plinth_sdk::{
    audit::Entry,
    cache::Bucket,
    database::{self, Database},
    queue::{Message, PublishOptions},
    *,
};
use rules::{Escalation, Notification};
use std::time::Duration;

/// Longer than any redelivery of one task takes.
const HANDLED_FOR: Duration = Duration::from_secs(24 * 3600);

struct Desk;

impl Lifecycle for Desk {
    fn activate(_: Activation) -> Result<(), Failure> {
        overdue_after().map(|_| ()).map_err(|error| Failure::new("config", error.to_string()))
    }
}

impl ScheduledJob for Desk {
    fn run(trigger: Trigger) -> Result<(), HookError> {
        match trigger.job.as_str() {
            "overdue" => escalate_overdue(i64::try_from(trigger.scheduled_for_ms).unwrap_or(i64::MAX)),
            other => Err(HookError::reject("unknown-job", format!("there is no job {other}"))),
        }
    }
}

impl TaskHandler for Desk {
    fn handle(task: Task) -> Result<(), HookError> {
        let handled = Bucket::open("handled")?;
        if handled.exists(&task.id)? {
            return Ok(());
        }
        match task.queue.as_str() {
            "escalations" => escalate(parse(&task)?)?,
            "notifications" => send(&parse(&task)?),
            other => return Err(HookError::reject("unknown-queue", format!("nothing is done for queue {other}"))),
        }
        handled.set(&task.id, b"", Some(HANDLED_FOR))?;
        Ok(())
    }
}

plugin!(Desk: scheduled_job, task_handler, lifecycle);

fn overdue_after() -> config::Result<i64> {
    Ok(config::parse("overdue-after-ms")?.unwrap_or(rules::OVERDUE_AFTER_MS))
}

/// One task per application and day: the message id makes a second run harmless.
fn escalate_overdue(now_ms: i64) -> Result<(), HookError> {
    let overdue = overdue_applications(now_ms - overdue_after()?)?;
    metrics::gauge("overdue_applications", overdue.len() as f64, &[]);
    for escalation in &overdue {
        let options = PublishOptions::id(rules::message_id(&escalation.number, now_ms)).about(&escalation.number);
        queue::publish_with("escalations", &Message::json(escalation)?, &options)?;
    }
    info!("looked for overdue applications", found = overdue.len());
    Ok(())
}

/// The oldest first; the rest waits for the next run.
fn overdue_applications(before_ms: i64) -> Result<Vec<Escalation>, HookError> {
    let rows = Database::open("ticketing")?.query(
        "select number, status, updated_at_ms from applications \
         where status in ('submitted', 'in-review') and updated_at_ms <= $1 order by updated_at_ms limit $2",
        &[before_ms.into(), rules::BATCH.into()],
    );
    let rows = match rows {
        Ok(rows) => rows,
        // The table is made by the plugin `applications`, which may come later.
        Err(database::Error::InvalidStatement(_)) => {
            warn!("there are no applications yet");
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let read = |row: database::Row<'_>| -> database::Result<Escalation> {
        Ok(Escalation {
            number: row.text("number")?.to_owned(),
            status: row.text("status")?.to_owned(),
            waiting_since_ms: row.integer("updated_at_ms")?,
        })
    };
    Ok(rows.iter().map(read).collect::<database::Result<_>>()?)
}

fn escalate(escalation: Escalation) -> Result<(), HookError> {
    audit::write(
        &Entry::new("application.escalated", "application", &escalation.number)
            .summary(format!("it has waited too long in status {}", rules::label(&escalation.status)))
            .attribute("waiting-since-ms", escalation.waiting_since_ms.to_string()),
    )?;
    metrics::counter("escalations_total", 1.0, &[("status", rules::label(&escalation.status))]);
    Ok(())
}

/// Stands for a gateway to mail or text messages: the log line is the sending.
fn send(notification: &Notification) {
    info!("notification sent", number = notification.number, text = notification.text);
    metrics::counter("notifications_sent_total", 1.0, &[("kind", rules::kind(&notification.kind))]);
}

fn parse<T: serde::de::DeserializeOwned>(task: &Task) -> Result<T, HookError> {
    task.payload.parse().map_err(|error| HookError::reject("bad-task", error.to_string()))
}
