//! Requests to RabbitMQ's management: one each connection, blocking, so that a `Drop` can send one too.

use anyhow::{Context, Result, bail};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(20);
/// `t:t`, the one user of every test broker.
const CREDENTIALS: &str = "dDp0";

/// Sends a request and answers status and body; `json` may be empty.
pub(crate) fn request(port: u16, method: &str, path: &str, json: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let length = json.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {CREDENTIALS}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{json}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    let status = head.split(' ').nth(1).context("an answer without a status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Sends a request that has to succeed.
pub(crate) fn done(port: u16, method: &str, path: &str, json: &str) -> Result<String> {
    let (status, body) = request(port, method, path, json).with_context(|| format!("{method} {path}"))?;
    if !(200..300).contains(&status) {
        bail!("{method} {path} was answered with {status}: {body}");
    }
    Ok(body)
}

/// [`done`] for async callers.
pub(crate) async fn call(port: u16, method: &'static str, path: String, json: String) -> Result<String> {
    tokio::task::spawn_blocking(move || done(port, method, &path, &json)).await?
}
