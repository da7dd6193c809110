//! Appends of many callers in one statement: who comes while others are being stored goes with the next ones.

use super::append::append;
use crate::{audit::Encoded, postgres::map_error};
use plinth_capability::{Error, ErrorKind, Result, audit::Receipt};
use sqlx::{PgPool, Postgres, pool::PoolConnection};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Statements on their way at once: one waits at the server for the end of the log while the other commits.
const STATEMENTS: usize = 2;
/// A statement takes no more calls once it has so many records or bytes.
const RECORDS: usize = 1_024;
const BYTES: usize = 4 << 20;
/// Calls that may wait; who comes then waits outside.
const WAITING: usize = 1_024;

struct Call {
    encoded: Vec<Encoded>,
    answer: oneshot::Sender<Result<Vec<Receipt>>>,
}

/// Ends with what was given to it once it is closed or dropped.
pub(super) struct Batcher {
    calls: mpsc::Sender<Call>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Batcher {
    pub(super) fn start(pool: &PgPool) -> Self {
        let (calls, waiting) = mpsc::channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for _ in 0..STATEMENTS {
            tasks.spawn(work(pool.clone(), waiting.clone(), stop.clone()));
        }
        tasks.close();
        Self { calls, stop, tasks }
    }

    /// Stores what waits and takes nothing more.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// All of a call are in one statement, in their order. Dropped, it may still be stored.
    pub(super) async fn append(&self, encoded: Vec<Encoded>) -> Result<Vec<Receipt>> {
        let (answer, answered) = oneshot::channel();
        let closed = || Error::new(ErrorKind::Unavailable, "audit.append", "the log is closed");
        self.calls.send(Call { encoded, answer }).await.map_err(|_| closed())?;
        let lost = || Error::new(ErrorKind::OutcomeUnknown, "audit.append", "the log was closed meanwhile");
        answered.await.map_err(|_| lost())?
    }
}

async fn work(pool: PgPool, waiting: Arc<Mutex<mpsc::Receiver<Call>>>, stop: CancellationToken) {
    // Kept from one statement to the next, so that it is not looked for and tested each time.
    let mut connection = None;
    loop {
        let mut calls = waiting.lock().await;
        let first = match calls.try_recv() {
            Ok(first) => Some(first),
            Err(_) => {
                connection = None;
                match stop.run_until_cancelled(calls.recv()).await {
                    Some(first) => first,
                    None => {
                        calls.close();
                        calls.recv().await
                    }
                }
            }
        };
        let Some(first) = first else { return };
        let batch = with_more(first, &mut calls);
        drop(calls);
        connection = store(&pool, connection, batch).await;
    }
}

/// Who waits already goes along.
fn with_more(first: Call, calls: &mut mpsc::Receiver<Call>) -> Vec<Call> {
    let size = |call: &Call| call.encoded.iter().fold((call.encoded.len(), 0), |(n, bytes), one| (n, bytes + one.bytes.len()));
    let (mut records, mut bytes) = size(&first);
    let mut batch = vec![first];
    while records < RECORDS
        && bytes < BYTES
        && let Ok(call) = calls.try_recv()
    {
        let (more, longer) = size(&call);
        (records, bytes) = (records + more, bytes + longer);
        batch.push(call);
    }
    batch
}

/// Answers every caller; the connection, if it can be used again.
async fn store(pool: &PgPool, held: Option<PoolConnection<Postgres>>, batch: Vec<Call>) -> Option<PoolConnection<Postgres>> {
    let mut connection = match held {
        Some(connection) => connection,
        None => match pool.acquire().await {
            Ok(connection) => connection,
            Err(error) => {
                refuse(batch.into_iter().map(|call| call.answer).collect(), map_error("audit.append", error));
                return None;
            }
        },
    };
    let mut encoded = Vec::new();
    let mut answers = Vec::new();
    for call in batch {
        answers.push((call.encoded.len(), call.answer));
        encoded.extend(call.encoded);
    }
    match append(&mut connection, &encoded).await {
        Ok(receipts) => {
            let mut receipts = receipts.into_iter();
            for (count, answer) in answers {
                // Who has gone needs no receipt.
                let _ = answer.send(Ok(receipts.by_ref().take(count).collect()));
            }
            Some(connection)
        }
        Err(error) => {
            refuse(answers.into_iter().map(|(_, answer)| answer).collect(), error);
            None
        }
    }
}

/// What went wrong did so for all of them.
fn refuse(mut answers: Vec<oneshot::Sender<Result<Vec<Receipt>>>>, error: Error) {
    let last = answers.pop();
    let (kind, operation, message) = (error.kind(), error.operation(), error.message().to_owned());
    for answer in answers {
        let _ = answer.send(Err(Error::new(kind, operation, message.clone())));
    }
    if let Some(last) = last {
        let _ = last.send(Err(error));
    }
}
