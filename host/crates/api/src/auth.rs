//! Who may call: API keys by their digest, or anybody on loopback who is not a web page from elsewhere.
//!
//! Without keys the host listens on loopback only, so the callers are programs
//! of this machine, and browsers on it. Two things keep a web page from using
//! such a browser: the `Host` header must name loopback (a page that rebinds
//! its own name to 127.0.0.1 still sends its own name), and requests that
//! change something must not come from another origin (`Sec-Fetch-Site`, or
//! `Origin` for browsers that do not send it). A request with a valid key
//! needs neither: no browser adds a key by itself.

use crate::{
    config::ApiConfig,
    error::{ApiError, Result},
    problem,
};
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use http::{Request, header, uri::Authority};
use plinth_runtime::hook::Cause;
use std::{net::IpAddr, sync::Arc};

pub(crate) fn digest_of(token: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    bytes
}

#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// On loopback, without keys configured.
    Anonymous,
    Key(Arc<Key>),
}

#[derive(Debug)]
pub(crate) struct Key {
    actor: String,
    roles: Vec<String>,
    digest: [u8; 32],
}

impl Caller {
    /// `key:ID`; none for the anonymous caller.
    pub(crate) fn actor(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Key(key) => Some(&key.actor),
        }
    }

    /// Who needs no key may do everything; a key only what it has the role for.
    pub(crate) fn has_role(&self, role: &str) -> bool {
        match self {
            Self::Anonymous => true,
            Self::Key(key) => key.roles.iter().any(|own| own == role),
        }
    }

    pub(crate) fn cause(&self, traceparent: Option<&str>) -> Cause {
        let (actor, roles) = match self {
            Self::Anonymous => (None, Vec::new()),
            Self::Key(key) => (Some(key.actor.clone()), key.roles.clone()),
        };
        Cause { actor, roles, traceparent: traceparent.map(str::to_owned), depth: 0, attempt: 1, generation: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct Auth {
    keys: Vec<Arc<Key>>,
    host_names: Vec<String>,
}

impl Auth {
    /// Keys whose digest is malformed match nothing; `ApiConfig::check` refuses them before.
    pub(crate) fn new(config: &ApiConfig) -> Self {
        let key = |k: &crate::config::KeyConfig| {
            let digest = k.digest()?;
            Some(Arc::new(Key { actor: format!("key:{}", k.id), roles: k.roles.clone(), digest }))
        };
        Self { keys: config.keys.iter().filter_map(key).collect(), host_names: config.host_names.clone() }
    }

    pub(crate) fn caller<B>(&self, request: &Request<B>) -> Result<Caller> {
        if !self.keys.is_empty() {
            return self.key_of(request).map(Caller::Key);
        }
        let authority = self.known_host(request)?;
        if !request.method().is_safe() {
            same_site(request, &authority)?;
        }
        Ok(Caller::Anonymous)
    }

    fn key_of<B>(&self, request: &Request<B>) -> Result<Arc<Key>> {
        let refuse = || ApiError::new(problem::UNAUTHENTICATED, "send `Authorization: Bearer TOKEN` with a configured key");
        let value = request.headers().get(header::AUTHORIZATION).ok_or_else(refuse)?.as_bytes();
        let (scheme, token) = value.split_at_checked(7).ok_or_else(refuse)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(refuse());
        }
        let digest = digest_of(token.trim_ascii());
        // Every key is compared, so that the time taken does not tell which one came near.
        let mut found = None;
        for key in &self.keys {
            if verify_slices_are_equal(&digest, &key.digest).is_ok() {
                found = Some(key);
            }
        }
        found.cloned().ok_or_else(refuse)
    }

    fn known_host<B>(&self, request: &Request<B>) -> Result<Authority> {
        let stated = request.headers().get(header::HOST);
        let authority = match stated {
            Some(host) => Authority::try_from(host.as_bytes()).ok(),
            None => request.uri().authority().cloned(),
        };
        authority.filter(|authority| self.is_known(authority.host())).ok_or_else(|| {
            ApiError::new(problem::FOREIGN_HOST, "without API keys the Host header must name loopback or one of api.host-names")
        })
    }

    fn is_known(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || self.host_names.iter().any(|name| name.eq_ignore_ascii_case(bare))
    }
}

fn same_site<B>(request: &Request<B>, authority: &Authority) -> Result<()> {
    let refuse = || Err(ApiError::new(problem::CROSS_SITE, "a page of another site must not change anything here"));
    if let Some(site) = request.headers().get("sec-fetch-site") {
        return if site == "same-origin" || site == "none" { Ok(()) } else { refuse() };
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|text| text.strip_prefix("http://"));
    if origin.is_some_and(|o| o.eq_ignore_ascii_case(authority.as_str())) { Ok(()) } else { refuse() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeyConfig;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::builder().method(method).uri("/v1/plugins");
        headers.iter().fold(builder, |b, (name, value)| b.header(*name, *value)).body(()).unwrap()
    }

    #[track_caller]
    fn check(auth: &Auth, method: &str, headers: &[(&str, &str)], expected: Result<Option<&str>, &str>) {
        let caller = auth.caller(&request(method, headers));
        let shown = caller.as_ref().map(Caller::actor).map_err(|e| e.kind().code);
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_keys_only_loopback_names_are_answered() {
        let auth = Auth::new(&ApiConfig { host_names: vec!["plinth.test".into()], ..ApiConfig::default() });
        for host in ["localhost", "LocalHost:7300", "127.0.0.1:7300", "127.9.9.9", "[::1]:7300", "plinth.test:80"] {
            check(&auth, "GET", &[("host", host)], Ok(None));
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1:7300", "[::2]", "", "a b"] {
            check(&auth, "GET", &[("host", host)], Err("foreign-host"));
        }
        check(&auth, "GET", &[], Err("foreign-host"));
    }

    #[test]
    fn without_keys_other_sites_change_nothing() {
        let auth = Auth::new(&ApiConfig::default());
        let with = |name, value| [("host", "127.0.0.1:7300"), (name, value)];
        check(&auth, "POST", &with("sec-fetch-site", "cross-site"), Err("cross-site"));
        check(&auth, "POST", &with("sec-fetch-site", "same-site"), Err("cross-site"));
        check(&auth, "POST", &with("sec-fetch-site", "same-origin"), Ok(None));
        check(&auth, "POST", &with("sec-fetch-site", "none"), Ok(None));
        check(&auth, "DELETE", &with("origin", "https://evil.example"), Err("cross-site"));
        check(&auth, "DELETE", &with("origin", "null"), Err("cross-site"));
        check(&auth, "DELETE", &with("origin", "http://127.0.0.1:7300"), Ok(None));
        check(&auth, "GET", &with("origin", "https://evil.example"), Ok(None));
        check(&auth, "POST", &with("accept", "*/*"), Ok(None));
    }

    #[test]
    fn with_keys_only_a_configured_token_is_answered() {
        let key = |id: &str, token: &str| {
            let sha256 = digest_of(token.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
            KeyConfig { id: id.into(), sha256, roles: vec!["operator".into()] }
        };
        let auth = Auth::new(&ApiConfig { keys: vec![key("ops", "token-1"), key("ci", "token-2")], ..ApiConfig::default() });
        check(&auth, "POST", &[("authorization", "Bearer token-1")], Ok(Some("key:ops")));
        check(&auth, "POST", &[("authorization", "bearer token-2"), ("host", "a.example")], Ok(Some("key:ci")));
        for bad in ["Bearer token-3", "Bearer ", "Bearer", "Basic token-1", "token-1", ""] {
            check(&auth, "GET", &[("authorization", bad)], Err("unauthenticated"));
        }
        check(&auth, "GET", &[("host", "localhost")], Err("unauthenticated"));
        let caller = auth.caller(&request("GET", &[("authorization", "Bearer token-1")])).unwrap();
        let cause = caller.cause(Some("00-ab-cd-01"));
        assert_eq!((cause.actor.as_deref(), cause.roles.len(), cause.traceparent.as_deref()), (Some("key:ops"), 1, Some("00-ab-cd-01")));
    }
}
