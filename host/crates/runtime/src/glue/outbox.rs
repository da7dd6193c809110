//! Glue for `plinth:outbox`: messages and records that ride in a transaction.

use super::database::{OpenTransaction, wit};
use crate::{
    bindings::plinth::{audit::audit_types::Entry, database::sql_types, outbox::outbox, queue::queue_types},
    choke::Operation,
    state::CallState,
};
use wasmtime::component::Resource;

type Answer<T> = wasmtime::Result<std::result::Result<T, sql_types::Error>>;

const PUBLISH: Operation = Operation::new("outbox", "publish");
const AUDIT: Operation = Operation::new("outbox", "audit");

impl outbox::Host for CallState {
    async fn publish(
        &mut self,
        tx: Resource<OpenTransaction>,
        destination: String,
        message: queue_types::Message,
        options: Option<queue_types::PublishOptions>,
    ) -> Answer<String> {
        let prepared = self.destination(&destination).and_then(|to| Ok((to, self.outgoing(message, &options)?)));
        let work = async |tx: &mut OpenTransaction| {
            let (destination, message) = prepared?;
            let id = message.id.clone();
            tx.0.outbox_publish(&destination, message).await.map(|()| id)
        };
        Ok(self.choke_on(PUBLISH, &tx, work).await?.map_err(wit))
    }

    async fn audit(&mut self, tx: Resource<OpenTransaction>, entry: Entry) -> Answer<String> {
        let record = self.audit_record(entry);
        let persons = self.capabilities.persons.clone();
        let work = async |tx: &mut OpenTransaction| {
            // What lies in the outbox lies in the database: it says no more than the log.
            let record = persons.seal(record?).await?;
            let id = record.id.clone();
            tx.0.outbox_audit(record).await.map(|()| id)
        };
        Ok(self.choke_on(AUDIT, &tx, work).await?.map_err(wit))
    }
}
