//! The http capability: requests to servers outside, each within what one plugin was granted.

use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, time::Duration};

/// Server-controlled: bytes of one body that are taken.
pub const BODY_MAX: usize = 4 << 20;
/// Server-controlled: bytes of all headers of one answer that are taken.
pub const HEADERS_MAX: usize = 64 << 10;

/// Whom a plugin may talk to: `https://api.example.org`, `http://127.0.0.1:8080`,
/// or every host below one: `https://*.example.org`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    secure: bool,
    /// Without the star and its dot.
    host: String,
    below: bool,
    port: u16,
}

/// One request, and how far it may reach.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its URI is absolute. The answer is to this very request: nobody follows redirects.
    pub request: http::Request<Bytes>,
    /// Also to addresses that no public name should lead to: the machine's own, the local network's, link-local ones.
    pub private: bool,
    /// Until the head of the answer is there.
    pub head_within: Duration,
    /// Until all of it is there.
    pub within: Duration,
}

/// # Contract
///
/// - `answers_are_as_they_came`: status, headers and body of the server, and it gets method, path, headers and body as sent.
/// - `redirects_are_answers`: a redirect is not followed.
/// - `a_host_has_one_spelling`: a host that would be connected to under another name than it is written with is `Denied`.
/// - `private_addresses_are_denied`: an address that is not public is `Denied` unless `private` is set, in whatever notation, and
///   also if a name leads to it; nothing is sent there.
/// - `large_bodies_are_refused`: an answer of more than [`BODY_MAX`] bytes is `LimitExceeded`.
/// - `nobody_listening_is_unavailable`: a server that cannot be reached, or a name nobody knows, is `Unavailable`.
/// - `a_silent_server_is_unknown`: a request that may have arrived and has no answer in time is `OutcomeUnknown`, or `Timeout`
///   for methods that change nothing.
///
/// # Cancel safety
///
/// A request that is dropped may have arrived.
#[async_trait]
pub trait Http: Send + Sync {
    async fn send(&self, outgoing: Outgoing) -> Result<http::Response<Bytes>>;
}

impl Origin {
    /// Whether a request to this URI is to this origin.
    pub fn covers(&self, uri: &http::Uri) -> bool {
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return false,
        };
        let Some(host) = uri.host().map(|host| host.trim_end_matches('.').to_ascii_lowercase()) else { return false };
        let names = match self.below {
            true => host.strip_suffix(self.host.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            false => host == self.host,
        };
        names && secure == self.secure && uri.port_u16().unwrap_or(default_port(secure)) == self.port
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("has no scheme: https://HOST")?;
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err("has a scheme that is neither https nor http"),
        };
        let below = rest.starts_with("*.");
        let rest = if below { rest.get(2..).unwrap_or_default() } else { rest };
        let authority: http::uri::Authority = rest.parse().map_err(|_| "is not SCHEME://HOST or SCHEME://HOST:PORT")?;
        let host = authority.host();
        if rest.contains('@') || host.is_empty() || host.contains('*') || host.ends_with('.') {
            return Err("is not SCHEME://HOST or SCHEME://HOST:PORT");
        }
        if below && (!host.contains('.') || host.parse::<IpAddr>().is_ok()) {
            return Err("would cover every host of a top-level domain");
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if rest.len() == host.len() => default_port(secure),
            None => return Err("has a port that is none"),
        };
        Ok(Self { secure, host: host.to_ascii_lowercase(), below, port })
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, star) = (if self.secure { "https" } else { "http" }, if self.below { "*." } else { "" });
        write!(f, "{scheme}://{star}{}", self.host)?;
        if self.port == default_port(self.secure) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl TryFrom<String> for Origin {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text).map_err(|why| Error::new(ErrorKind::InvalidInput, "http.origin", format!("`{}` {why}", text.escape_debug())))
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

/// Whether an address is one that a public name may lead to.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let benchmark = a == 198 && (b == 18 || b == 19);
            let protocol = a == 192 && b == 0 && c == 0;
            let reserved = a >= 240 || a == 0;
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || shared
                || benchmark
                || protocol
                || reserved)
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            let [first, second, ..] = v6.segments();
            // Of all of IPv6 only 2000::/3 is given out; in it, 6to4 and Teredo carry addresses of IPv4.
            first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Result<Origin> {
        Origin::try_from(text.to_owned())
    }

    #[test]
    fn origins_cover_what_they_name_and_nothing_beside_it() {
        let rows = [
            ("https://api.example.org", "https://api.example.org/v1?x", true),
            ("https://api.example.org", "https://API.example.org:443/", true),
            ("https://api.example.org", "https://api.example.org./", true),
            ("https://api.example.org", "http://api.example.org/", false),
            ("https://api.example.org", "https://api.example.org:8443/", false),
            ("https://api.example.org", "https://api.example.org.evil.net/", false),
            ("https://api.example.org", "https://evil-api.example.org/", false),
            ("https://api.example.org", "https://api.example.org@evil.net/", false),
            ("https://*.example.org", "https://a.example.org/", true),
            ("https://*.example.org", "https://a.b.example.org/", true),
            ("https://*.example.org", "https://example.org/", false),
            ("https://*.example.org", "https://.example.org/", false),
            ("https://*.example.org", "https://notexample.org/", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", true),
            ("http://127.0.0.1:8080", "http://127.0.0.1/", false),
            ("http://[::1]:8080", "http://[::1]:8080/", true),
            ("https://api.example.org", "/only/a/path", false),
        ];
        for (granted, uri, covered) in rows {
            let covers = uri.parse().is_ok_and(|uri| origin(granted).unwrap().covers(&uri));
            assert_eq!(covers, covered, "{granted} {uri}");
        }
    }

    #[test]
    fn what_is_no_origin_says_why() {
        for text in [
            "api.example.org",
            "ftp://a.org",
            "https://",
            "https://*",
            "https://*.org",
            "https://a*.example.org",
            "https://u:p@a.org",
            "https://a.org/path",
            "https://a.org:99999",
            "https://a.org.",
            "https://a b",
        ] {
            assert_eq!(origin(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
        for text in ["https://api.example.org", "http://a.org:8080", "https://*.example.org", "http://[::1]:80"] {
            let read = origin(text).unwrap();
            assert_eq!(origin(&read.to_string()).unwrap(), read);
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_known() {
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "203.0.113.9",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
        ];
        for text in private {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "9.9.9.9", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2001:4860:4860::8888"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
