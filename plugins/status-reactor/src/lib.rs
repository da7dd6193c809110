//! Reference plugin `status-reactor`: what follows a change of status.

pub mod rules;

use plinth_sdk::{
    audit::Entry,
    cache::Bucket,
    queue::{Message, PublishOptions},
    *,
};
use rules::StatusChange;
use std::time::Duration;

/// Longer than any redelivery of one event takes.
const SEEN_FOR: Duration = Duration::from_secs(24 * 3600);

struct StatusReactor;

impl EventListener for StatusReactor {
    /// Every step but the last two is harmless to repeat; the mark at the end
    /// keeps a redelivered event from being audited and counted twice.
    fn on_event(event: Event) -> Result<(), HookError> {
        let change: StatusChange = event.payload.parse().map_err(|error| HookError::reject("bad-event", error.to_string()))?;
        Bucket::open("applications")?.invalidate(&[&rules::tag(&change.number)])?;
        let seen = Bucket::open("seen")?;
        if seen.exists(&event.id)? {
            return Ok(());
        }
        notify(&event.id, &change)?;
        audit::write(
            &Entry::new("application.notified", "application", &change.number)
                .summary("the applicant's notification was queued")
                .attribute("event-id", &event.id),
        )?;
        metrics::counter("status_changes_total", 1.0, &[("from", rules::label(&change.from)), ("to", rules::label(&change.to))]);
        seen.set(&event.id, b"", Some(SEEN_FOR))?;
        Ok(())
    }
}

plugin!(StatusReactor: event_listener);

/// Under an id made from the event's, so that the queue drops a repeat.
fn notify(event_id: &str, change: &StatusChange) -> Result<(), HookError> {
    let options = PublishOptions::id(rules::notification_id(event_id)).about(&change.number);
    queue::publish_with("notifications", &Message::json(&rules::notification(change))?, &options)?;
    Ok(())
}
