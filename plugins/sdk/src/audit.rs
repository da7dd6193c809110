//! What happened, for good. Who, when and which plugin version is added by the
//! host and cannot be set here.

pub use crate::bindings::plinth::audit::audit_types::{
    Change, Entry, EntryPage, Error, Failure, Filter, Outcome, Receipt, StoredEntry, Subject,
};
use crate::bindings::plinth::audit::{personal_writer, reader, writer};

/// The result of an audit call.
pub type Result<T> = std::result::Result<T, Error>;

impl Entry {
    /// A success of `action` (dotted words) on a subject.
    pub fn new(action: impl Into<String>, kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            subject: Subject { kind: kind.into(), id: id.into() },
            outcome: Outcome::Success,
            summary: String::new(),
            changes: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// One sentence for a human reader.
    #[must_use]
    pub fn summary(mut self, text: impl Into<String>) -> Self {
        self.summary = text.into();
        self
    }

    /// How it ended, if not as a success.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// One field that changed.
    #[must_use]
    pub fn change(mut self, field: impl Into<String>, before: Option<&str>, after: Option<&str>) -> Self {
        self.changes.push(Change { field: field.into(), before: before.map(Into::into), after: after.map(Into::into) });
        self
    }

    /// One more fact.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }
}

#[expect(clippy::derivable_impls, reason = "the type is generated; its derives are not ours")]
impl Default for Filter {
    fn default() -> Self {
        Self {
            subject: None,
            action_prefix: None,
            from_ms: None,
            until_ms: None,
            actor: None,
            plugin_id: None,
            outcome: None,
            extensions: Vec::new(),
        }
    }
}

/// Appends one record; `Ok` means durably stored.
pub fn write(entry: &Entry) -> Result<Receipt> {
    writer::write(entry)
}

/// Appends all records or none.
pub fn write_many(entries: &[Entry]) -> Result<Vec<Receipt>> {
    writer::write_many(entries)
}

/// Appends a record that says something of one person, in fields that can be closed for good. `person` is her id, which is
/// not stored; the entry itself must not name her.
pub fn write_personal(entry: &Entry, person: &str, fields: &[(String, String)]) -> Result<Receipt> {
    personal_writer::write_personal(entry, person, fields)
}

/// A page of matching records, oldest first.
pub fn find(filter: &Filter, cursor: Option<&str>, limit: u32) -> Result<EntryPage> {
    reader::find(filter, cursor, limit)
}
