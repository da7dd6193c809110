//! The host's configuration: one TOML file, a few environment variables, defaults that run without either.

use plinth_api::{ApiConfig, ConfigError as ApiConfigError};
mod audit_log;

pub(crate) use audit_log::{AuditLogConfig, PersonsSettings};

use plinth_backend::{
    Durability,
    cache::{MemoryCacheConfig, RedisCacheConfig},
    database::PostgresDatabasesConfig,
    postgres::PostgresConfig,
    queue::AmqpConfig,
};
use plinth_capability::name::PluginName;
use plinth_resilience::Policy;
use plinth_runtime::{EngineConfig, QueueSettingError, QueuesConfig, limits::Limits, manifest::GrantRequests};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Operator-controlled: bytes of a configuration file.
const FILE_MAX: u64 = 1 << 20;

/// Every setting has a default; unknown ones are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct HostConfig {
    /// Where everything that must survive is kept.
    pub data: PathBuf,
    pub api: ApiConfig,
    pub engine: EngineConfig,
    pub plugins: PluginsConfig,
    pub cache: CacheConfig,
    pub queue: QueueConfig,
    pub queues: QueuesConfig,
    pub database: DatabaseConfig,
    pub audit: AuditConfig,
    pub audit_log: AuditLogConfig,
    pub state: StateConfig,
    /// The server of everything whose backend is `postgres`.
    pub postgres: PostgresConfig,
    pub fleet: FleetSettings,
    pub secrets: SecretsConfig,
    pub policies: Policies,
    pub log: LogConfig,
    /// How long stopping may take.
    pub stop_ms: u64,
}

/// Loading, permitting and running plugins.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct PluginsConfig {
    pub component_max_bytes: usize,
    /// Background threads for guests that compute for long; 0 is one per core.
    pub guest_threads: usize,
    /// Calls waiting for an instance over all plugins.
    pub waiting: u32,
    pub wait_ms: u64,
    pub drain_ms: u64,
    pub compile_memory_bytes: u64,
    pub compile_timeout_ms: u64,
    /// No manifest may ask for more. A limit left out is that of a manifest without it.
    pub limits_max: Limits,
    /// If set, no plugin gets more than is listed here under its name, whoever approves.
    pub grants: Option<BTreeMap<PluginName, GrantRequests>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "backend", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CacheConfig {
    Memory(MemoryCacheConfig),
    Redis(RedisCacheConfig),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "backend", rename_all = "kebab-case", deny_unknown_fields)]
pub enum QueueConfig {
    Embedded(EmbeddedQueueConfig),
    Amqp(AmqpConfig),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct EmbeddedQueueConfig {
    /// As for the audit log: of a publish.
    pub durability: Durability,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "backend", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DatabaseConfig {
    Sqlite(SqliteConfig),
    Postgres(PostgresDatabasesConfig),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "backend", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AuditConfig {
    Sqlite(EmbeddedConfig),
    Postgres,
}

/// Where the host keeps what is installed; hosts that share it are a fleet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(tag = "backend", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StateConfig {
    #[default]
    Sqlite,
    Postgres,
}

/// This host among those over the same state.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct FleetSettings {
    /// What people call this host; by default what its machine is called.
    pub name: Option<String>,
    /// How long the other hosts may take to make a version ready.
    pub stage_timeout_ms: u64,
    /// How long the answer to a change waits for the other hosts to follow.
    pub activate_timeout_ms: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// `power`: a confirmed write survives loss of power. `process`: it
    /// survives the end of this process, and commits are about ten times as fast.
    pub durability: Durability,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SqliteConfig {
    pub durability: Durability,
    pub read_connections: u32,
    pub max_databases: usize,
    pub max_file_bytes: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SecretsConfig {
    /// Name of a secret plugins may be granted to reveal, and the file it is in.
    pub reveal: BTreeMap<String, PathBuf>,
}

/// One policy per dependency.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Policies {
    pub cache: Policy,
    pub queue: Policy,
    pub database: Policy,
    pub audit: Policy,
    /// Of requests that plugins send to servers outside.
    pub http: Policy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct LogConfig {
    /// As for `RUST_LOG`: `info`, `plinth=debug,warn`.
    pub filter: String,
    /// One JSON object per line instead of text for people.
    pub json: bool,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            api: ApiConfig::default(),
            engine: EngineConfig::default(),
            plugins: PluginsConfig::default(),
            cache: CacheConfig::Memory(MemoryCacheConfig::default()),
            queue: QueueConfig::Embedded(EmbeddedQueueConfig::default()),
            queues: QueuesConfig::default(),
            database: DatabaseConfig::Sqlite(SqliteConfig::default()),
            audit: AuditConfig::Sqlite(EmbeddedConfig::default()),
            audit_log: AuditLogConfig::default(),
            state: StateConfig::default(),
            postgres: PostgresConfig::default(),
            fleet: FleetSettings::default(),
            secrets: SecretsConfig::default(),
            policies: Policies::default(),
            log: LogConfig::default(),
            stop_ms: 15_000,
        }
    }
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self {
            component_max_bytes: 32 << 20,
            guest_threads: 0,
            waiting: 1_024,
            wait_ms: 1_000,
            drain_ms: 30_000,
            compile_memory_bytes: 4 << 30,
            compile_timeout_ms: 100_000,
            limits_max: Limits::ceiling(),
            grants: None,
        }
    }
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { durability: Durability::default(), read_connections: 4, max_databases: 64, max_file_bytes: 16 << 30 }
    }
}

impl Default for FleetSettings {
    fn default() -> Self {
        Self { name: None, stage_timeout_ms: 110_000, activate_timeout_ms: 10_000 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("could not read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0} is larger than a configuration")]
    TooLarge(PathBuf),
    #[error("{0}")]
    Parse(String),
    #[error("{name} = `{value}` in the environment is not {what}")]
    Environment { name: &'static str, value: String, what: &'static str },
    #[error(transparent)]
    Api(#[from] ApiConfigError),
    #[error(transparent)]
    Queue(#[from] QueueSettingError),
    #[error("{0} must not be zero")]
    Zero(&'static str),
    #[error("`audit-log.retention` {0}")]
    Retention(&'static str),
}

impl HostConfig {
    /// Reads the file, if there is one, then the environment through `env`.
    pub fn load(path: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = match path {
            Some(path) => Self::parse(&read(path)?)?,
            None => Self::default(),
        };
        config.overlay(env)?;
        config.check()?;
        Ok(config)
    }

    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError::Parse(e.to_string()))
    }

    fn overlay(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        if let Some(data) = env("PLINTH_DATA") {
            self.data = PathBuf::from(data);
        }
        if let Some(value) = env("PLINTH_LISTEN") {
            let bad = |_| ConfigError::Environment { name: "PLINTH_LISTEN", value: value.clone(), what: "an address with a port" };
            self.api.listen = value.parse::<SocketAddr>().map_err(bad)?;
        }
        if let Some(filter) = env("PLINTH_LOG") {
            self.log.filter = filter;
        }
        Ok(())
    }

    /// Whether anything is kept in the server of `[postgres]`.
    pub(crate) fn uses_postgres(&self) -> bool {
        matches!(self.state, StateConfig::Postgres)
            || matches!(self.audit, AuditConfig::Postgres)
            || matches!(self.database, DatabaseConfig::Postgres(_))
    }

    /// What no single setting can tell.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.api.check()?;
        self.queues.check()?;
        self.audit_log.check()?;
        let PluginsConfig { component_max_bytes, compile_memory_bytes, compile_timeout_ms, .. } = self.plugins;
        for (name, value) in [
            ("engine.instances", u64::from(self.engine.instances)),
            ("engine.max-memory-bytes", self.engine.max_memory_bytes),
            ("engine.max-wasm-stack-bytes", self.engine.max_wasm_stack_bytes.into()),
            ("engine.total-memory-bytes", self.engine.total_memory_bytes),
            ("plugins.component-max-bytes", component_max_bytes as u64),
            ("plugins.compile-memory-bytes", compile_memory_bytes),
            ("plugins.compile-timeout-ms", compile_timeout_ms),
            ("stop-ms", self.stop_ms),
            ("fleet.stage-timeout-ms", self.fleet.stage_timeout_ms),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero(name));
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |e| ConfigError::Read(path.to_owned(), e);
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// The reference: every setting with its default, which a test reads back.
pub(crate) const REFERENCE: &str = include_str!("../../docs/config.toml");

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_reference_is_the_default() {
        let uncommented: String = REFERENCE.lines().map(|line| format!("{}\n", line.strip_prefix("#= ").unwrap_or(line))).collect();
        let read = HostConfig::parse(&uncommented).unwrap();
        assert_eq!(format!("{read:#?}"), format!("{:#?}", HostConfig::default()));
    }

    #[test]
    fn unknown_settings_and_open_doors_are_refused() {
        assert!(HostConfig::parse("dota = '/x'").is_err());
        assert!(HostConfig::parse("[cache]\nbackend = 'memory'\nlimit = 1").is_err());
        let open = HostConfig { api: ApiConfig { listen: "0.0.0.0:1".parse().unwrap(), ..ApiConfig::default() }, ..HostConfig::default() };
        assert!(matches!(open.check(), Err(ConfigError::Api(_))));
        assert!(HostConfig::load(Some(Path::new("/nowhere.toml")), none).is_err());
    }

    #[test]
    fn the_environment_comes_last() {
        let env = |name: &str| (name == "PLINTH_LISTEN").then(|| "127.0.0.1:9".to_owned());
        assert_eq!(HostConfig::load(None, env).unwrap().api.listen.port(), 9);
        let bad = |name: &str| (name == "PLINTH_LISTEN").then(|| "nine".to_owned());
        assert!(matches!(HostConfig::load(None, bad), Err(ConfigError::Environment { .. })));
    }
}
