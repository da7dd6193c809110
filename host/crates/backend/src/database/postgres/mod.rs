//! The external database: a schema and two roles in PostgreSQL per name, and one relay per host.

mod conn;
mod cursor;
mod database;
mod decode;
mod encode;
mod gate;
mod lexer;
mod numeric;
mod outbox;
mod pool;
mod roles;
mod run;
mod time;
mod timeouts;
mod transaction;

use super::outbox::Relay;
use crate::postgres::Postgres;
use async_trait::async_trait;
use database::{PostgresDatabase, Store};
use outbox::PostgresOutbox;
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::AuditLog,
    database::{Access, Database, Databases, QueryLimits},
    name::DatabaseName,
    queue::Queue,
};
use pool::{House, Pool, Tasks};
use roles::Home;
use run::STATEMENTS_MAX;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use timeouts::lock_timeout;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often a relay looks for what hosts have left that are gone.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct PostgresDatabasesConfig {
    /// Of this host, for all plugins' databases together.
    pub max_connections: u32,
    /// One database's share of them: no plugin takes more.
    pub connections_per_database: u32,
    pub max_databases: usize,
    /// The longest life of a transaction or cursor.
    pub max_transaction_ms: u32,
}

impl Default for PostgresDatabasesConfig {
    fn default() -> Self {
        Self { max_connections: 24, connections_per_database: 6, max_databases: 64, max_transaction_ms: 30_000 }
    }
}

/// Dropped without `close`, its relay stops at once; what it had not
/// delivered another host delivers, or this one after the next start.
pub struct PostgresDatabases {
    config: PostgresDatabasesConfig,
    postgres: Postgres,
    house: Arc<House>,
    // A std lock: held for a map lookup, never across an await.
    stores: RwLock<HashMap<DatabaseName, Arc<Store>>>,
    /// Held while a database is opened, so that nobody opens it twice.
    opening: tokio::sync::Mutex<()>,
    wake: Arc<Notify>,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl PostgresDatabases {
    /// Delivers the outbox of all databases from now on.
    pub async fn open(
        postgres: Postgres,
        config: PostgresDatabasesConfig,
        queue: Arc<dyn Queue>,
        audit: Arc<dyn AuditLog>,
    ) -> Result<Self> {
        let tasks = Tasks { tracker: TaskTracker::new(), runtime: Handle::current() };
        let (wake, drain, stop) = (Arc::new(Notify::new()), CancellationToken::new(), CancellationToken::new());
        let store = PostgresOutbox::new(postgres.options());
        let relay = Relay { store, queue, audit, wake: Arc::clone(&wake), drain: drain.clone(), held: HashMap::new() };
        let relaying = {
            let stop = stop.clone();
            async move { stop.run_until_cancelled(relay.run()).await }
        };
        tasks.tracker.spawn_on(relaying, &tasks.runtime);
        tasks.tracker.spawn_on(poll(Arc::clone(&wake), drain.clone(), stop.clone()), &tasks.runtime);
        let house = House::new(postgres.pool().clone(), tasks, config.max_connections);
        let (stores, opening) = (RwLock::default(), tokio::sync::Mutex::default());
        Ok(Self { config, postgres, house, stores, opening, wake, drain, stop })
    }

    /// What waits in the outbox, for any host to deliver.
    pub async fn pending(&self) -> Result<u64> {
        PostgresOutbox::pending(self.postgres.pool()).await
    }

    /// Delivers what can be delivered, ends every task and connection, within `deadline`.
    pub async fn close(&self, deadline: Duration) {
        self.drain.cancel();
        self.house.tasks.tracker.close();
        if tokio::time::timeout(deadline, self.house.tasks.tracker.wait()).await.is_err() {
            tracing::warn!("the outbox was not empty in time; the rest is delivered by another host or after the next start");
        }
        self.stop.cancel();
        self.house.close().await;
    }

    fn find(&self, name: &DatabaseName) -> Option<Arc<Store>> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    async fn store(&self, name: &DatabaseName) -> Result<Arc<Store>> {
        if let Some(store) = self.find(name) {
            return Ok(store);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(store) = self.find(name) {
            return Ok(store);
        }
        let refuse = |kind, why: String| Err(Error::new(kind, "database.open", why));
        if self.drain.is_cancelled() {
            return refuse(ErrorKind::Unavailable, "the databases are closed".to_owned());
        }
        if self.stores.read().unwrap_or_else(PoisonError::into_inner).len() >= self.config.max_databases {
            return refuse(ErrorKind::LimitExceeded, format!("at most {} databases", self.config.max_databases));
        }
        let home = roles::ensure(self.postgres.pool(), name).await?;
        let store = Arc::new(self.new_store(&home));
        self.stores.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), Arc::clone(&store));
        Ok(store)
    }

    fn new_store(&self, home: &Home) -> Store {
        let share = self.config.connections_per_database.clamp(1, self.config.max_connections.max(1));
        let share = Arc::new(Semaphore::new(share as usize));
        let statement_ms = QueryLimits::default().statement_timeout_ms;
        let pool = |role: &str, read_only: bool| Pool {
            house: Arc::clone(&self.house),
            role: role.into(),
            options: self.session(home, role, read_only, statement_ms),
            statement_ms,
            share: Arc::clone(&share),
        };
        let longest = Duration::from_millis(u64::from(self.config.max_transaction_ms.max(1)));
        Store {
            writer: pool(&home.writer, false),
            reader: pool(&home.reader, true),
            tasks: self.house.tasks.clone(),
            wake: Arc::clone(&self.wake),
            token: home.token.clone(),
            longest,
        }
    }

    /// What a session begins with, so that no call has to set it.
    fn session(&self, home: &Home, role: &str, read_only: bool, statement_ms: u32) -> PgConnectOptions {
        let idle = u64::from(self.config.max_transaction_ms) + 5_000;
        let options = self.postgres.options().clone().username(role).password(&home.password(role));
        options.statement_cache_capacity(STATEMENTS_MAX).options([
            // Named last: what a temporary table is called hides nothing.
            ("search_path", format!("{},pg_temp", home.schema)),
            ("default_transaction_read_only", if read_only { "on" } else { "off" }.to_owned()),
            ("statement_timeout", statement_ms.to_string()),
            ("lock_timeout", lock_timeout(statement_ms).to_string()),
            // The net below our own timer, for a host that is cut off.
            ("idle_in_transaction_session_timeout", idle.to_string()),
            ("client_connection_check_interval", "2s".to_owned()),
            ("standard_conforming_strings", "on".to_owned()),
            ("timezone", "UTC".to_owned()),
        ])
    }
}

/// Wakes the relay now and then until it ends.
async fn poll(wake: Arc<Notify>, drain: CancellationToken, stop: CancellationToken) {
    loop {
        // The time after which the rows of a host that is gone are looked for.
        tokio::select! {
            () = tokio::time::sleep(POLL) => wake.notify_one(),
            () = drain.cancelled() => return,
            () = stop.cancelled() => return,
        }
    }
}

impl Drop for PostgresDatabases {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Databases for PostgresDatabases {
    async fn open(&self, name: &DatabaseName, access: Access) -> Result<Arc<dyn Database>> {
        Ok(Arc::new(PostgresDatabase::new(self.store(name).await?, access)))
    }

    async fn health(&self) -> Result<()> {
        if self.drain.is_cancelled() {
            return Err(Error::new(ErrorKind::Unavailable, "database.health", "the databases are closed"));
        }
        self.postgres.health("database.health").await
    }
}
