//! Glue for `plinth:secrets`: keys by granted name, and the rare `reveal`, which is audited.

use super::wit_error;
use crate::{
    bindings::plinth::secrets::{keys, reveal, secret_types},
    choke::Operation,
    state::CallState,
};
use plinth_capability::{
    Error, Result,
    audit::{AuditEntry, AuditOutcome, AuditRecord, Subject},
};

type Answer<T> = wasmtime::Result<std::result::Result<T, secret_types::Error>>;

const SIGN: Operation = Operation::new("secrets", "sign");
const SEAL: Operation = Operation::new("secrets", "seal");
const REVEAL: Operation = Operation::new("secrets", "reveal");

fn wit(error: Error) -> secret_types::Error {
    wit_error!(crate::bindings::plinth::secrets::secret_types, error;
        Kind::NotFound => |e: &Error| types::Error::NoSuchSecret(e.message().to_owned()),
        Kind::Unverified => |_: &Error| types::Error::VerificationFailed,
    )
}

impl secret_types::Host for CallState {}

impl keys::Host for CallState {
    async fn sign(&mut self, key: String, data: Vec<u8>) -> Answer<Vec<u8>> {
        let (granted, secrets) = (self.version.grants.key(&key), self.capabilities.secrets.clone());
        let work = async move { granted.map(|()| secrets.sign(&key, &data))?.await };
        Ok(self.choke(SIGN, work).await?.map_err(wit))
    }

    async fn verify(&mut self, key: String, data: Vec<u8>, signature: Vec<u8>) -> Answer<()> {
        let (granted, secrets) = (self.version.grants.key(&key), self.capabilities.secrets.clone());
        let work = async move { granted.map(|()| secrets.verify(&key, &data, &signature))?.await };
        Ok(self.choke(SIGN, work).await?.map_err(wit))
    }

    async fn seal(&mut self, key: String, plaintext: Vec<u8>, associated_data: Vec<u8>) -> Answer<Vec<u8>> {
        let (granted, secrets) = (self.version.grants.key(&key), self.capabilities.secrets.clone());
        let work = async move { granted.map(|()| secrets.seal(&key, &plaintext, &associated_data))?.await };
        Ok(self.choke(SEAL, work).await?.map_err(wit))
    }

    async fn unseal(&mut self, key: String, sealed: Vec<u8>, associated_data: Vec<u8>) -> Answer<Vec<u8>> {
        let (granted, secrets) = (self.version.grants.key(&key), self.capabilities.secrets.clone());
        let work = async move { granted.map(|()| secrets.unseal(&key, &sealed, &associated_data))?.await };
        Ok(self.choke(SEAL, work).await?.map_err(wit))
    }
}

impl CallState {
    fn reveal_record(&self, name: &str, outcome: AuditOutcome) -> AuditRecord {
        let info = &self.version.info;
        AuditRecord {
            id: uuid::Uuid::now_v7().to_string(),
            recorded_at_ms: plinth_capability::now_ms(),
            actor: format!("plugin:{}", info.plugin),
            plugin_id: info.plugin.to_string(),
            plugin_version: info.version.clone(),
            plugin_digest: info.digest.clone(),
            spooled_at_ms: None,
            generation: self.cause.generation,
            invocation_id: self.invocation_id.clone(),
            entry: AuditEntry {
                action: "host.secret.reveal".to_owned(),
                subject: Subject { kind: "secret".to_owned(), id: name.to_owned() },
                outcome,
                summary: format!("{} {} read the secret {name}", info.plugin, info.version),
                changes: Vec::new(),
                attributes: Vec::new(),
                personal: None,
                sealed: Vec::new(),
            },
        }
    }
}

impl reveal::Host for CallState {
    async fn reveal(&mut self, name: String) -> Answer<Vec<u8>> {
        let granted = self.version.grants.secret(&name);
        let outcome = match &granted {
            Ok(()) => AuditOutcome::Success,
            Err(why) => AuditOutcome::Denied { reason: why.message().to_owned() },
        };
        let shown: String = name.chars().take(80).collect();
        let record = self.reveal_record(&shown, outcome);
        let (secrets, audit) = (self.capabilities.secrets.clone(), self.capabilities.audit.clone());
        let work = async move {
            // Recorded first: what cannot be recorded is not revealed.
            audit.append(vec![record]).await?;
            granted?;
            let secret: Result<Vec<u8>> = secrets.reveal(&name).await;
            secret
        };
        Ok(self.choke(REVEAL, work).await?.map_err(wit))
    }
}
