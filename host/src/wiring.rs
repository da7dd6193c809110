//! The object graph: the one file that names backends, policies and the runtime together.

use crate::{
    config::{
        AuditConfig, CacheConfig, DatabaseConfig, FleetSettings, HostConfig, PersonsSettings, QueueConfig, SqliteConfig, StateConfig,
    },
    host_key,
    start::StartError,
};
use plinth_backend::{
    audit::{
        ArchiveFolder, ArchivedAudit, Archiver, AuditTree, AuditTreeConfig, PersonKeeper, PostgresAudit, PseudonymousAudit, SpooledAudit,
        SqliteAudit,
    },
    cache::{MemoryCache, RedisCache},
    database::{PostgresDatabases, SqliteDatabases, SqliteDatabasesConfig},
    fleet::PostgresFleet,
    http::HttpClient,
    inbox::{PostgresInbox, SqliteInbox},
    metrics::PrometheusMetrics,
    postgres::Postgres,
    queue::{AmqpQueue, EmbeddedQueue},
    secrets::KeyringSecrets,
    state::{PostgresState, SqliteState},
};
use plinth_capability::{
    Capabilities,
    audit::AuditLog,
    cache::Cache,
    database::Databases,
    fleet::Fleet,
    http::Http,
    inbox::Inbox,
    persons::{NoPersons, Persons},
    queue::Queue,
    state::HostState,
};
use plinth_resilience::Guarded;
use plinth_runtime::{CompilerConfig, Faults, FleetConfig, GrantPolicy, Membership, RuntimeConfig};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// Something that was opened and has to be closed.
enum Open {
    SqliteDatabases(Arc<SqliteDatabases>),
    PostgresDatabases(Arc<PostgresDatabases>),
    Embedded(Arc<EmbeddedQueue>),
    Amqp(Arc<AmqpQueue>),
    SqliteInbox(Arc<SqliteInbox>),
    SqliteAudit(Arc<SqliteAudit>),
    PostgresAudit(Arc<PostgresAudit>),
    SqliteState(Arc<SqliteState>),
    Postgres(Postgres),
}

/// What was opened, and must be closed in the reverse order.
pub(crate) struct Backends {
    pub(crate) capabilities: Capabilities,
    state: Arc<dyn HostState>,
    fleet: Option<Arc<dyn Fleet>>,
    inbox: Option<Arc<dyn Inbox>>,
    tree: Arc<AuditTree>,
    archiver: Option<Arc<Archiver>>,
    keeper: Option<Arc<PersonKeeper>>,
    spool: Option<Arc<SpooledAudit>>,
    open: Vec<Open>,
}

/// The audit log in its parts.
struct Log {
    audit: Arc<dyn AuditLog>,
    tree: Arc<AuditTree>,
    keeper: Option<Arc<PersonKeeper>>,
}

/// Opens backend after backend; what is open already is remembered for closing.
struct Opening<'a> {
    config: &'a HostConfig,
    /// One for everything that is kept there.
    postgres: Option<Postgres>,
    open: Vec<Open>,
}

impl Backends {
    pub(crate) async fn open(config: &HostConfig) -> Result<Self, StartError> {
        Self::open_with(config, |queue| queue, Arc::new(HttpClient::new()?)).await
    }

    /// With something put around the queue, which outboxes publish through as well.
    pub(crate) async fn open_with(
        config: &HostConfig,
        around: impl FnOnce(Arc<dyn Queue>) -> Arc<dyn Queue>,
        http: Arc<dyn Http>,
    ) -> Result<Self, StartError> {
        let mut opening = Opening::start(config).await?;
        let (state, fleet) = opening.state().await?;
        let Log { audit, tree, keeper } = opening.audit().await?;
        let persons: Arc<dyn Persons> = match &keeper {
            Some(keeper) => keeper.clone(),
            None => Arc::new(NoPersons),
        };
        let archiver = config.audit_log.archive.is_some().then(|| Arc::new(Archiver::new(tree.clone(), config.audit_log.retention)));
        let (queue, inbox) = opening.queue().await?;
        let queue = around(queue);
        let cache = opening.cache().await?;
        let databases = opening.databases(queue.clone(), audit.clone()).await?;
        let secrets = KeyringSecrets::open(&config.data.join("keys"), revealable(&config.secrets.reveal)?).await?;
        let policies = &config.policies;
        let audit: Arc<dyn AuditLog> = Arc::new(Guarded::new(audit, policies.audit));
        let spool = config.audit_log.spool.as_ref().map(|spool| {
            let folder = spool.folder.clone().unwrap_or_else(|| config.data.join("audit-spool"));
            SpooledAudit::open(audit.clone(), &folder, spool.max_bytes).map(Arc::new)
        });
        let spool = spool.transpose()?;
        let audit: Arc<dyn AuditLog> = match &spool {
            Some(spool) => spool.clone(),
            None => audit,
        };
        let capabilities = Capabilities {
            cache: Arc::new(Guarded::new(cache, policies.cache)),
            queue: Arc::new(Guarded::new(queue, policies.queue)),
            databases: Arc::new(Guarded::new(databases, policies.database)),
            audit: Arc::new(PseudonymousAudit::new(audit, persons.clone())),
            persons,
            transparency: tree.clone(),
            http: Arc::new(Guarded::new(http, policies.http)),
            metrics: Arc::new(PrometheusMetrics::new()),
            secrets: Arc::new(secrets),
        };
        Ok(Self { capabilities, state, fleet, inbox, tree, archiver, keeper, spool, open: opening.open })
    }

    /// Outboxes first, since they write to queue and audit log; the server that
    /// several of them are in last.
    pub(crate) async fn close(&self, deadline: Duration) {
        if let Some(spool) = &self.spool {
            spool.close().await;
        }
        for open in self.open.iter().rev() {
            match open {
                Open::SqliteDatabases(databases) => databases.close(deadline).await,
                Open::PostgresDatabases(databases) => databases.close(deadline).await,
                Open::Embedded(queue) => queue.close().await,
                Open::Amqp(queue) => queue.close().await,
                Open::SqliteInbox(inbox) => inbox.close().await,
                Open::SqliteAudit(audit) => audit.close().await,
                Open::PostgresAudit(audit) => audit.close().await,
                Open::SqliteState(state) => state.close().await,
                Open::Postgres(postgres) => postgres.close().await,
            }
        }
    }

    /// What outboxes of embedded databases have not delivered yet.
    pub(crate) async fn undelivered(&self) -> plinth_capability::Result<u64> {
        let mut sum = 0;
        for open in &self.open {
            if let Open::SqliteDatabases(databases) = open {
                sum += databases.pending().await?;
            }
        }
        Ok(sum)
    }

    pub(crate) fn state(&self) -> Arc<dyn HostState> {
        self.state.clone()
    }

    /// How this host takes part in a fleet, where the state can be shared.
    pub(crate) fn membership(&self, settings: &FleetSettings) -> Option<Membership> {
        let config = FleetConfig {
            name: settings.name.clone().unwrap_or_else(host_name),
            stage_timeout: Duration::from_millis(settings.stage_timeout_ms),
            activate_timeout: Duration::from_millis(settings.activate_timeout_ms),
        };
        self.fleet.clone().map(|fleet| Membership { fleet, config })
    }

    /// What grows and signs the audit log's tree.
    pub(crate) fn tree(&self) -> Arc<AuditTree> {
        self.tree.clone()
    }

    /// What moves old records of the audit log to their archive, where there is one.
    pub(crate) fn archiver(&self) -> Option<Arc<Archiver>> {
        self.archiver.clone()
    }

    /// What renews the keys of persons in the audit log, where there are any.
    pub(crate) fn keeper(&self) -> Option<Arc<PersonKeeper>> {
        self.keeper.clone()
    }

    /// Where records wait that may come to the audit log later, if there is such a place.
    pub(crate) fn spool(&self) -> Option<Arc<SpooledAudit>> {
        self.spool.clone()
    }

    /// What remembers which messages came, where the queue's own backend cannot.
    pub(crate) fn inbox(&self) -> Option<Arc<dyn Inbox>> {
        self.inbox.clone()
    }
}

impl<'a> Opening<'a> {
    async fn start(config: &'a HostConfig) -> Result<Self, StartError> {
        let postgres = match config.uses_postgres() {
            true => Some(Postgres::open(&config.postgres).await?),
            false => None,
        };
        let open = postgres.iter().cloned().map(Open::Postgres).collect();
        Ok(Self { config, postgres, open })
    }

    /// Opened at the start if anything is kept there.
    fn postgres(&self) -> Result<Postgres, StartError> {
        self.postgres.clone().ok_or(StartError::NoPostgres)
    }

    async fn state(&mut self) -> Result<(Arc<dyn HostState>, Option<Arc<dyn Fleet>>), StartError> {
        match &self.config.state {
            StateConfig::Sqlite => {
                let state = Arc::new(SqliteState::open(&self.config.data.join("state.db")).await?);
                self.open.push(Open::SqliteState(state.clone()));
                Ok((state, None))
            }
            StateConfig::Postgres => {
                let postgres = self.postgres()?;
                Ok((Arc::new(PostgresState::new(postgres.clone())), Some(Arc::new(PostgresFleet::new(postgres)))))
            }
        }
    }

    async fn audit(&mut self) -> Result<Log, StartError> {
        let (data, named) = (&self.config.data, &self.config.audit_log);
        let tree = AuditTreeConfig {
            origin: named.origin.clone(),
            key: named.key.clone().unwrap_or_else(|| data.join("keys").join("audit-log")),
            checkpoints: named.checkpoints.clone().unwrap_or_else(|| data.join("audit-checkpoints")),
            archive: named.archive.as_ref().map(ArchiveFolder::open).transpose()?,
        };
        let persons = named.persons.as_ref().map(PersonsSettings::config);
        match &self.config.audit {
            AuditConfig::Sqlite(config) => {
                let audit = Arc::new(SqliteAudit::open(&data.join("audit.db"), config.durability).await?);
                self.open.push(Open::SqliteAudit(audit.clone()));
                let tree = Arc::new(AuditTree::over_sqlite(audit.clone(), tree).await?);
                let log: Arc<dyn AuditLog> = Arc::new(ArchivedAudit::new(audit.clone(), &tree));
                let keeper = match persons {
                    Some(persons) => Some(Arc::new(PersonKeeper::over_sqlite(audit, log.clone(), persons).await?)),
                    None => None,
                };
                Ok(Log { audit: log, tree, keeper })
            }
            AuditConfig::Postgres => {
                let audit = Arc::new(PostgresAudit::open(self.postgres()?).await?);
                self.open.push(Open::PostgresAudit(audit.clone()));
                let tree = Arc::new(AuditTree::over_postgres(audit.clone(), tree).await?);
                let log: Arc<dyn AuditLog> = Arc::new(ArchivedAudit::new(audit.clone(), &tree));
                let keeper = match persons {
                    Some(persons) => Some(Arc::new(PersonKeeper::over_postgres(audit, log.clone(), persons).await?)),
                    None => None,
                };
                Ok(Log { audit: log, tree, keeper })
            }
        }
    }

    async fn queue(&mut self) -> Result<(Arc<dyn Queue>, Option<Arc<dyn Inbox>>), StartError> {
        match &self.config.queue {
            QueueConfig::Embedded(config) => {
                let queue = Arc::new(EmbeddedQueue::open(&self.config.data.join("queue.db"), config.durability).await?);
                self.open.push(Open::Embedded(queue.clone()));
                Ok((queue, None))
            }
            QueueConfig::Amqp(config) => {
                let inbox = self.inbox().await?;
                let queue = Arc::new(AmqpQueue::open(config.clone(), inbox.clone())?);
                self.open.push(Open::Amqp(queue.clone()));
                Ok((queue, Some(inbox)))
            }
        }
    }

    /// Where the fleet's state is: hosts that share queues share what came from them.
    async fn inbox(&mut self) -> Result<Arc<dyn Inbox>, StartError> {
        match &self.config.state {
            StateConfig::Postgres => Ok(Arc::new(PostgresInbox::new(self.postgres()?))),
            StateConfig::Sqlite => {
                let inbox = Arc::new(SqliteInbox::open(&self.config.data.join("inbox.db"), plinth_backend::Durability::Power).await?);
                self.open.push(Open::SqliteInbox(inbox.clone()));
                Ok(inbox)
            }
        }
    }

    async fn cache(&mut self) -> Result<Arc<dyn Cache>, StartError> {
        match &self.config.cache {
            CacheConfig::Memory(config) => Ok(Arc::new(MemoryCache::new(config.clone())?)),
            CacheConfig::Redis(config) => Ok(Arc::new(RedisCache::open(config.clone()).await?)),
        }
    }

    async fn databases(&mut self, queue: Arc<dyn Queue>, audit: Arc<dyn AuditLog>) -> Result<Arc<dyn Databases>, StartError> {
        match &self.config.database {
            DatabaseConfig::Sqlite(config) => {
                let settings = sqlite_databases(self.config, config);
                let databases = Arc::new(SqliteDatabases::open(settings, queue, audit).await?);
                self.open.push(Open::SqliteDatabases(databases.clone()));
                Ok(databases)
            }
            DatabaseConfig::Postgres(config) => {
                let databases = Arc::new(PostgresDatabases::open(self.postgres()?, config.clone(), queue, audit).await?);
                self.open.push(Open::PostgresDatabases(databases.clone()));
                Ok(databases)
            }
        }
    }
}

fn sqlite_databases(host: &HostConfig, config: &SqliteConfig) -> SqliteDatabasesConfig {
    SqliteDatabasesConfig {
        dir: host.data.join("databases"),
        durability: config.durability,
        read_connections: config.read_connections,
        max_databases: config.max_databases,
        max_file_bytes: config.max_file_bytes,
        ..SqliteDatabasesConfig::default()
    }
}

/// The machine's name; in a pod, the pod's.
fn host_name() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if told.trim().is_empty() { "a host".to_owned() } else { told.trim().to_owned() }
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
