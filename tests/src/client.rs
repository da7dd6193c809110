//! The HTTP API as tests call it: every answer with status, headers and body, and shortcuts for common calls.

use crate::{Package, eventually};
use reqwest::{Method, RequestBuilder, header::HeaderMap, multipart};
use serde_json::{Value, json};
use std::time::Duration;

/// Loading compiles; everything else is quick.
const TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    token: Option<String>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().expect("a client");
        Self { base: base.to_owned(), http, token: None }
    }

    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap_or_else(|e| panic!("no answer: {e:?}"))
    }

    /// For hosts that may die: an error is no answer.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Asks a plugin for a behaviour over HTTP; the body is handed on.
    pub async fn act(&self, plugin: &str, behaviour: &str, body: &[u8]) -> Answer {
        self.send(self.request(Method::POST, &format!("/x/{plugin}/{behaviour}")).body(body.to_vec())).await
    }

    pub async fn upload(&self, package: &Package, query: &str) -> Answer {
        self.send(self.upload_request(package, query)).await
    }

    pub fn upload_request(&self, package: &Package, query: &str) -> RequestBuilder {
        let component = multipart::Part::bytes(package.component.clone());
        let form = multipart::Form::new().part("component", component).text("manifest", package.manifest.clone());
        let form = match &package.config {
            Some(config) => form.text("config", config.to_string()),
            None => form,
        };
        let approve = package.approve;
        self.request(Method::POST, &format!("/v1/plugins?approve_grants={approve}{query}")).multipart(form)
    }

    pub async fn install(&self, package: &Package) -> Answer {
        self.upload(package, "").await
    }

    /// Installs what has to be installable; the change.
    pub async fn installed(&self, package: &Package) -> Value {
        let answer = self.install(package).await;
        assert!(answer.status == 201 || answer.status == 200, "{} is not installed: {answer}", package.name());
        answer.json()
    }

    pub async fn slot(&self, plugin: &str) -> Value {
        self.get(&format!("/v1/plugins/{plugin}")).await.ok()
    }

    /// Publishes an event about `subject`; the message's id.
    pub async fn event(&self, topic: &str, id: &str, subject: &str, data: &Value) -> String {
        let body = json!({"specversion": "1.0", "id": id, "source": "/tests", "type": topic, "subject": subject, "data": data});
        let request = self.request(Method::POST, "/v1/events").header("content-type", "application/cloudevents+json");
        let answer = self.send(request.body(body.to_string())).await;
        assert_eq!(answer.status, 202, "{answer}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// The first dead letter of a queue with this id, as soon as there is one.
    pub async fn dead_letter(&self, queue: &str, id: &str) -> Value {
        let path = format!("/v1/queues/{}/dead-letters?limit=1000", queue.replace('/', "%2F"));
        eventually(&format!("dead letter {id} in {queue}"), async || {
            let page: Value = self.get(&path).await.ok();
            page["dead_letters"].as_array()?.iter().find(|letter| letter["message_id"] == id).cloned()
        })
        .await
    }

    /// The sum of a metric's series that have all these labels.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let answer = self.get(&format!("/v1/metrics?limit=10000&prefix={name}")).await.ok();
        let series = answer["series"].as_array().expect("series").iter();
        let wanted = series.filter(|one| one["name"] == name && labels.iter().all(|(label, value)| one["labels"][*label] == **value));
        wanted.map(|one| one["value"].as_f64().expect("a number")).sum()
    }

    /// Every audit record that meets the conditions, page by page.
    pub async fn audit(&self, conditions: &str) -> Vec<Value> {
        let (mut records, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/audit?limit=1000&{conditions}{cursor}")).await.ok();
            records.extend(page["records"].as_array().expect("records").iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return records,
            }
        }
    }

    pub async fn assert_alive(&self) {
        assert_eq!(self.get("/healthz").await.status, 200, "the host is not alive");
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self}"))
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self}");
        self.json()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The code of a problem; empty for a success.
    pub fn code(&self) -> String {
        if self.status < 400 {
            return String::new();
        }
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Detail and every single problem of a problem, as one text.
    pub fn why(&self) -> String {
        let body = self.json();
        let single = body["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
        std::iter::once(body["detail"].as_str().unwrap_or_default()).chain(single).collect::<Vec<_>>().join("\n")
    }

    /// Checks that a refusal is a problem of RFC 9457 with this status and code.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self}");
        let body = self.json();
        assert_eq!(body["type"], format!("urn:plinth:problem:{code}"), "{self}");
        assert_eq!(body["status"], status, "{self}");
        for member in ["title", "detail", "request_id"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {self}");
        }
        assert_eq!(body["request_id"], self.header("x-request-id"), "{self}");
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.text().chars().take(2_000).collect();
        write!(f, "{} {text}", self.status)
    }
}
