//! What an event says, and the notification it leads to.

use serde::{Deserialize, Serialize};

/// The payload of `ticketing.application.status-changed`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StatusChange {
    pub number: String,
    pub from: String,
    pub to: String,
    pub by: String,
    pub at: String,
}

/// The payload of a message on `notifications`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    pub kind: &'static str,
    pub number: String,
    pub text: String,
    pub at: String,
}

/// The tag on every cached view of an application.
pub fn tag(number: &str) -> String {
    format!("application:{number}")
}

/// At most the 128 bytes a message id may have.
pub fn notification_id(event_id: &str) -> String {
    format!("notify:{event_id}").chars().take(128).collect()
}

pub fn notification(change: &StatusChange) -> Notification {
    let text = format!("Application {} is now {}.", change.number, label(&change.to));
    Notification { kind: "status-changed", number: change.number.clone(), text, at: change.at.clone() }
}

/// The label of a status: one of the known ones or `other`, so that what a
/// sender writes never becomes an endless set of series.
pub fn label(status: &str) -> &'static str {
    const KNOWN: [&str; 6] = ["draft", "submitted", "in-review", "approved", "rejected", "withdrawn"];
    KNOWN.into_iter().find(|known| *known == status).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(to: &str) -> StatusChange {
        StatusChange { number: "A-2026-000001".into(), from: "in-review".into(), to: to.into(), by: "user:1".into(), at: "now".into() }
    }

    #[test]
    fn the_notification_names_application_and_status() {
        assert_eq!(notification(&change("approved")).text, "Application A-2026-000001 is now approved.");
        assert_eq!(notification(&change("<script>")).text, "Application A-2026-000001 is now other.");
    }

    #[test]
    fn one_event_has_one_notification_id() {
        assert_eq!(notification_id("e1"), notification_id("e1"));
        assert_ne!(notification_id("e1"), notification_id("e2"));
        assert_eq!(notification_id(&"x".repeat(500)).len(), 128);
    }

    #[test]
    fn labels_are_a_closed_set() {
        assert_eq!((label("approved"), label("Approved"), label("")), ("approved", "other", "other"));
    }
}
