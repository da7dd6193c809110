//! Who opens and erases what the audit log says of persons, and what is left of it in the log.

use super::{Host, request};
use crate::{
    auth::digest_of,
    config::{ApiConfig, KeyConfig},
};
use async_trait::async_trait;
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{AuditRecord, Receipt},
    persons::Persons,
};
use serde_json::json;
use std::sync::Mutex;

/// Opens every record but those of an action that says so.
#[derive(Default)]
pub(super) struct PersonsDouble {
    pub erased: Mutex<Vec<(String, AuditRecord)>>,
}

#[async_trait]
impl Persons for PersonsDouble {
    async fn seal(&self, record: AuditRecord) -> Result<AuditRecord> {
        Ok(record)
    }

    async fn open(&self, record: &AuditRecord) -> Result<Vec<(String, String)>> {
        match record.entry.action.as_str() {
            "of.erased" => Err(Error::new(ErrorKind::NotFound, "audit.open", "destroyed")),
            _ => Ok(vec![("phone".to_owned(), "123".to_owned())]),
        }
    }

    async fn erase(&self, person: &str, by: AuditRecord) -> Result<Option<Receipt>> {
        let receipt = Receipt { id: by.id.clone(), sequence: 7, recorded_at_ms: 1 };
        self.erased.lock().unwrap().push((person.to_owned(), by));
        Ok((person != "nobody").then_some(receipt))
    }

    fn pseudonymous(&self, _: &str) -> Option<String> {
        None
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }
}

async fn appended(host: &Host, action: &str) -> String {
    let entry = json!({"action": action, "subject": {"kind": "k", "id": "1"}, "personal": {"person": "p", "fields": {"phone": "123"}}});
    host.post("/v1/audit", entry).await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn opening_is_recorded_before_it_is_answered() {
    let host = Host::new();
    let (id, closed) = (appended(&host, "of.person").await, appended(&host, "of.erased").await);
    let why = json!({"reason": "case 9"});
    let opened = host.post(&format!("/v1/audit/{id}/personal"), why.clone()).await;
    assert_eq!((opened.headers["cache-control"].to_str().unwrap(), opened.json()), ("no-store", json!({"fields": {"phone": "123"}})));
    host.post(&format!("/v1/audit/{closed}/personal"), why.clone()).await.problem(410, "erased");
    host.post("/v1/audit/none/personal", why).await.problem(404, "not-found");
    for reason in ["", &"r".repeat(1_001)] {
        host.post(&format!("/v1/audit/{id}/personal"), json!({"reason": reason})).await.problem(400, "invalid-input");
    }
    let records = host.doubles.audit.records.lock().unwrap().clone();
    let told: Vec<_> = records.iter().filter(|record| record.entry.action == "audit.personal.opened").collect();
    assert_eq!((told.len(), told[0].entry.subject.id.as_str(), told[0].entry.attributes[0].1.as_str()), (1, id.as_str(), "case 9"));
}

#[tokio::test]
async fn an_erasure_names_who_did_it_and_why() {
    let host = Host::new();
    let erased = host.post("/v1/audit/persons/erase", json!({"person": "p", "reason": "asked for it"})).await.json();
    assert_eq!(erased["sequence"], 7);
    let nothing = host.post("/v1/audit/persons/erase", json!({"person": "nobody", "reason": "r"})).await.json();
    assert_eq!(nothing, json!({"id": null, "sequence": null}));
    let calls = host.doubles.persons.erased.lock().unwrap().clone();
    let (person, by) = &calls[0];
    assert_eq!((person.as_str(), by.actor.as_str(), by.entry.attributes[0].1.as_str()), ("p", "anonymous", "asked for it"));
    assert_eq!(by.entry.action, "subject.erased");
}

#[tokio::test]
async fn a_key_needs_the_role() {
    let key = |id: &str, roles: &[&str]| KeyConfig {
        id: id.into(),
        sha256: digest_of(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    let host = Host::with(ApiConfig { keys: vec![key("ops", &["operator"]), key("dpo", &["audit-personal"])], ..ApiConfig::default() });
    for (token, status) in [("ops", 403), ("dpo", 200)] {
        let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
        let body = r#"{"person": "p", "reason": "r"}"#;
        assert_eq!(host.send(request("POST", "/v1/audit/persons/erase", &headers, body)).await.status, status, "{token}");
    }
}
