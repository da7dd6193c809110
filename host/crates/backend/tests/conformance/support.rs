//! What several fixtures share: records, and files as a killed process leaves them.

use plinth_capability::audit::{AuditEntry, AuditOutcome, AuditRecord, Subject};
use tempfile::TempDir;

/// A record with an id of its own, for tests that do not ask what is in it.
pub(crate) fn audit_record() -> AuditRecord {
    AuditRecord {
        id: uuid::Uuid::now_v7().to_string(),
        recorded_at_ms: 1,
        actor: "system".into(),
        plugin_id: "p".into(),
        plugin_version: "1.0.0".into(),
        plugin_digest: "sha256:00".to_owned(),
        spooled_at_ms: None,
        generation: 7,
        invocation_id: "i".into(),
        entry: AuditEntry {
            action: "a.b".into(),
            subject: Subject { kind: "k".into(), id: "s".into() },
            outcome: AuditOutcome::Success,
            summary: String::new(),
            changes: Vec::new(),
            attributes: Vec::new(),
            personal: None,
            sealed: Vec::new(),
        },
    }
}

/// The files as a killed process leaves them: what it wrote is there, nothing
/// was closed, and its locks are gone.
pub(crate) fn snapshot(of: &TempDir, name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    // The log before the file it is checkpointed into: what moves in between is then in both.
    for suffix in ["-wal", ""] {
        let file = format!("{name}{suffix}");
        if of.path().join(&file).exists() {
            std::fs::copy(of.path().join(&file), copy.path().join(&file)).unwrap();
        }
    }
    copy
}
