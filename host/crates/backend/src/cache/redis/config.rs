//! Settings of the Redis cache, checked before anything is opened.

use plinth_capability::{Error, ErrorKind, Result, cache::BucketLimits, name::BucketName};
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use serde::{Deserialize, Serialize, Serializer};
use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

const OPERATION: &str = "cache.configure";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct RedisCacheConfig {
    pub mode: RedisMode,
    /// The one server, some nodes of the cluster, or the sentinels. `rediss://` for TLS.
    pub urls: Vec<RedisUrl>,
    /// What the sentinels call the master; for them only.
    pub master_name: Option<String>,
    /// An ACL user; overrides the user in the URLs. Of the servers, not of sentinels.
    pub username: Option<String>,
    /// Read once; its text without surrounding space overrides the password in the URLs.
    pub password_file: Option<PathBuf>,
    /// PEM certificates to trust in place of the system's. Needs `rediss://`.
    pub ca_file: Option<PathBuf>,
    /// What every key begins with. Hosts that share it share their caches.
    pub key_prefix: String,
    /// A command without an answer for this long has failed.
    pub response_timeout_ms: u32,
    pub connect_timeout_ms: u32,
    /// Commands at once; more wait, and are `Unavailable` after the response timeout.
    pub in_flight: usize,
    /// Of every bucket that has none of its own.
    pub limits: BucketLimits,
    /// By the full name of the bucket.
    pub buckets: BTreeMap<BucketName, BucketLimits>,
    /// Using one bucket more is `LimitExceeded`.
    pub max_buckets: usize,
    /// Buckets that are also kept in this process. Not on a cluster.
    pub near: BTreeMap<BucketName, NearConfig>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedisMode {
    Single,
    Cluster,
    Sentinel,
}

/// Entries of one bucket that are kept in this process as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct NearConfig {
    pub max_entries: u64,
    /// No read is older than this, whatever happens to the invalidations.
    pub max_staleness_ms: u32,
}

/// May hold a password, so it shows itself without.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl RedisUrl {
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last `@` of what comes before a path or query: a password may hold any of them only escaped.
        match self.0.split_once("://") {
            Some((scheme, rest)) => match rest.rsplit_once('@') {
                Some((_, host)) => write!(f, "{scheme}://***@{host}"),
                None => write!(f, "{scheme}://{rest}"),
            },
            None => f.write_str("***"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Default for NearConfig {
    fn default() -> Self {
        Self { max_entries: 10_000, max_staleness_ms: 1_000 }
    }
}

impl Default for RedisCacheConfig {
    fn default() -> Self {
        Self {
            mode: RedisMode::Single,
            urls: vec![RedisUrl::new("redis://127.0.0.1:6379")],
            master_name: None,
            username: None,
            password_file: None,
            ca_file: None,
            key_prefix: "plinth".to_owned(),
            response_timeout_ms: 500,
            connect_timeout_ms: 1_000,
            in_flight: 1_024,
            limits: BucketLimits::default(),
            buckets: BTreeMap::new(),
            max_buckets: 1_000,
            near: BTreeMap::new(),
        }
    }
}

/// Where to connect, with the secrets that were in files.
pub(super) struct Target {
    pub(super) mode: RedisMode,
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) master_name: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) ca: Option<Vec<u8>>,
    pub(super) response_timeout: Duration,
    pub(super) connect_timeout: Duration,
}

impl RedisCacheConfig {
    /// Refuses what could not work, without asking a server.
    pub(super) fn check(&self) -> Result<()> {
        if self.limits_keep_nothing() {
            return refuse("default_ttl_ms, max_entries and max_bytes of a bucket are more than 0");
        }
        if self.response_timeout_ms == 0 || self.connect_timeout_ms == 0 || self.in_flight == 0 {
            return refuse("response-timeout-ms, connect-timeout-ms and in-flight are more than 0");
        }
        if self.in_flight > tokio::sync::Semaphore::MAX_PERMITS {
            return refuse("in-flight is too large");
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        if self.key_prefix.is_empty() || self.key_prefix.len() > 64 || !self.key_prefix.chars().all(fits) {
            return refuse("key-prefix is 1 to 64 letters, digits, `-`, `_`, `.`, `:` and `/`");
        }
        if self.near.values().any(|near| near.max_entries == 0 || near.max_staleness_ms == 0) {
            return refuse("max-entries and max-staleness-ms of a near cache are more than 0");
        }
        match self.mode {
            RedisMode::Single if self.urls.len() != 1 => refuse("mode `single` has one URL"),
            RedisMode::Cluster if !self.near.is_empty() => refuse("a near cache is not kept on a cluster"),
            RedisMode::Sentinel if self.master_name.as_deref().unwrap_or_default().is_empty() => {
                refuse("mode `sentinel` needs master-name")
            }
            RedisMode::Single | RedisMode::Cluster if self.master_name.is_some() => refuse("master-name is for mode `sentinel`"),
            _ if self.urls.is_empty() => refuse("urls is empty"),
            _ => Ok(()),
        }
    }

    fn limits_keep_nothing(&self) -> bool {
        let none = |limits: &BucketLimits| limits.default_ttl_ms == 0 || limits.max_entries == 0 || limits.max_bytes == 0;
        self.buckets.values().chain([&self.limits]).any(none)
    }

    pub(super) fn target(&self) -> Result<Target> {
        let password = self.password_file.as_ref().map(|path| read("password-file", path)).transpose()?;
        let password = password.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        let ca = self.ca_file.as_ref().map(|path| read("ca-file", path)).transpose()?;
        if ca.is_some() && !self.urls.iter().all(|url| url.0.starts_with("rediss://")) {
            return refuse("ca-file needs `rediss://` in every URL");
        }
        let nodes = self.urls.iter().map(|url| self.node(url, password.as_deref())).collect::<Result<_>>()?;
        Ok(Target {
            mode: self.mode,
            nodes,
            master_name: self.master_name.clone().unwrap_or_default(),
            username: self.username.clone(),
            password,
            ca,
            response_timeout: Duration::from_millis(u64::from(self.response_timeout_ms)),
            connect_timeout: Duration::from_millis(u64::from(self.connect_timeout_ms)),
        })
    }

    fn node(&self, url: &RedisUrl, password: Option<&str>) -> Result<ConnectionInfo> {
        // What the parser says about a URL may quote it, so it is not passed on.
        let Ok(node) = url.0.as_str().into_connection_info() else { return refuse(format!("`{url}` is not a Redis URL")) };
        let mut settings = node.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if self.mode != RedisMode::Sentinel {
            if let Some(username) = &self.username {
                settings = settings.set_username(username);
            }
            if let Some(password) = password {
                settings = settings.set_password(password);
            }
        }
        Ok(node.set_redis_settings(settings))
    }
}

fn read(what: &str, path: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, OPERATION, format!("the {what} cannot be read")).with_source(error))
}

fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidInput, OPERATION, why))
}
