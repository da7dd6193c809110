//! The suite of the http capability: one case per bullet of its contract.
#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use crate::{
    Error, ErrorKind, Result,
    http::{BODY_MAX, Http, Outgoing},
};
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A client under test.
pub struct Subject {
    pub http: Arc<dyn Http>,
}

/// Runs every case over `$make`, an async expression that yields a fresh [`Subject`].
#[macro_export]
macro_rules! http_suite {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::http, $make;
            answers_are_as_they_came,
            redirects_are_answers,
            a_host_has_one_spelling,
            private_addresses_are_denied,
            large_bodies_are_refused,
            nobody_listening_is_unavailable,
            a_silent_server_is_unknown,
        }
    };
}

/// A server on the loopback that gives each connection the same answer, and counts them.
pub struct Server {
    pub port: u16,
    connections: Arc<AtomicU64>,
    /// Ends with it.
    _task: JoinSet<()>,
}

/// The request as text, up to the end of its body.
async fn request(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if stream.read_buf(&mut seen).await.expect("a request") == 0 {
            return text;
        }
    }
}

impl Server {
    /// Answers `head` and then a body that says what came; without a head it never answers.
    pub async fn start(head: Option<&'static str>, fill: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicU64::new(0));
        let count = connections.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                let came = request(&mut stream).await;
                let Some(head) = head else {
                    // Until the client gives up.
                    let _gone = stream.read(&mut [0]).await;
                    continue;
                };
                let body = format!("{came}{}", " ".repeat(fill));
                let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                let _gone = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { port, connections, _task: task }
    }

    /// How many came.
    pub fn connections(&self) -> u64 {
        self.connections.load(SeqCst)
    }
}

impl Subject {
    async fn send(&self, method: &str, url: &str, private: bool, within: Duration) -> Result<http::Response<Bytes>> {
        let request = http::Request::builder().method(method).uri(url).header("x-said", "by the guest");
        let request = request.body(Bytes::from_static(b"and a body")).map_err(|_| Error::new(ErrorKind::InvalidInput, "test", url))?;
        self.http.send(Outgoing { request, private, head_within: within, within: Duration::from_secs(20) }).await
    }

    async fn get(&self, url: &str, private: bool) -> Result<http::Response<Bytes>> {
        self.send("GET", url, private, Duration::from_secs(20)).await
    }
}

pub async fn answers_are_as_they_came(subject: Subject) {
    let server = Server::start(Some("404 Not Found\r\nx-told: by the server\r\nset-cookie: a=1\r\nset-cookie: b=2"), 0).await;
    let url = format!("http://127.0.0.1:{}/a%20path?q=1", server.port);
    let answer = subject.send("PATCH", &url, true, Duration::from_secs(20)).await.expect("an answer");
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.headers().get("x-told").expect("the header"), "by the server");
    assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 2);
    let came = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(came.starts_with("PATCH /a%20path?q=1 HTTP/1.1\r\n"), "{came}");
    assert!(came.contains("x-said: by the guest\r\n") && came.ends_with("and a body"), "{came}");
    assert!(came.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{came}");
}

pub async fn redirects_are_answers(subject: Subject) {
    let server = Server::start(Some("302 Found\r\nlocation: /elsewhere"), 0).await;
    let answer = subject.get(&format!("http://127.0.0.1:{}/", server.port), true).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), server.connections()), (302, 1));
}

pub async fn a_host_has_one_spelling(subject: Subject) {
    let server = Server::start(Some("200 OK"), 0).await;
    for host in ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[0:0:0:0:0:ffff:7f00:1]"] {
        let refused = subject.get(&format!("http://{host}:{}/", server.port), true).await.expect_err("is refused");
        assert_eq!(refused.kind(), ErrorKind::Denied, "{host}: {refused}");
    }
    assert_eq!(server.connections(), 0, "nobody came");
    subject.get(&format!("http://LocalHost:{}/", server.port), true).await.expect("small and large letters are the same");
}

pub async fn private_addresses_are_denied(subject: Subject) {
    let server = Server::start(Some("200 OK"), 0).await;
    for host in ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:7f00:1]", "0.0.0.0", "10.0.0.1", "169.254.169.254"] {
        let refused = subject.get(&format!("http://{host}:{}/", server.port), false).await.expect_err("is refused");
        assert_eq!(refused.kind(), ErrorKind::Denied, "{host}: {refused}");
    }
    assert_eq!(server.connections(), 0, "nobody came");
    // Nor by a connection that somebody else may use and left open.
    subject.get(&format!("http://localhost:{}/", server.port), true).await.expect("granted");
    let refused = subject.get(&format!("http://localhost:{}/", server.port), false).await.expect_err("is refused");
    assert_eq!((refused.kind(), server.connections()), (ErrorKind::Denied, 1));
}

pub async fn large_bodies_are_refused(subject: Subject) {
    let server = Server::start(Some("200 OK"), BODY_MAX).await;
    let refused = subject.get(&format!("http://127.0.0.1:{}/", server.port), true).await.expect_err("is refused");
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded, "{refused}");
}

pub async fn nobody_listening_is_unavailable(subject: Subject) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    for url in [format!("http://127.0.0.1:{port}/"), "http://nobody.invalid/".to_owned()] {
        let refused = subject.get(&url, true).await.expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{url}: {refused}");
    }
}

pub async fn a_silent_server_is_unknown(subject: Subject) {
    let server = Server::start(None, 0).await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    for (method, kind) in [("GET", ErrorKind::Timeout), ("POST", ErrorKind::OutcomeUnknown)] {
        let refused = subject.send(method, &url, true, Duration::from_millis(200)).await.expect_err("no answer");
        assert_eq!(refused.kind(), kind, "{method}: {refused}");
    }
}
