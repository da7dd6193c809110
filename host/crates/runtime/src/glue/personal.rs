//! Glue for `personal-writer` and `personal-outbox`: records that say something of one person, sealed before anything keeps them.

use super::{audit, database};
use crate::{
    bindings::plinth::{
        audit::{audit_types, audit_types::Entry, audit_types::Receipt as WitReceipt, personal_writer},
        database::sql_types,
        outbox::personal_outbox,
    },
    choke::Operation,
    state::CallState,
};
use plinth_capability::{Error, ErrorKind, Result, audit::AuditRecord, persons::Personal};
use wasmtime::component::Resource;

const WRITE: Operation = Operation::new("audit", "write-personal");
const OUTBOX: Operation = Operation::new("outbox", "audit-personal");

impl CallState {
    /// As any record, and what it says of the person.
    fn personal_record(&self, entry: Entry, person: String, fields: Vec<(String, String)>) -> Result<AuditRecord> {
        let mut record = self.audit_record(entry)?;
        record.entry.personal = Some(Personal { person, fields });
        Ok(record)
    }
}

impl personal_writer::Host for CallState {
    async fn write_personal(
        &mut self,
        entry: Entry,
        person: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<std::result::Result<WitReceipt, audit_types::Error>> {
        let record = self.personal_record(entry, person, fields);
        let log = self.capabilities.audit.clone();
        let work = async move {
            let none = || Error::new(ErrorKind::Internal, "audit.write", "the log answered without a receipt");
            log.append(vec![record?]).await?.pop().ok_or_else(none)
        };
        Ok(self.choke(WRITE, work).await?.map(audit::receipt_out).map_err(audit::wit))
    }
}

impl personal_outbox::Host for CallState {
    async fn audit_personal(
        &mut self,
        tx: Resource<database::OpenTransaction>,
        entry: Entry,
        person: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<std::result::Result<String, sql_types::Error>> {
        let record = self.personal_record(entry, person, fields);
        let persons = self.capabilities.persons.clone();
        let work = async |tx: &mut database::OpenTransaction| {
            let record = persons.seal(record?).await?;
            let id = record.id.clone();
            tx.0.outbox_audit(record).await.map(|()| id)
        };
        Ok(self.choke_on(OUTBOX, &tx, work).await?.map_err(database::wit))
    }
}
