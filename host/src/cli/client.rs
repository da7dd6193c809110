//! A small client of the host's HTTP API, for the command line: typed answers, readable errors.

use bytes::Bytes;
use plinth_api::Problem;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, multipart};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

pub(super) use super::answers::*;

/// Loading a large component compiles it; everything else is quick.
const TIMEOUT: Duration = Duration::from_secs(150);
/// A whole log may be long.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// Of an answer that is no problem: as much as helps to see what answered.
const EXCERPT: usize = 200;

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("`{0}` is not an http:// address of a host")]
    BadAddress(String),
    #[error("no answer from {base}; is the host running?")]
    NoAnswer { base: String, source: reqwest::Error },
    /// The host said no, and why.
    #[error("{}", readable(.0))]
    Refused(Box<Problem>),
    #[error("{base} answered {status}, not as a Plinth host does: {excerpt}")]
    NotAHost { base: String, status: StatusCode, excerpt: String },
}

pub(super) type Result<T> = std::result::Result<T, ClientError>;

/// What to install.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub component: Vec<u8>,
    /// plugin.toml
    pub manifest: String,
    /// A JSON object.
    pub config: Option<String>,
    pub approve_grants: bool,
}

/// A host's address and, where it asks for one, a key's token.
#[derive(Debug)]
pub(super) struct Client {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(base: &str, token: Option<String>) -> Result<Self> {
        let bad = || ClientError::BadAddress(base.to_owned());
        let url = Url::parse(base).map_err(|_| bad())?;
        if url.scheme() != "http" || url.cannot_be_a_base() {
            return Err(bad());
        }
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
        let http = http.map_err(|source| ClientError::NoAnswer { base: base.to_owned(), source })?;
        Ok(Self { base: url, token, http })
    }

    pub(super) async fn install(&self, upload: Upload) -> Result<Value> {
        self.answer(self.upload(upload)).await
    }

    pub(super) async fn list(&self) -> Result<Value> {
        self.answer(self.request(Method::GET, &["v1", "plugins"])).await
    }

    pub(super) async fn show(&self, plugin: &str) -> Result<Value> {
        self.answer(self.request(Method::GET, &["v1", "plugins", plugin])).await
    }

    pub(super) async fn roll_back(&self, plugin: &str) -> Result<Value> {
        self.answer(self.request(Method::POST, &["v1", "plugins", plugin, "rollback"])).await
    }

    pub(super) async fn remove(&self, plugin: &str) -> Result<Value> {
        self.answer(self.request(Method::DELETE, &["v1", "plugins", plugin])).await
    }

    /// `conditions` are the query parameters of `GET /v1/audit`.
    pub(super) async fn audit(&self, conditions: &[(&str, String)]) -> Result<Value> {
        self.answer(self.request(Method::GET, &["v1", "audit"]).query(conditions)).await
    }

    /// The lines of `GET /v1/audit/export`, as they come.
    pub(super) async fn audit_export(&self, conditions: &[(&str, String)]) -> Result<Response> {
        let request = self.request(Method::GET, &["v1", "audit", "export"]).query(conditions).timeout(EXPORT_TIMEOUT);
        let response = request.send().await.map_err(|e| self.lost(e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(refusal(self.base.as_str(), status, &response.bytes().await.map_err(|e| self.lost(e))?))
    }

    /// The next part of a streamed answer; nothing at its good end.
    pub(super) async fn chunk(&self, answer: &mut Response) -> Result<Option<Bytes>> {
        answer.chunk().await.map_err(|e| self.lost(e))
    }

    pub(super) async fn audit_trees(&self) -> Result<Value> {
        self.answer(self.request(Method::GET, &["v1", "audit", "log"])).await
    }

    pub(super) async fn fleet(&self) -> Result<Value> {
        self.answer(self.request(Method::GET, &["v1", "fleet"])).await
    }

    /// The newest first.
    pub(super) async fn invocations(&self, plugin: Option<&str>, limit: u32) -> Result<Value> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(plugin.map(|plugin| ("plugin", plugin.to_owned())));
        self.answer(self.request(Method::GET, &["v1", "invocations"]).query(&query)).await
    }

    pub(super) async fn invocation(&self, id: &str) -> Result<Value> {
        self.answer(self.request(Method::GET, &["v1", "invocations", id])).await
    }

    pub(super) async fn queues(&self) -> Result<Value> {
        self.answer(self.request(Method::GET, &["v1", "queues"])).await
    }

    pub(super) async fn queue(&self, queue: &str) -> Result<Value> {
        self.answer(self.request(Method::GET, &["v1", "queues", queue])).await
    }

    /// One page, oldest first; `cursor` is `next` of the page before.
    pub(super) async fn dead_letters(&self, queue: &str, cursor: Option<&str>, limit: usize) -> Result<LetterPage> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        self.answer(self.request(Method::GET, &["v1", "queues", queue, "dead-letters"]).query(&query)).await
    }

    /// `selection` is the body of `POST /v1/queues/{queue}/replay`.
    pub(super) async fn replay(&self, queue: &str, selection: &Value) -> Result<Value> {
        self.answer(self.request(Method::POST, &["v1", "queues", queue, "replay"]).json(selection)).await
    }

    /// `selection` is the body of `DELETE /v1/queues/{queue}/dead-letters`.
    pub(super) async fn purge(&self, queue: &str, selection: &Value) -> Result<Value> {
        self.answer(self.request(Method::DELETE, &["v1", "queues", queue, "dead-letters"]).json(selection)).await
    }

    fn upload(&self, upload: Upload) -> RequestBuilder {
        let Upload { component, manifest, config, approve_grants } = upload;
        let form = multipart::Form::new().part("component", multipart::Part::bytes(component)).text("manifest", manifest);
        let form = match config {
            Some(config) => form.text("config", config),
            None => form,
        };
        let query = [("approve_grants", approve_grants)];
        self.request(Method::POST, &["v1", "plugins"]).query(&query).multipart(form)
    }

    /// Each part of the path is encoded, so that no name can lead to another route.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(super) async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let response = request.send().await.map_err(|e| self.lost(e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.lost(e))?;
        decode(self.base.as_str(), status, &body)
    }

    fn lost(&self, source: reqwest::Error) -> ClientError {
        ClientError::NoAnswer { base: self.base.to_string(), source: source.without_url() }
    }
}

fn decode<T: DeserializeOwned>(base: &str, status: StatusCode, body: &[u8]) -> Result<T> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|_| strange(base, status, body));
    }
    Err(refusal(base, status, body))
}

fn refusal(base: &str, status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice(body) {
        Ok(problem) => ClientError::Refused(Box::new(problem)),
        Err(_) => strange(base, status, body),
    }
}

fn strange(base: &str, status: StatusCode, body: &[u8]) -> ClientError {
    let excerpt = String::from_utf8_lossy(body).chars().take(EXCERPT).collect();
    ClientError::NotAHost { base: base.to_owned(), status, excerpt }
}

/// First the sentence, then each problem on a line, then what to look for in the log.
fn readable(problem: &Problem) -> String {
    let mut text = format!("{}: {}", problem.title, problem.detail);
    if let Some(code) = &problem.guest_code {
        text.push_str(&format!(" [{code}]"));
    }
    for one in &problem.problems {
        text.push_str("\n  - ");
        text.push_str(&one.replace('\n', "\n    "));
    }
    text.push_str(&format!("\n({}, request {})", problem.code, problem.request_id));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_text_for_people() {
        let body = br#"{"type":"urn:plinth:problem:manifest-invalid","title":"The manifest is not valid","status":422,
            "detail":"the manifest has 2 problem(s)","code":"manifest-invalid","request_id":"r-1","problems":["one","two\nlines"]}"#;
        let error = decode::<Change>("http://h/", StatusCode::UNPROCESSABLE_ENTITY, body).unwrap_err();
        let text = "The manifest is not valid: the manifest has 2 problem(s)\n  - one\n  - two\n    lines\n(manifest-invalid, request r-1)";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn what_is_not_a_host_is_said_so() {
        for status in [StatusCode::OK, StatusCode::BAD_GATEWAY] {
            let error = decode::<Change>("http://h/", status, b"<html>").unwrap_err();
            assert!(matches!(error, ClientError::NotAHost { status: s, .. } if s == status));
        }
    }

    #[test]
    fn names_cannot_lead_to_another_route() {
        let client = Client::new("http://127.0.0.1:7300", None).unwrap();
        let request = client.request(Method::DELETE, &["v1", "plugins", "../queues?a#b"]).build().unwrap();
        assert_eq!(request.url().as_str(), "http://127.0.0.1:7300/v1/plugins/..%2Fqueues%3Fa%23b");
        let below = Client::new("http://h/prefix/", None).unwrap().request(Method::GET, &["v1"]).build().unwrap();
        assert_eq!(below.url().path(), "/prefix/v1");
    }

    #[test]
    fn only_http_addresses_are_taken() {
        for bad in ["127.0.0.1:7300", "https://h", "mailto:a@b", ""] {
            assert!(matches!(Client::new(bad, None), Err(ClientError::BadAddress(_))), "{bad}");
        }
    }
}
