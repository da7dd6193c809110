//! A few connections lent one by one; what comes back unclean is cleaned first.
//!
//! Not SQLx's pool: a connection here may come back in the middle of a
//! statement or a transaction, and must be free of both before the next caller
//! has it, without anybody waiting for that.

use super::conn::{Conn, STATEMENTS_MAX, Schema};
use crate::sqlite::SqliteFile;
use plinth_capability::{Error, ErrorKind, Result};
use sqlx::sqlite::SqliteConnectOptions;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

/// How long a connection may take to become clean; then it is replaced.
const CLEAN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for the lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Rows SQLite's thread runs ahead of us.
const ROWS_AHEAD: usize = 16;

/// Where tasks of a database run: cleaners, timers, cursors and the relay.
#[derive(Debug, Clone)]
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) runtime: Handle,
}

/// How the connections of one pool are opened.
pub(super) struct PoolOptions {
    pub(super) most: u32,
    pub(super) value_bytes: u32,
    /// Ignored by readers.
    pub(super) file_bytes: u64,
    pub(super) schema: Schema,
    pub(super) tasks: Tasks,
}

#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    connect: SqliteConnectOptions,
    value_bytes: u32,
    schema: Schema,
    tasks: Tasks,
    /// Fair: whoever asks first is served first.
    permits: Arc<Semaphore>,
    // A std mutex: held to push or pop, never across an await.
    idle: Mutex<Vec<Conn>>,
}

impl Pool {
    pub(super) fn writer(file: &SqliteFile, options: PoolOptions) -> Self {
        const PAGE: u64 = 4_096;
        let pages = (options.file_bytes / PAGE).clamp(256, u64::from(u32::MAX - 1));
        Self::new(file.options().pragma("max_page_count", pages.to_string()), options)
    }

    /// The writer must have made the file before.
    pub(super) fn readers(file: &SqliteFile, options: PoolOptions) -> Self {
        Self::new(file.options().read_only(true).create_if_missing(false).pragma("query_only", "ON"), options)
    }

    fn new(connect: SqliteConnectOptions, options: PoolOptions) -> Self {
        let PoolOptions { most, value_bytes, file_bytes: _, schema, tasks } = options;
        let connect = connect
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS_MAX)
            .row_buffer_size(ROWS_AHEAD)
            .pragma("cell_size_check", "ON");
        let permits = Arc::new(Semaphore::new(most.max(1) as usize));
        Self(Arc::new(Inner { connect, value_bytes, schema, tasks, permits, idle: Mutex::default() }))
    }

    /// Waits in line for a connection, at most `wait`.
    pub(super) async fn acquire(&self, wait: Duration) -> Result<Lease> {
        let until = Instant::now() + wait;
        let busy = |_| Error::new(ErrorKind::Conflict, "database.acquire", "the database is busy");
        let permit = timeout_at(until, Arc::clone(&self.0.permits).acquire_owned()).await.map_err(busy)?;
        let permit = permit.map_err(|_| closed())?;
        let shape = timeout_at(until, Arc::clone(&self.0.schema).read_owned()).await.map_err(busy)?;
        let idle = self.0.lock_idle().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => Conn::open(&self.0.connect, self.0.value_bytes, Arc::clone(&self.0.schema), *shape).await?,
        };
        let now = *shape;
        let mut lease = Lease { held: Some((conn, permit)), pool: Arc::clone(&self.0), shape: Some(shape) };
        lease.conn()?.refresh(now).await?;
        Ok(lease)
    }

    /// As `acquire`, for the one who may change the schema.
    pub(super) async fn acquire_writer(&self, wait: Duration) -> Result<Lease> {
        let mut lease = self.acquire(wait).await?;
        drop(lease.release_schema());
        Ok(lease)
    }

    /// Lends nothing more; connections close as they come back.
    pub(super) async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.0.lock_idle());
        for conn in idle {
            if let Err(error) = sqlx::Connection::close(conn.raw).await {
                tracing::warn!(%error, "closing a database connection failed");
            }
        }
    }
}

impl Inner {
    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Conn>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, conn: Conn) {
        if !self.permits.is_closed() {
            self.lock_idle().push(conn);
        }
    }
}

/// A connection until it is dropped. Dropped in the middle of something, the
/// connection is stopped and rolled back before the next caller has it.
pub(super) struct Lease {
    held: Option<(Conn, OwnedSemaphorePermit)>,
    pool: Arc<Inner>,
    /// Keeps the schema as the connection knows it.
    shape: Option<OwnedRwLockReadGuard<u64>>,
}

impl Lease {
    pub(super) fn conn(&mut self) -> Result<&mut Conn> {
        // Only dropping takes it out.
        self.held.as_mut().map(|(conn, _)| conn).ok_or_else(closed)
    }

    /// For those whose view of the schema is fixed by other means.
    pub(super) fn release_schema(&mut self) -> Option<OwnedRwLockReadGuard<u64>> {
        self.shape.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((conn, permit)) = self.held.take() else { return };
        if conn.is_clean() {
            self.pool.give_back(conn);
            drop(permit);
        } else {
            // Seen by SQLite before the cleaner's first turn.
            conn.control.cancel();
            let pool = Arc::clone(&self.pool);
            self.pool.tasks.tracker.spawn_on(clean(pool, conn, permit), &self.pool.tasks.runtime);
        }
    }
}

async fn clean(pool: Arc<Inner>, mut conn: Conn, permit: OwnedSemaphorePermit) {
    match tokio::time::timeout(CLEAN_TIMEOUT, conn.reset()).await {
        Ok(Ok(())) => pool.give_back(conn),
        Ok(Err(error)) => tracing::warn!(%error, "a database connection is replaced"),
        Err(_) => tracing::warn!("a database connection hangs and is replaced"),
    }
    drop(permit);
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "database.acquire", "the database is closed")
}
