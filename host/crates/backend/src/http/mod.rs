//! The http capability over reqwest: no redirects, no proxies, and every address is looked at before it is connected to.

mod resolve;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use plinth_capability::{
    Error, ErrorKind, Result,
    http::{BODY_MAX, HEADERS_MAX, Http, Outgoing, is_public},
};
use reqwest::{Client, Url, redirect::Policy};
use resolve::{Prohibited, Public};
use std::{net::IpAddr, sync::Arc, time::Duration};

const OPERATION: &str = "http.send";
const CONNECT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);
/// Connections kept open to one server while nobody uses them.
const IDLE_MOST: usize = 16;

/// Connections are kept, those to addresses that are not public apart from the
/// others: who may not reach such an address does not find one open either.
pub struct HttpClient {
    public: Client,
    private: Client,
}

impl HttpClient {
    pub fn new() -> Result<Self> {
        let failed = |e: reqwest::Error| {
            Error::new(ErrorKind::Failed, "http.open", "the client for outgoing requests cannot be made").with_source(e)
        };
        let public = builder().dns_resolver(Arc::new(Public)).build().map_err(failed)?;
        Ok(Self { public, private: builder().build().map_err(failed)? })
    }
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_MOST)
        .http2_max_header_list_size(u32::try_from(HEADERS_MAX).unwrap_or(u32::MAX))
}

#[async_trait]
impl Http for HttpClient {
    async fn send(&self, outgoing: Outgoing) -> Result<http::Response<Bytes>> {
        let Outgoing { request, private, head_within, within } = outgoing;
        let safe = request.method().is_safe();
        let (mut parts, body) = request.into_parts();
        let text = parts.uri.to_string();
        let url: Url = text.parse().map_err(|_| Error::new(ErrorKind::InvalidInput, OPERATION, "the URL cannot be read"))?;
        // `http://2130706433/` would go to 127.0.0.1, which is not what was looked up among the grants.
        if !parts.uri.host().is_some_and(|host| url.host_str().is_some_and(|found| found.eq_ignore_ascii_case(host))) {
            return Err(Error::new(ErrorKind::Denied, OPERATION, "the host is written in a way that stands for another"));
        }
        if !private {
            check(&url)?;
        }
        // The client sets it from the URL.
        parts.headers.remove(http::header::HOST);
        let client = if private { &self.private } else { &self.public };
        let sending = client.request(parts.method, url).headers(parts.headers).body(body).timeout(within).send();
        let answer = tokio::time::timeout(head_within, sending).await.map_err(|_| late(safe))?.map_err(|e| told(e, safe))?;
        read(answer, safe).await
    }
}

/// An address in a URL is not resolved, so it is looked at here.
fn check(url: &Url) -> Result<()> {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match address {
        Some(address) if !is_public(address) => Err(Prohibited(address).into()),
        _ => Ok(()),
    }
}

async fn read(mut answer: reqwest::Response, safe: bool) -> Result<http::Response<Bytes>> {
    let large =
        |what: &str, most: usize| Error::new(ErrorKind::LimitExceeded, OPERATION, format!("{what} of the answer are over {most} bytes"));
    let headers: usize = answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > HEADERS_MAX {
        return Err(large("the headers", HEADERS_MAX));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| told(e, safe))? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(large("the contents", BODY_MAX));
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = http::Response::new(body.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    // What held for the transfer does not hold for the whole.
    response.headers_mut().remove(http::header::TRANSFER_ENCODING);
    Ok(response)
}

fn late(safe: bool) -> Error {
    let (kind, why) = match safe {
        true => (ErrorKind::Timeout, "the server did not answer in time"),
        false => (ErrorKind::OutcomeUnknown, "the server did not answer in time; it may have done what was asked"),
    };
    Error::new(kind, OPERATION, why)
}

/// URLs may carry secrets: what is told and logged names none.
fn told(error: reqwest::Error, safe: bool) -> Error {
    let error = error.without_url();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(inner) = cause {
        if let Some(Prohibited(address)) = inner.downcast_ref() {
            return Prohibited(*address).into();
        }
        cause = inner.source();
    }
    let (kind, why) = if error.is_builder() {
        (ErrorKind::InvalidInput, "such a request cannot be sent")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "the server cannot be reached")
    } else if error.is_timeout() {
        return late(safe).with_source(error);
    } else if safe {
        (ErrorKind::Unavailable, "the server broke the connection off")
    } else {
        (ErrorKind::OutcomeUnknown, "the server broke the connection off; it may have done what was asked")
    };
    Error::new(kind, OPERATION, why).with_source(error)
}
