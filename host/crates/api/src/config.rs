//! The API's own configuration and the rules that keep it from being open to strangers.

use crate::auth::digest_of;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Tokens that anybody would try first; a key with one of them is refused.
const GUESSABLE: [&str; 12] =
    ["", "admin", "changeme", "default", "key", "letmein", "password", "plinth", "root", "secret", "test", "token"];

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Without keys only a loopback address is accepted.
    pub listen: SocketAddr,
    /// Client-controlled: bytes of a request body, plugin uploads excepted.
    pub body_bytes: usize,
    /// Client-controlled: bytes of a whole plugin upload.
    pub component_bytes: usize,
    /// How long an ordinary request may take.
    pub request_timeout_ms: u64,
    /// How long installing or swapping a plugin may take; it goes on when the
    /// client has been told that it took too long.
    pub load_timeout_ms: u64,
    /// How long a client may take to send a request's head.
    pub header_timeout_ms: u64,
    /// How long requests in flight may take to end when the host stops.
    pub drain_ms: u64,
    /// Requests beyond this many at once are answered 503.
    pub max_in_flight: usize,
    /// Open connections; beyond this many the listener does not accept.
    pub max_connections: usize,
    /// Names besides loopback that a `Host` header may carry while no keys are set.
    pub host_names: Vec<String>,
    /// Who may call. None: everybody who reaches the loopback address.
    pub keys: Vec<KeyConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeyConfig {
    /// Shown in logs and audit records as `key:ID`.
    pub id: String,
    /// 64 hex digits: SHA-256 of the token. The token itself is never stored.
    pub sha256: String,
    #[serde(default)]
    pub roles: Vec<String>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 7300).into(),
            body_bytes: 1 << 20,
            component_bytes: 32 << 20,
            request_timeout_ms: 30_000,
            load_timeout_ms: 120_000,
            header_timeout_ms: 10_000,
            drain_ms: 10_000,
            max_in_flight: 1_024,
            max_connections: 4_096,
            host_names: Vec::new(),
            keys: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("api.listen {0} can be reached from other machines, so api.keys must not be empty")]
    OpenToTheNetwork(SocketAddr),
    #[error("api.keys `{id}`: {why}")]
    Key { id: String, why: &'static str },
    #[error("api.{0} must not be zero")]
    Zero(&'static str),
}

impl ApiConfig {
    /// Refuses what would leave the API open or unusable.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.keys.is_empty() && !self.listen.ip().is_loopback() {
            return Err(ConfigError::OpenToTheNetwork(self.listen));
        }
        let limits = [
            ("body-bytes", self.body_bytes as u64),
            ("component-bytes", self.component_bytes as u64),
            ("request-timeout-ms", self.request_timeout_ms),
            ("load-timeout-ms", self.load_timeout_ms),
            ("header-timeout-ms", self.header_timeout_ms),
            ("max-in-flight", self.max_in_flight as u64),
            ("max-connections", self.max_connections as u64),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero(name));
        }
        self.check_keys()
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        let guessable = GUESSABLE.map(|token| digest_of(token.as_bytes()));
        let (mut ids, mut digests) = (BTreeSet::new(), BTreeSet::new());
        for key in &self.keys {
            let refuse = |why| Err(ConfigError::Key { id: key.id.clone(), why });
            let id_is_plain = key.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if key.id.is_empty() || key.id.len() > 64 || !id_is_plain {
                return refuse("the id must be 1 to 64 letters, digits, `-`, `_` or `.`");
            }
            let Some(digest) = key.digest() else { return refuse("sha256 must be 64 hex digits") };
            if guessable.contains(&digest) || digest.iter().all(|b| *b == digest[0]) {
                return refuse("sha256 is that of a token anybody can guess");
            }
            if !ids.insert(&key.id) {
                return refuse("another key has this id");
            }
            if !digests.insert(digest) {
                return refuse("another key has this token");
            }
        }
        Ok(())
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

impl KeyConfig {
    pub(crate) fn digest(&self) -> Option<[u8; 32]> {
        let mut digest = [0; 32];
        let hex = self.sha256.as_bytes();
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            let nibble = |digit: u8| (digit as char).to_digit(16).and_then(|n| u8::try_from(n).ok());
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, token: &str) -> KeyConfig {
        let sha256 = digest_of(token.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        KeyConfig { id: id.to_owned(), sha256, roles: Vec::new() }
    }

    #[test]
    fn an_address_of_the_network_needs_keys() {
        let listen: SocketAddr = "0.0.0.0:7300".parse().unwrap();
        let open = ApiConfig { listen, ..ApiConfig::default() };
        assert_eq!(open.check(), Err(ConfigError::OpenToTheNetwork(listen)));
        let closed = ApiConfig { keys: vec![key("ops", "a long random token")], ..open };
        assert_eq!(closed.check(), Ok(()));
        assert_eq!(ApiConfig::default().check(), Ok(()));
        let v6 = ApiConfig { listen: "[::1]:0".parse().unwrap(), ..ApiConfig::default() };
        assert_eq!(v6.check(), Ok(()));
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        let refused = |keys: Vec<KeyConfig>| ApiConfig { keys, ..ApiConfig::default() }.check().is_err();
        let raw = |sha256: &str| KeyConfig { id: "a".into(), sha256: sha256.into(), roles: vec![] };
        assert!(refused(vec![key("a", "changeme")]) && refused(vec![key("a", "")]));
        assert!(refused(vec![raw("abc")]) && refused(vec![raw(&"g".repeat(64))]) && refused(vec![raw(&"0".repeat(64))]));
        assert!(refused(vec![key("a b", "x1")]) && refused(vec![key("", "x1")]));
        assert!(refused(vec![key("a", "x1"), key("a", "x2")]) && refused(vec![key("a", "x1"), key("b", "x1")]));
        assert!(!refused(vec![key("a", "x1"), key("b", "x2")]));
    }

    #[test]
    fn unknown_settings_are_refused_and_missing_ones_have_defaults() {
        let config: ApiConfig = serde_json::from_str(r#"{"max-in-flight": 3}"#).unwrap();
        assert_eq!((config.max_in_flight, config.body_bytes, config.listen.port()), (3, 1 << 20, 7300));
        assert!(serde_json::from_str::<ApiConfig>(r#"{"max_in_flight": 3}"#).is_err());
        assert_eq!(ApiConfig { max_in_flight: 0, ..ApiConfig::default() }.check(), Err(ConfigError::Zero("max-in-flight")));
    }
}
