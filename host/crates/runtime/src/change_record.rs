//! Who changed which plugin, with which result: every attempt is an audit record.

use crate::{LoadError, view::Change};
use plinth_capability::audit::{AuditEntry, AuditLog, AuditOutcome, AuditRecord, Subject};

/// What a successful change is remembered by.
pub(crate) trait Facts {
    fn facts(&self) -> Vec<(String, String)>;
}

impl Facts for Change {
    fn facts(&self) -> Vec<(String, String)> {
        let facts = [
            ("version", Some(self.version.clone())),
            ("digest", Some(self.digest.clone())),
            ("generation", Some(self.generation.to_string())),
            ("replaced", self.replaced.clone()),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// The generation of a removal.
impl Facts for u64 {
    fn facts(&self) -> Vec<(String, String)> {
        vec![("generation".to_owned(), self.to_string())]
    }
}

/// After the fact: a change that has happened is not undone because the log
/// cannot take it, but then somebody must know.
pub(crate) async fn append<T: Facts + Sync>(
    audit: &dyn AuditLog,
    actor: &str,
    action: &str,
    plugin: String,
    result: &Result<T, LoadError>,
) {
    let (outcome, attributes) = match result {
        Ok(done) => (AuditOutcome::Success, done.facts()),
        Err(error @ LoadError::Grants(_)) => (AuditOutcome::Denied { reason: reason(error) }, Vec::new()),
        Err(error) => (AuditOutcome::Failed { reason: reason(error) }, Vec::new()),
    };
    let record = AuditRecord {
        id: uuid::Uuid::now_v7().to_string(),
        recorded_at_ms: plinth_capability::now_ms(),
        actor: actor.to_owned(),
        plugin_id: "host".to_owned(),
        plugin_version: String::new(),
        plugin_digest: String::new(),
        spooled_at_ms: None,
        generation: 0,
        invocation_id: String::new(),
        entry: AuditEntry {
            action: action.to_owned(),
            subject: Subject { kind: "plugin".to_owned(), id: plugin.clone() },
            outcome,
            summary: format!("{action} of {plugin}"),
            changes: Vec::new(),
            attributes,
            personal: None,
            sealed: Vec::new(),
        },
    };
    if let Err(error) = audit.append(vec![record]).await {
        tracing::error!(plugin, action, %error, "a change of a plugin could not be recorded");
    }
}

/// The code and the problems, short enough for a record.
fn reason(error: &LoadError) -> String {
    let problems = error.problems().join("; ");
    let text = format!("{}: {problems}", error.code());
    text.chars().take(2_000).collect()
}
