//! The client for outgoing requests against the suite.

use plinth_backend::http::HttpClient;
use plinth_capability::conformance::http::Subject;
use std::sync::Arc;

async fn subject() -> Subject {
    Subject { http: Arc::new(HttpClient::new().unwrap()) }
}

plinth_capability::http_suite!(subject());
