//! Connections lent one by one; what comes back unclean is cleaned first.
//!
//! Not SQLx's pool: a connection here may come back in the middle of a statement
//! or a transaction, and must be free of both before the next caller has it,
//! without anybody waiting for that. Each database lends at most its share, and
//! all of them together at most what the host may open.

use super::conn::Conn;
use crate::postgres::map_error;
use plinth_capability::{Error, ErrorKind, Result};
use sqlx::{PgPool, postgres::PgConnectOptions};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::task::TaskTracker;

/// How long a connection may take to become clean; then it is replaced.
const CLEAN_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that rested longer is looked at before it is lent.
const TRUSTED: Duration = Duration::from_secs(2);
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection cleaned this often is replaced: what was cut off leaves prepared statements behind.
const RESETS_MAX: u32 = 50;

/// Where tasks of the databases run: cleaners, timers and the relay.
#[derive(Debug, Clone)]
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) runtime: Handle,
}

/// The connections of all databases of this host.
pub(super) struct House {
    /// To cancel what runs on the others.
    pub(super) admin: PgPool,
    pub(super) tasks: Tasks,
    places: Arc<Semaphore>,
    /// Waiting for a place: who comes back with a connection gives it up.
    waiting: AtomicUsize,
    // A std mutex: held to push or take one out, never across an await.
    resting: Mutex<Resting>,
}

#[derive(Default)]
struct Resting {
    /// Those that rest longest first.
    conns: Vec<(Arc<str>, Conn, Instant)>,
    /// Something broke then: what rested before is looked at before it is lent.
    broke: Option<Instant>,
    closed: bool,
}

impl House {
    pub(super) fn new(admin: PgPool, tasks: Tasks, most: u32) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(most.max(1) as usize));
        Arc::new(Self { admin, tasks, places, waiting: AtomicUsize::new(0), resting: Mutex::default() })
    }

    /// Lends nothing that rested before; connections close as they come back.
    pub(super) async fn close(&self) {
        self.places.close();
        let conns = {
            let mut resting = self.resting();
            resting.closed = true;
            std::mem::take(&mut resting.conns)
        };
        for (_, conn, _) in conns {
            if let Err(error) = sqlx::Connection::close(conn.raw).await {
                tracing::debug!(%error, "closing a database connection failed");
            }
        }
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest of this role, and whether it is to be looked at first.
    fn take(&self, role: &str) -> Option<(Conn, bool)> {
        let mut resting = self.resting();
        let found = resting.conns.iter().rposition(|(name, ..)| **name == *role)?;
        let (_, conn, since) = resting.conns.remove(found);
        let doubted = since.elapsed() > TRUSTED || resting.broke.is_some_and(|broke| since <= broke);
        Some((conn, doubted))
    }

    fn give_back(&self, role: &Arc<str>, conn: Conn) {
        if conn.resets > RESETS_MAX || self.waiting.load(SeqCst) > 0 {
            return;
        }
        let mut resting = self.resting();
        if !resting.closed {
            resting.conns.push((Arc::clone(role), conn, Instant::now()));
        }
    }

    /// A place for one more connection; the longest resting one makes room.
    async fn place(&self, until: Instant) -> Result<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::new(&self.waiting);
        let oldest = {
            let mut resting = self.resting();
            if resting.conns.is_empty() { None } else { Some(resting.conns.remove(0)) }
        };
        drop(oldest);
        let place = timeout_at(until, Arc::clone(&self.places).acquire_owned()).await.map_err(|_| busy())?;
        place.map_err(|_| closed())
    }

    async fn clean(self: Arc<Self>, role: Arc<str>, mut conn: Conn, permit: OwnedSemaphorePermit) {
        let pid = conn.pid;
        let cleaned = timeout(CLEAN_TIMEOUT, async {
            if conn.busy {
                sqlx::query("SELECT pg_cancel_backend($1)").bind(pid).execute(&self.admin).await?;
            }
            conn.reset().await
        });
        match cleaned.await {
            Ok(Ok(())) => self.give_back(&role, conn),
            failed => {
                tracing::warn!(?failed, "a database connection is replaced");
                drop(conn);
                let end = sqlx::query("SELECT pg_terminate_backend($1)").bind(pid);
                if !matches!(timeout(CLEAN_TIMEOUT, end.execute(&self.admin)).await, Ok(Ok(_))) {
                    tracing::warn!("the server may still work for a connection that was replaced");
                }
            }
        }
        drop(permit);
    }
}

/// Counts itself as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// The connections of one role.
pub(super) struct Pool {
    pub(super) house: Arc<House>,
    pub(super) role: Arc<str>,
    pub(super) options: PgConnectOptions,
    /// What `options` set the session's statement timeout to.
    pub(super) statement_ms: u32,
    /// Shared by the roles of one database. Fair: whoever asks first is served first.
    pub(super) share: Arc<Semaphore>,
}

impl Pool {
    /// Waits in line for a connection, at most `wait`.
    pub(super) async fn acquire(&self, wait: Duration) -> Result<Lease> {
        let until = Instant::now() + wait;
        let permit = timeout_at(until, Arc::clone(&self.share).acquire_owned()).await.map_err(|_| busy())?;
        let permit = permit.map_err(|_| closed())?;
        let conn = self.conn(until).await?;
        Ok(Lease { held: Some((conn, permit)), house: Arc::clone(&self.house), role: Arc::clone(&self.role) })
    }

    async fn conn(&self, until: Instant) -> Result<Conn> {
        while let Some((mut conn, doubted)) = self.house.take(&self.role) {
            if !doubted || matches!(timeout(LOOK_TIMEOUT, sqlx::Connection::ping(&mut conn.raw)).await, Ok(Ok(()))) {
                return Ok(conn);
            }
        }
        let place = self.house.place(until).await?;
        let late = |_| Error::new(ErrorKind::Unavailable, "database.acquire", "the database does not answer");
        let opened = timeout(CONNECT_TIMEOUT, Conn::open(&self.options, self.statement_ms, place)).await.map_err(late)?;
        opened.map_err(|e| map_error("database.acquire", e))
    }
}

/// A connection until it is dropped. Dropped in the middle of something, the
/// connection is stopped and rolled back before the next caller has it.
pub(super) struct Lease {
    held: Option<(Conn, OwnedSemaphorePermit)>,
    house: Arc<House>,
    role: Arc<str>,
}

impl Lease {
    pub(super) fn conn(&mut self) -> Result<&mut Conn> {
        // Only dropping takes it out.
        self.held.as_mut().map(|(conn, _)| conn).ok_or_else(closed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((conn, permit)) = self.held.take() else { return };
        if conn.is_clean() {
            self.house.give_back(&self.role, conn);
        } else if conn.broken {
            self.house.resting().broke = Some(Instant::now());
        } else {
            let clean = Arc::clone(&self.house).clean(Arc::clone(&self.role), conn, permit);
            self.house.tasks.tracker.spawn_on(clean, &self.house.tasks.runtime);
        }
    }
}

fn busy() -> Error {
    Error::new(ErrorKind::Conflict, "database.acquire", "the database is busy")
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "database.acquire", "the database is closed")
}
