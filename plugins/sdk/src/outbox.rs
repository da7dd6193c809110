//! Messages and audit entries that become visible exactly when a database
//! transaction commits, and never if it does not.

use crate::{
    audit::Entry,
    bindings::plinth::outbox::{outbox, personal_outbox},
    database::{Result, Transaction},
    queue::{Message, PublishOptions},
};

/// Publishes with the commit; answers the message id.
pub fn publish(transaction: &Transaction, destination: &str, message: &Message, options: Option<&PublishOptions>) -> Result<String> {
    outbox::publish(transaction.raw(), destination, message, options)
}

/// Appends to the audit log with the commit; answers the id of the entry.
pub fn audit(transaction: &Transaction, entry: &Entry) -> Result<String> {
    outbox::audit(transaction.raw(), entry)
}

/// As [`audit`], of one person: see [`crate::audit::write_personal`].
pub fn audit_personal(transaction: &Transaction, entry: &Entry, person: &str, fields: &[(String, String)]) -> Result<String> {
    personal_outbox::audit_personal(transaction.raw(), entry, person, fields)
}
