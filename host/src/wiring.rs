//! The object graph: the one file that names backends, policies and the runtime together.

use crate::{
    config::{AuditConfig, CacheConfig, DatabaseConfig, HostConfig, QueueConfig},
    host_key,
    start::StartError,
};
use plinth_backend::{
    audit::SqliteAudit,
    cache::MemoryCache,
    database::{SqliteDatabases, SqliteDatabasesConfig},
    metrics::PrometheusMetrics,
    queue::EmbeddedQueue,
    secrets::KeyringSecrets,
    state::SqliteState,
};
use plinth_capability::{Capabilities, audit::AuditLog, cache::Cache, database::Databases, queue::Queue, state::HostState};
use plinth_resilience::Guarded;
use plinth_runtime::{CompilerConfig, Faults, GrantPolicy, RuntimeConfig};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// What was opened, and must be closed in the reverse order.
pub(crate) struct Backends {
    pub(crate) capabilities: Capabilities,
    pub(crate) state: Arc<SqliteState>,
    databases: Arc<SqliteDatabases>,
    audit: Arc<SqliteAudit>,
    queue: Arc<EmbeddedQueue>,
}

impl Backends {
    pub(crate) async fn open(config: &HostConfig) -> Result<Self, StartError> {
        let CacheConfig::Memory(cache) = config.cache.clone();
        let QueueConfig::Embedded(queue) = &config.queue;
        let AuditConfig::Sqlite(audit) = &config.audit;
        let DatabaseConfig::Sqlite(database) = &config.database;
        let data = &config.data;
        let metrics = Arc::new(PrometheusMetrics::new());
        let cache: Arc<dyn Cache> = Arc::new(MemoryCache::new(cache)?);
        let queue = Arc::new(EmbeddedQueue::open(&data.join("queue.db"), queue.durability).await?);
        let audit = Arc::new(SqliteAudit::open(&data.join("audit.db"), audit.durability).await?);
        let settings = SqliteDatabasesConfig {
            dir: data.join("databases"),
            durability: database.durability,
            read_connections: database.read_connections,
            max_databases: database.max_databases,
            max_file_bytes: database.max_file_bytes,
            ..SqliteDatabasesConfig::default()
        };
        let databases = Arc::new(SqliteDatabases::open(settings, queue.clone(), audit.clone()).await?);
        let secrets = KeyringSecrets::open(&data.join("keys"), revealable(&config.secrets.reveal)?).await?;
        let state = Arc::new(SqliteState::open(&data.join("state.db")).await?);
        let policies = &config.policies;
        let capabilities = Capabilities {
            cache: Arc::new(Guarded::new(cache, policies.cache)),
            queue: Arc::new(Guarded::new(queue.clone() as Arc<dyn Queue>, policies.queue)),
            databases: Arc::new(Guarded::new(databases.clone() as Arc<dyn Databases>, policies.database)),
            audit: Arc::new(Guarded::new(audit.clone() as Arc<dyn AuditLog>, policies.audit)),
            metrics,
            secrets: Arc::new(secrets),
        };
        Ok(Self { capabilities, state, databases, audit, queue })
    }

    /// Outboxes first, since they write to the other two.
    pub(crate) async fn close(&self, deadline: Duration) {
        self.databases.close(deadline).await;
        self.queue.close().await;
        self.audit.close().await;
        self.state.close().await;
    }

    pub(crate) fn state(&self) -> Arc<dyn HostState> {
        self.state.clone()
    }
}

fn revealable(files: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, Vec<u8>>, StartError> {
    let read = |(name, path): (&String, &PathBuf)| match std::fs::read(path) {
        Ok(secret) => Ok((name.clone(), secret)),
        Err(error) => Err(StartError::Secret { name: name.clone(), source: error }),
    };
    files.iter().map(read).collect()
}

pub(crate) fn runtime_config(config: &HostConfig, program: PathBuf, faults: Option<Arc<dyn Faults>>) -> Result<RuntimeConfig, StartError> {
    let plugins = &config.plugins;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let grants = plugins.grants.clone().map_or(GrantPolicy::Approved, GrantPolicy::Listed);
    let compiler = CompilerConfig {
        memory_bytes: plugins.compile_memory_bytes,
        timeout_ms: plugins.compile_timeout_ms,
        ..CompilerConfig::new(program)
    };
    Ok(RuntimeConfig {
        engine: config.engine.clone(),
        compiler,
        code_dir: config.data.join("code"),
        host_key: host_key::load_or_make(&config.data.join("host.key"))?,
        component_max_bytes: plugins.component_max_bytes,
        grants,
        queues: config.queues.clone(),
        limits_max: plugins.limits_max,
        guest_threads: if plugins.guest_threads == 0 { cores } else { plugins.guest_threads },
        waiting: plugins.waiting,
        wait: Duration::from_millis(plugins.wait_ms),
        drain_deadline: Duration::from_millis(plugins.drain_ms),
        faults,
    })
}
