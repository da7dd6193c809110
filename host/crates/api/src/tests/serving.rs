//! Serving over real connections: both protocols' front door, slow clients, and the way to stop.

use crate::{
    config::ApiConfig,
    serve::{Drained, serve},
};
use axum::{Router, routing::get};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    /// Notified when a request has reached the handler of `/slow`.
    reached: Arc<Notify>,
    /// Lets `/slow` answer.
    go: Arc<Notify>,
    ended: tokio::task::JoinHandle<std::io::Result<Drained>>,
}

async fn start(config: ApiConfig) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, reached, go) = (CancellationToken::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (r, g) = (Arc::clone(&reached), Arc::clone(&go));
    let slow = async move || {
        r.notify_one();
        g.notified().await;
        "slow"
    };
    let refuse = async || (http::StatusCode::PAYLOAD_TOO_LARGE, "too large");
    let router = Router::new().route("/", get(async || "quick").post(refuse)).route("/slow", get(slow));
    let ended = TaskTracker::new().spawn(serve(listener, router, stop.clone(), config));
    Server { address, stop, reached, go, ended }
}

async fn ask(address: std::net::SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => text.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_connection_serves_many_requests_in_both_protocols() {
    let server = start(ApiConfig::default()).await;
    let mut stream = ask(server.address, "/").await;
    assert!(until(&mut stream, "quick").await.starts_with("HTTP/1.1 200"));
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(until(&mut stream, "quick").await.starts_with("HTTP/1.1 200"));
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    second.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the first frame of HTTP/2 is SETTINGS");
}

#[tokio::test]
async fn stopping_finishes_what_is_in_flight_and_takes_no_more() {
    let server = start(ApiConfig::default()).await;
    let mut idle = ask(server.address, "/").await;
    until(&mut idle, "quick").await;
    let mut stream = ask(server.address, "/slow").await;
    server.reached.notified().await;
    server.stop.cancel();
    assert_eq!(until(&mut idle, "never").await, "", "an idle connection is closed");
    assert!(TcpStream::connect(server.address).await.is_err(), "a stopping server still accepts");
    server.go.notify_one();
    assert!(until(&mut stream, "slow").await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.ended.await.unwrap().unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_at_the_deadline() {
    let server = start(ApiConfig { drain_ms: 50, ..ApiConfig::default() }).await;
    let mut stream = ask(server.address, "/slow").await;
    server.reached.notified().await;
    server.stop.cancel();
    assert_eq!(server.ended.await.unwrap().unwrap(), Drained { cut: 1 });
    assert_eq!(until(&mut stream, "slow").await, "");
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_disconnected() {
    let server = start(ApiConfig { header_timeout_ms: 50, ..ApiConfig::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(10), until(&mut stream, "never")).await;
    assert!(answer.is_ok(), "the connection is still open");
}

/// A client that writes its whole body before it reads; the answer.
async fn post(address: std::net::SocketAddr, bytes: usize) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {bytes}\r\n\r\n").as_bytes()).await?;
    let chunk = vec![b'x'; 64 << 10];
    for _ in 0..bytes / chunk.len() {
        stream.write_all(&chunk).await?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_refusal_arrives_though_the_body_is_not_read() {
    const LIMIT: usize = 8 << 20;
    let server = start(ApiConfig { component_bytes: LIMIT, ..ApiConfig::default() }).await;
    // The largest are more than the sockets of both sides hold.
    for bytes in [64 << 10, 1 << 20, LIMIT, 3 * LIMIT] {
        let answer = post(server.address, bytes).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("too large"), "{bytes} bytes: {answer}");
        assert!(answer.contains("connection: close"), "the connection is of no more use: {answer}");
    }
}

#[tokio::test]
async fn a_refused_body_without_end_is_cut_off() {
    let server = start(ApiConfig { body_bytes: 64 << 10, component_bytes: 64 << 10, ..ApiConfig::default() }).await;
    let cut = tokio::time::timeout(Duration::from_secs(20), post(server.address, 1 << 40)).await;
    assert!(cut.unwrap().is_err(), "a terabyte was taken");
}
