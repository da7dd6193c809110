//! Settings of the queue in RabbitMQ, checked before anything connects.

use lapin::uri::{AMQPScheme, AMQPUri};
use plinth_capability::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, time::Duration};

/// Operator-controlled: bytes of the name prefix. A queue's name has up to 160,
/// a name at the broker at most 255.
const PREFIX_MAX: usize = 32;
/// RabbitMQ refuses a larger prefetch on quorum queues.
const PREFETCH_MAX: u16 = 2_000;

/// Where the brokers are and how they are used.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// The nodes of one cluster, tried in turn: `amqp://user:password@host:5672/vhost`
    /// or `amqps://…`. All name the same virtual host.
    pub urls: Vec<String>,
    /// Holds the password in place of the one in the URLs; read again at each connection.
    pub password_file: Option<PathBuf>,
    /// PEM certificates trusted for `amqps` beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// First part of every name at the broker: hosts with one prefix are one fleet.
    pub prefix: String,
    /// Queues at the broker per queue, to which the priorities 0-9 are mapped.
    /// With 10 every priority overtakes every lower one; with fewer, neighbours
    /// share a lane in which the oldest comes first.
    pub lanes: u8,
    /// Publishes under way at once; each has a channel of its own.
    pub publish_channels: u16,
    /// Messages fetched ahead per queue and lane.
    pub prefetch: u16,
    /// How long a publish waits for the broker's confirmation.
    pub confirm_timeout_ms: u32,
    /// How long connecting, and any call that needs a connection, waits for one.
    pub connect_timeout_ms: u32,
    /// A silent broker is given up after two of these.
    pub heartbeat_s: u16,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            urls: vec!["amqp://127.0.0.1:5672/%2f".to_owned()],
            password_file: None,
            ca_file: None,
            prefix: "plinth".to_owned(),
            lanes: 10,
            publish_channels: 16,
            prefetch: 64,
            confirm_timeout_ms: 10_000,
            connect_timeout_ms: 5_000,
            heartbeat_s: 10,
        }
    }
}

// URLs hold passwords.
impl fmt::Debug for AmqpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConfig")
            .field("urls", &self.urls.len())
            .field("prefix", &self.prefix)
            .field("lanes", &self.lanes)
            .field("publish_channels", &self.publish_channels)
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}

impl AmqpConfig {
    /// The parsed URLs. Errors name the place of what is wrong, never its text.
    pub(super) fn check(&self) -> Result<Vec<AMQPUri>> {
        let prefix = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let rules = [
            (!self.urls.is_empty(), "`urls` names at least one broker"),
            (
                !self.prefix.is_empty() && self.prefix.len() <= PREFIX_MAX && self.prefix.chars().all(prefix),
                "`prefix` has 1 to 32 letters, digits, `-` and `_`",
            ),
            ((1..=10).contains(&self.lanes), "`lanes` is 1 to 10"),
            ((1..=1_000).contains(&self.publish_channels), "`publish-channels` is 1 to 1000"),
            ((1..=PREFETCH_MAX).contains(&self.prefetch), "`prefetch` is 1 to 2000"),
            ((100..=600_000).contains(&self.confirm_timeout_ms), "`confirm-timeout-ms` is 100 to 600000"),
            ((100..=600_000).contains(&self.connect_timeout_ms), "`connect-timeout-ms` is 100 to 600000"),
            ((1..=600).contains(&self.heartbeat_s), "`heartbeat-s` is 1 to 600"),
        ];
        if let Some((_, rule)) = rules.iter().find(|(kept, _)| !kept) {
            return Err(refuse((*rule).to_owned()));
        }
        let uris = self.urls.iter().enumerate().map(|(place, url)| self.uri(place, url)).collect::<Result<Vec<_>>>()?;
        let vhosts: Vec<_> = uris.iter().map(|uri| uri.vhost.as_str()).collect();
        if vhosts.windows(2).any(|pair| pair.first() != pair.last()) {
            return Err(refuse("`urls` name more than one virtual host".to_owned()));
        }
        if self.ca_file.is_some() && uris.iter().any(|uri| uri.scheme == AMQPScheme::AMQP) {
            return Err(refuse("`ca-file` is set, and a URL is not `amqps`".to_owned()));
        }
        Ok(uris)
    }

    fn uri(&self, place: usize, url: &str) -> Result<AMQPUri> {
        // The parser's message may quote the URL.
        let mut uri: AMQPUri = url.parse().map_err(|_| refuse(format!("`urls[{place}]` is not an AMQP URL")))?;
        uri.query.heartbeat = Some(self.heartbeat_s);
        Ok(uri)
    }

    pub(super) fn confirm_timeout(&self) -> Duration {
        Duration::from_millis(self.confirm_timeout_ms.into())
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }
}

fn refuse(why: String) -> Error {
    Error::new(ErrorKind::InvalidInput, "queue.open", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_secrets_stay_hidden() {
        assert_eq!(AmqpConfig::default().check().unwrap().len(), 1);
        let secret = AmqpConfig { urls: vec!["amqp://u:canary@h/v".to_owned(), "nonsense canary".to_owned()], ..AmqpConfig::default() };
        assert!(!format!("{secret:?}").contains("canary"));
        let refused = secret.check().unwrap_err();
        assert!(refused.message().contains("urls[1]") && !format!("{refused:?}").contains("canary"), "{refused:?}");
    }

    #[test]
    fn each_rule_refuses() {
        let base = AmqpConfig::default;
        let url = |text: &str| text.to_owned();
        let bad = [
            AmqpConfig { urls: Vec::new(), ..base() },
            AmqpConfig { prefix: "a.b".to_owned(), ..base() },
            AmqpConfig { prefix: "a".repeat(33), ..base() },
            AmqpConfig { lanes: 0, ..base() },
            AmqpConfig { lanes: 11, ..base() },
            AmqpConfig { publish_channels: 0, ..base() },
            AmqpConfig { prefetch: 2_001, ..base() },
            AmqpConfig { confirm_timeout_ms: 99, ..base() },
            AmqpConfig { connect_timeout_ms: 0, ..base() },
            AmqpConfig { heartbeat_s: 0, ..base() },
            AmqpConfig { urls: vec![url("http://h")], ..base() },
            AmqpConfig { urls: vec![url("amqp://h/a"), url("amqp://i/b")], ..base() },
            AmqpConfig { ca_file: Some("ca.pem".into()), ..base() },
        ];
        for config in bad {
            assert_eq!(config.check().unwrap_err().kind(), ErrorKind::InvalidInput, "{config:?}");
        }
    }
}
