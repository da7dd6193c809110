//! What is overdue, and how its tasks are named.

use serde::{Deserialize, Serialize};

/// Two days, unless configured.
pub const OVERDUE_AFTER_MS: i64 = 172_800_000;
/// Applications one run escalates at most.
pub const BATCH: i64 = 500;

const DAY_MS: i64 = 86_400_000;

/// The payload of a task on `escalations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    pub number: String,
    pub status: String,
    pub waiting_since_ms: i64,
}

/// The payload of a task on `notifications`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Notification {
    pub kind: String,
    pub number: String,
    pub text: String,
}

/// One per application and UTC day.
pub fn message_id(number: &str, now_ms: i64) -> String {
    format!("overdue:{number}:{}", now_ms.div_euclid(DAY_MS))
}

/// The label of a status: one of those that can be overdue, or `other`.
pub fn label(status: &str) -> &'static str {
    ["submitted", "in-review"].into_iter().find(|known| *known == status).unwrap_or("other")
}

/// The label of a kind of notification.
pub fn kind(kind: &str) -> &'static str {
    if kind == "status-changed" { "status-changed" } else { "other" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_on_the_same_day_has_the_same_id() {
        let noon = 20_000 * DAY_MS + DAY_MS / 2;
        assert_eq!(message_id("A-2026-000001", noon), message_id("A-2026-000001", noon + 60_000));
        assert_ne!(message_id("A-2026-000001", noon), message_id("A-2026-000001", noon + DAY_MS));
        assert_ne!(message_id("A-2026-000001", noon), message_id("A-2026-000002", noon));
    }

    #[test]
    fn labels_are_closed_sets() {
        assert_eq!((label("in-review"), label("approved")), ("in-review", "other"));
        assert_eq!((kind("status-changed"), kind("spam")), ("status-changed", "other"));
    }

    #[test]
    fn tasks_round_trip_and_tolerate_new_fields() {
        let task = Escalation { number: "A".into(), status: "submitted".into(), waiting_since_ms: 5 };
        let json = serde_json::to_string(&task).unwrap();
        assert_eq!(serde_json::from_str::<Escalation>(&json).unwrap(), task);
        let sent = r#"{"kind":"status-changed","number":"A","text":"t","at":"now","new":1}"#;
        assert_eq!(serde_json::from_str::<Notification>(sent).unwrap().kind, "status-changed");
    }
}
