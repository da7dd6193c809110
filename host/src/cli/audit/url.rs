//! A log that is fetched over HTTP, file by file.

use plinth_audit::{
    tile::BUNDLE_BYTES_MAX,
    verify::{FetchError, Source},
};
use reqwest::{StatusCode, Url};
use std::{io, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The address below which `checkpoint` and `tile` are.
pub(super) struct Served {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Served {
    /// The reason, where it cannot be one.
    pub(super) fn new(base: &str, token: Option<String>) -> Result<Self, String> {
        let base = if base.ends_with('/') { base.to_owned() } else { format!("{base}/") };
        let base = Url::parse(&base).map_err(|e| format!("`{base}` is not an address: {e}"))?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(|e| e.to_string())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|e| e.to_string())?;
        Ok(Self { base, token, http, runtime })
    }

    async fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let url = self.base.join(path).map_err(io::Error::other)?;
        let request = self.http.get(url);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let mut answer = request.send().await.map_err(|e| io::Error::other(e.without_url()))?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            status if !status.is_success() => return Err(io::Error::other(format!("answered {status}"))),
            _ => {}
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| io::Error::other(e.without_url()))? {
            if bytes.len() + chunk.len() > BUNDLE_BYTES_MAX {
                return Err(io::Error::other("the answer is larger than any file of a log"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }
}

impl Source for Served {
    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FetchError> {
        Ok(self.runtime.block_on(self.get(path))?)
    }
}
