//! The host's HTTP API as the demo uses it: a typed answer, or a failure in one line.

use super::{applicant::Application, scenario::Verb};
use anyhow::{Context, Result, bail};
use reqwest::{Client, RequestBuilder, StatusCode, multipart::Form};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use std::{path::Path, time::Duration};

/// Longer than any limit of the host, so that a failure is the host's own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);
/// Compiling a component on a busy machine.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);
pub(crate) const POINT: &str = "ticketing.application.status-change";
const CLERK: &str = "demo-clerk";

#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    url: String,
}

/// What a change of a slot answers.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Change {
    pub(crate) version: String,
    pub(crate) digest: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Decision {
    pub(crate) verdict: String,
    pub(crate) answers: Vec<Answer>,
}

/// Who gave a part of a decision.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Answer {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Shown {
    pub(crate) number: String,
    pub(crate) status: String,
    #[serde(skip)]
    pub(crate) from_cache: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Created {
    pub(crate) number: String,
    pub(crate) status: String,
}

#[derive(Deserialize)]
struct Changed {
    to: String,
}

impl Decision {
    /// `abstain` of all is the host's default, which is to go ahead.
    pub(crate) fn allows(&self) -> bool {
        matches!(self.verdict.as_str(), "allow" | "abstain" | "amend")
    }
}

impl Api {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let http = Client::builder().timeout(REQUEST_TIMEOUT).build().context("could not make an HTTP client")?;
        Ok(Self { http, url: url.to_owned() })
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    /// `GET` of anything the host answers with JSON.
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        json_of(self.get(path)).await
    }

    pub(crate) async fn install(&self, component: &Path, manifest: &Path) -> Result<Change> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("could not read {}", path.display()));
        let part = |bytes: Vec<u8>, name: &'static str| reqwest::multipart::Part::bytes(bytes).file_name(name);
        let form =
            Form::new().part("component", part(read(component)?, "plugin.wasm")).part("manifest", part(read(manifest)?, "plugin.toml"));
        json_of(self.post("/v1/plugins?approve_grants=true").timeout(INSTALL_TIMEOUT).multipart(form)).await
    }

    pub(crate) async fn roll_back(&self, plugin: &str) -> Result<Change> {
        json_of(self.post(&format!("/v1/plugins/{plugin}/rollback")).timeout(INSTALL_TIMEOUT)).await
    }

    pub(crate) async fn create(&self, application: &Application) -> Result<Created> {
        json_of(self.post("/x/applications/").json(application)).await
    }

    pub(crate) async fn decide(&self, number: &str, from: &str, verb: Verb, application: &Application) -> Result<Decision> {
        let payload = json!({
            "number": number, "from": from, "to": verb.leads_to(),
            "documents": application.documents.len(), "amount": application.amount,
        });
        let question = json!({ "subject": number, "payload": payload });
        json_of(self.post(&format!("/v1/decisions/{POINT}")).json(&question)).await
    }

    /// Answers the status the application has now.
    pub(crate) async fn change(&self, number: &str, verb: Verb) -> Result<String> {
        let request = self.post(&format!("/x/applications/{number}/{verb}")).json(&json!({ "requested_by": CLERK }));
        json_of::<Changed>(request).await.map(|changed| changed.to)
    }

    pub(crate) async fn show(&self, number: &str) -> Result<Shown> {
        let response = self.get(&format!("/x/applications/{number}")).send().await?;
        let from_cache = response.headers().get("x-cache").is_some_and(|value| value == "hit");
        let (status, bytes) = (response.status(), response.bytes().await?);
        Ok(Shown { from_cache, ..typed(status, &bytes)? })
    }
}

async fn json_of<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    let response = request.send().await?;
    let (status, bytes) = (response.status(), response.bytes().await?);
    typed(status, &bytes)
}

fn typed<T: DeserializeOwned>(status: StatusCode, bytes: &[u8]) -> Result<T> {
    if !status.is_success() {
        let text = String::from_utf8_lossy(bytes);
        bail!("answered {status}: {}", text.chars().take(300).collect::<String>());
    }
    serde_json::from_slice(bytes).with_context(|| format!("answered {status} with an unknown form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_status_says_what_the_host_said() {
        let error = typed::<Shown>(StatusCode::CONFLICT, b"{\"code\":\"transition-not-allowed\"}").unwrap_err();
        assert_eq!(error.to_string(), "answered 409 Conflict: {\"code\":\"transition-not-allowed\"}");
    }

    #[test]
    fn more_fields_than_known_are_fine() {
        let shown: Shown = typed(StatusCode::OK, br#"{"number":"A-2026-000001","status":"draft","version":1}"#).unwrap();
        assert_eq!(shown, Shown { number: "A-2026-000001".into(), status: "draft".into(), from_cache: false });
        assert!(typed::<Shown>(StatusCode::OK, b"{}").is_err());
    }
}
