//! The embedded database: one SQLite file per name, one writer and a few readers each.

mod conn;
mod control;
mod cursor;
mod database;
mod files;
mod gate;
#[expect(unsafe_code, reason = "SQLite's limits, modes and authorizer exist only in its C interface")]
mod guard;
mod lexer;
mod outbox;
mod pool;
mod transaction;
mod value;

use crate::{Durability, database::outbox::Relay, sqlite::SqliteFile};
use async_trait::async_trait;
use conn::Schema;
use database::{SqliteDatabase, Store};
use outbox::SqliteOutbox;
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::AuditLog,
    database::{Access, Database, Databases},
    name::DatabaseName,
    queue::Queue,
};
use pool::{Pool, PoolOptions, Tasks};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long health and metrics wait for a connection.
const PROBE_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SqliteDatabasesConfig {
    /// Holds one file per database.
    pub dir: PathBuf,
    pub durability: Durability,
    /// Readers per database; each is a thread, and opened when first needed.
    pub read_connections: u32,
    pub max_databases: usize,
    /// Guest-controlled: a file grows no further than this.
    pub max_file_bytes: u64,
    /// Guest-controlled: bytes of one value or row inside SQLite.
    pub max_value_bytes: u32,
    /// The longest life of a transaction or cursor.
    pub max_transaction_ms: u32,
}

impl Default for SqliteDatabasesConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data/databases"),
            durability: Durability::default(),
            read_connections: 4,
            max_databases: 64,
            max_file_bytes: 16 << 30,
            max_value_bytes: 8 << 20,
            max_transaction_ms: 30_000,
        }
    }
}

/// Dropped without `close`, its relays stop at once; what they had not
/// delivered they deliver after the next start.
pub struct SqliteDatabases {
    config: SqliteDatabasesConfig,
    queue: Arc<dyn Queue>,
    audit: Arc<dyn AuditLog>,
    // A std lock: held for a map lookup, never across an await.
    stores: RwLock<HashMap<DatabaseName, Arc<Store>>>,
    /// Held while a database is opened, so that nobody opens it twice.
    opening: tokio::sync::Mutex<()>,
    tasks: Tasks,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl SqliteDatabases {
    /// Opens the databases that exist, so that their outboxes are delivered.
    pub async fn open(config: SqliteDatabasesConfig, queue: Arc<dyn Queue>, audit: Arc<dyn AuditLog>) -> Result<Self> {
        let found = files::list(&config.dir).await?;
        let this = Self {
            config,
            queue,
            audit,
            stores: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            tasks: Tasks { tracker: TaskTracker::new(), runtime: Handle::current() },
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        for name in found {
            this.store(&name).await?;
        }
        Ok(this)
    }

    /// What waits in all outboxes.
    pub async fn pending(&self) -> Result<u64> {
        let mut sum = 0;
        for store in self.all() {
            sum += SqliteOutbox::pending(&store.readers, PROBE_WAIT).await?;
        }
        Ok(sum)
    }

    /// Delivers what can be delivered, ends every task and closes the files, within `deadline`.
    pub async fn close(&self, deadline: Duration) {
        self.drain.cancel();
        self.tasks.tracker.close();
        if tokio::time::timeout(deadline, self.tasks.tracker.wait()).await.is_err() {
            tracing::warn!("the outboxes were not empty in time; the rest is delivered after the next start");
        }
        self.stop.cancel();
        for store in self.all() {
            store.readers.close().await;
            store.writer.close().await;
        }
    }

    fn find(&self, name: &DatabaseName) -> Option<Arc<Store>> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Store>> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
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
        if self.all().len() >= self.config.max_databases {
            return refuse(ErrorKind::LimitExceeded, format!("at most {} databases", self.config.max_databases));
        }
        let store = Arc::new(self.open_store(name).await?);
        self.stores.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), Arc::clone(&store));
        Ok(store)
    }

    async fn open_store(&self, name: &DatabaseName) -> Result<Store> {
        let file = SqliteFile::open(&self.config.dir.join(files::encode(name)?), self.config.durability).await?;
        let schema = Schema::default();
        let options = |most| PoolOptions {
            most,
            value_bytes: self.config.max_value_bytes,
            file_bytes: self.config.max_file_bytes,
            schema: Arc::clone(&schema),
            tasks: self.tasks.clone(),
        };
        let writer = Pool::writer(&file, options(1));
        let readers = Pool::readers(&file, options(self.config.read_connections));
        // Makes the file, which readers cannot.
        writer.acquire_writer(PROBE_WAIT).await?.conn()?.prepare_outbox().await?;
        let wake = Arc::new(Notify::new());
        let relay = Relay {
            store: SqliteOutbox::open(&file, writer.clone()).await?,
            queue: Arc::clone(&self.queue),
            audit: Arc::clone(&self.audit),
            wake: Arc::clone(&wake),
            drain: self.drain.clone(),
            held: HashMap::new(),
        };
        let stop = self.stop.clone();
        let relaying = async move {
            stop.run_until_cancelled(relay.run()).await;
        };
        self.tasks.tracker.spawn_on(relaying, &self.tasks.runtime);
        let longest = Duration::from_millis(u64::from(self.config.max_transaction_ms.max(1)));
        Ok(Store { writer, readers, tasks: self.tasks.clone(), wake, longest })
    }
}

impl Drop for SqliteDatabases {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Databases for SqliteDatabases {
    async fn open(&self, name: &DatabaseName, access: Access) -> Result<Arc<dyn Database>> {
        Ok(Arc::new(SqliteDatabase::new(self.store(name).await?, access)))
    }

    async fn health(&self) -> Result<()> {
        if self.drain.is_cancelled() {
            return Err(Error::new(ErrorKind::Unavailable, "database.health", "the databases are closed"));
        }
        match self.pending().await {
            // Every reader has work, so the database answers.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            other => other.map(drop),
        }
    }
}

#[cfg(test)]
mod stress_tests;
#[cfg(test)]
mod tests;
