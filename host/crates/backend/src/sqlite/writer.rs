//! The one task that writes a SQLite file: what waits is committed together.
//!
//! A commit costs an fsync, whatever it holds. While one runs, further work
//! queues up and shares the next, so a lone writer waits for one fsync and a
//! hundred writers also wait for about one.

use super::{SqliteFile, map_error};
use async_trait::async_trait;
use futures::future::BoxFuture;
use plinth_capability::{Error, ErrorKind, Result};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Units in one transaction, so that the first of them does not wait for long.
const BATCH_MAX: usize = 256;
/// Units that wait for the task; whoever comes later waits to be let in.
const WAITING_MAX: usize = 1_024;

/// Why a unit did not happen.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It may not; it has changed nothing, and its neighbours are not touched.
    Refused(Error),
    /// The database failed: the transaction is rolled back with all that is in it.
    Broken(Error),
}

/// What the writing task remembers from unit to unit.
pub(crate) trait Memory: Send + 'static {
    /// The transaction ended. Waiters may be told what was committed; what was
    /// learnt in a transaction that was rolled back must be forgotten.
    fn ended(&mut self, committed: bool);
}

/// The handle of the task; the task ends when the handle is closed or dropped.
pub(crate) struct Writer<M> {
    units: mpsc::Sender<Box<dyn Unit<M>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<M: Memory> Writer<M> {
    /// `connection` writes to `file`; it is replaced if it breaks.
    pub(crate) fn start(file: SqliteFile, connection: SqliteConnection, memory: M) -> Self {
        let (units, waiting) = mpsc::channel(WAITING_MAX);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let task = Task { file, connection: Some(connection), memory, waiting, stop: stop.clone() };
        tasks.spawn(task.run());
        tasks.close();
        Self { units, stop, tasks }
    }

    /// Runs `work` in a transaction, and answers when it is committed. `work`
    /// may run even if this future is dropped.
    pub(crate) async fn run<T, W>(&self, operation: &'static str, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut M, &'a mut SqliteConnection) -> BoxFuture<'a, Result<T, Fault>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let unit = Box::new(Call { operation, work: Some(work), outcome: None, reply });
        let closed = || Error::new(ErrorKind::Unavailable, operation, "the storage is closed");
        self.units.send(unit).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Ends when the writer is being closed.
    pub(crate) async fn closing(&self) {
        self.stop.cancelled().await;
    }

    /// Commits what waits, lets nothing more in and closes the file.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

struct Task<M> {
    file: SqliteFile,
    connection: Option<SqliteConnection>,
    memory: M,
    waiting: mpsc::Receiver<Box<dyn Unit<M>>>,
    stop: CancellationToken,
}

impl<M: Memory> Task<M> {
    async fn run(mut self) {
        let stop = self.stop.clone();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
                count = self.waiting.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        break;
                    }
                    self.commit(&mut batch).await;
                    // Those just answered often come back at once: let them, so that
                    // they share the next commit instead of half of them missing it.
                    tokio::task::yield_now().await;
                }
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing a database file failed");
        }
    }

    async fn commit(&mut self, batch: &mut Vec<Box<dyn Unit<M>>>) {
        // Nobody waits any more, and nothing has happened yet.
        batch.retain(|unit| !unit.is_abandoned());
        let end = self.transact(batch).await;
        self.memory.ended(end.is_ok());
        if let Err(error) = &end {
            tracing::warn!(error = %error, units = batch.len(), "a write transaction was rolled back");
            // Whatever state it is in, a fresh one is better.
            self.connection = None;
        }
        for unit in batch.drain(..) {
            unit.answer(end.as_ref().err());
        }
    }

    async fn transact(&mut self, batch: &mut [Box<dyn Unit<M>>]) -> Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.file.writer_connection().await?),
        };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|e| map_error("sqlite.begin", e))?;
        for unit in batch {
            unit.run(&mut self.memory, &mut transaction).await?;
        }
        transaction.commit().await.map_err(|e| {
            let mapped = map_error("sqlite.commit", e);
            match mapped.kind() {
                ErrorKind::Conflict => mapped,
                // The failed write may still reach the disk.
                _ => Error::new(ErrorKind::OutcomeUnknown, "sqlite.commit", "the commit was not confirmed").with_source(mapped),
            }
        })
    }
}

#[async_trait]
trait Unit<M>: Send {
    fn is_abandoned(&self) -> bool;
    /// `Err` is a broken transaction.
    async fn run(&mut self, memory: &mut M, connection: &mut SqliteConnection) -> Result<()>;
    fn answer(self: Box<Self>, broken: Option<&Error>);
}

struct Call<T, W> {
    operation: &'static str,
    work: Option<W>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

#[async_trait]
impl<M, T, W> Unit<M> for Call<T, W>
where
    M: Memory,
    T: Send + 'static,
    W: for<'a> FnOnce(&'a mut M, &'a mut SqliteConnection) -> BoxFuture<'a, Result<T, Fault>> + Send + 'static,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    async fn run(&mut self, memory: &mut M, connection: &mut SqliteConnection) -> Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match work(memory, connection).await {
            Ok(value) => self.outcome = Some(Ok(value)),
            Err(Fault::Refused(error)) => self.outcome = Some(Err(error)),
            Err(Fault::Broken(error)) => return Err(error),
        }
        Ok(())
    }

    fn answer(self: Box<Self>, broken: Option<&Error>) {
        let outcome = match (broken, self.outcome) {
            (Some(error), _) => Err(Error::new(error.kind(), self.operation, error.message())),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(Error::new(ErrorKind::Internal, self.operation, "was not run")),
        };
        // The caller may have gone; the contract says that this is allowed.
        drop(self.reply.send(outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Durability;
    use futures::FutureExt;
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    #[derive(Clone, Default)]
    struct Commits(Arc<AtomicU64>, Arc<AtomicU64>);

    impl Memory for Commits {
        fn ended(&mut self, committed: bool) {
            let count = if committed { &self.0 } else { &self.1 };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn writer() -> (Writer<Commits>, Commits, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let file = SqliteFile::open(&dir.path().join("w.db"), Durability::Process).await.unwrap();
        let mut connection = file.writer_connection().await.unwrap();
        sqlx::raw_sql("CREATE TABLE t (n INTEGER PRIMARY KEY)").execute(&mut connection).await.unwrap();
        let commits = Commits::default();
        (Writer::start(file, connection, commits.clone()), commits, dir)
    }

    async fn insert(writer: &Writer<Commits>, n: i64) -> Result<()> {
        writer.run("test.insert", move |_, connection| put(connection, n).boxed()).await
    }

    async fn put(connection: &mut SqliteConnection, n: i64) -> Result<(), Fault> {
        if n < 0 {
            return Err(Fault::Refused(Error::new(ErrorKind::InvalidInput, "test.insert", "negative")));
        }
        let insert = sqlx::query("INSERT INTO t VALUES (?1)").bind(n).execute(connection).await;
        insert.map(drop).map_err(|e| Fault::Broken(map_error("test.insert", e)))
    }

    async fn rows(writer: &Writer<Commits>) -> Vec<i64> {
        writer.run("test.rows", |_, connection| all(connection).boxed()).await.unwrap()
    }

    async fn all(connection: &mut SqliteConnection) -> Result<Vec<i64>, Fault> {
        let rows = sqlx::query_scalar("SELECT n FROM t ORDER BY n").fetch_all(connection).await;
        rows.map_err(|e| Fault::Broken(map_error("test.rows", e)))
    }

    #[tokio::test]
    async fn what_waits_shares_a_commit() {
        let (writer, commits, _dir) = writer().await;
        let inserted = futures::future::join_all((0..100).map(|n| insert(&writer, n))).await;
        assert!(inserted.iter().all(Result::is_ok));
        assert_eq!(commits.0.load(Ordering::Relaxed), 1, "all were there before the task ran");
        assert_eq!(rows(&writer).await.len(), 100);
    }

    #[tokio::test]
    async fn a_refusal_is_alone_and_a_failure_is_shared() {
        let (writer, commits, _dir) = writer().await;
        let (a, refused, b) = tokio::join!(insert(&writer, 1), insert(&writer, -1), insert(&writer, 2));
        assert!(a.is_ok() && b.is_ok());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (c, repeat, d) = tokio::join!(insert(&writer, 3), insert(&writer, 1), insert(&writer, 4));
        assert!(c.is_err() && repeat.is_err() && d.is_err());
        assert_eq!(commits.1.load(Ordering::Relaxed), 1);
        assert_eq!(rows(&writer).await, [1, 2], "the transaction was rolled back whole");
        insert(&writer, 5).await.unwrap();
        assert_eq!(rows(&writer).await, [1, 2, 5], "and the writer goes on");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let (writer, _, _dir) = writer().await;
        // Sent by the first poll, dropped before the task had its turn.
        assert!(insert(&writer, 1).now_or_never().is_none());
        insert(&writer, 2).await.unwrap();
        assert_eq!(rows(&writer).await, [2]);
    }

    #[tokio::test]
    async fn closing_commits_what_was_accepted() {
        let (writer, _, dir) = writer().await;
        let (accepted, ()) = tokio::join!(insert(&writer, 1), writer.close());
        accepted.unwrap();
        assert_eq!(insert(&writer, 2).await.unwrap_err().kind(), ErrorKind::Unavailable);
        // Closed properly: the log is checkpointed and gone.
        assert!(!dir.path().join("w.db-wal").exists());
    }
}
