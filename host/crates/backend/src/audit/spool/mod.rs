//! The spool: records that may come later wait on this host's disk while the log's database is away.
//!
//! A writer says of a record whether it may be deferred. If the log cannot take
//! it, it goes to a file (`store.rs`, `frame.rs`), and is confirmed once the disk
//! has it (`disk.rs`); who comes meanwhile shares the sync. When the log answers
//! again, `drain.rs` appends what waits, oldest first. Records keep their ids, so
//! that one whose first append got no answer, or that is drained twice because of
//! a crash, is in the log once.

mod disk;
mod drain;
mod frame;
#[cfg(test)]
mod sim;
mod store;
#[cfg(test)]
mod tests;

use super::encode;
use async_trait::async_trait;
use disk::Folder;
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, Deferred, Receipt, StoredRecord},
    now_ms,
};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::{Refused, Store};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const OPERATION: &str = "audit.defer";
/// The log gets so long to take a record before that goes to the spool.
const TRY: Duration = Duration::from_secs(2);
/// Calls that share a sync, and that may wait for one.
const TOGETHER: usize = 256;
const WAITING: usize = 1_024;

/// What waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spooled {
    pub records: u64,
    pub bytes: u64,
    /// Files with what was damaged, or what the log refused, that somebody has to look at.
    pub kept: u64,
}

struct Put {
    records: Vec<Vec<u8>>,
    answer: oneshot::Sender<Result<()>>,
}

/// The store is held while the disk works; what waits can be asked meanwhile.
struct Shared {
    store: Mutex<Store<Folder>>,
    standing: Mutex<Spooled>,
}

impl Shared {
    fn new(store: Store<Folder>) -> Self {
        Self { standing: Mutex::new(store.standing()), store: Mutex::new(store) }
    }

    /// Blocks for as long as the disk takes. What failed does not hold the store in the middle of a change of memory.
    fn work<T>(&self, work: impl FnOnce(&mut Store<Folder>) -> T) -> T {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut store);
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = store.standing();
        done
    }

    /// Does not wait for the disk.
    fn standing(&self) -> Spooled {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An audit log that defers to this host's disk what may come later.
pub struct SpooledAudit {
    log: Arc<dyn AuditLog>,
    store: Arc<Shared>,
    puts: mpsc::Sender<Put>,
    /// Something waits.
    wake: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl SpooledAudit {
    /// Finds what waited when the process ended; `run` brings it to the log.
    ///
    /// `folder` is this host's alone and made if it is not there; what waits in it has at most `bytes_max`.
    pub fn open(log: Arc<dyn AuditLog>, folder: &Path, bytes_max: u64) -> Result<Self> {
        let store = Folder::open(folder).and_then(|folder| Store::open(folder, bytes_max));
        let unusable = |e| Error::new(ErrorKind::Failed, "audit.spool", format!("the spool cannot be used: {e}"));
        let store = Arc::new(Shared::new(store.map_err(unusable)?));
        let (puts, waiting) = mpsc::channel(WAITING);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(write(store.clone(), waiting, stop.clone()));
        tasks.close();
        Ok(Self { log, store, puts, wake: Notify::new(), stop, tasks })
    }

    /// Writes what was accepted and takes nothing more; the folder is free once this is dropped.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// What waits now.
    pub fn spooled(&self) -> Spooled {
        self.store.standing()
    }

    /// On the disk when it is answered, all or none.
    async fn put(&self, records: Vec<Vec<u8>>) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let closed = || Error::new(ErrorKind::Unavailable, OPERATION, "the spool is closed");
        self.puts.send(Put { records, answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())??;
        self.wake.notify_one();
        Ok(())
    }
}

/// Writes what waits together, so that a hundred callers wait for about one sync.
async fn write(store: Arc<Shared>, mut waiting: mpsc::Receiver<Put>, stop: CancellationToken) {
    let mut puts = Vec::new();
    loop {
        if stop.run_until_cancelled(waiting.recv_many(&mut puts, TOGETHER)).await.is_none() {
            waiting.close();
            waiting.recv_many(&mut puts, TOGETHER).await;
        }
        if puts.is_empty() {
            return;
        }
        let (records, answers): (Vec<_>, Vec<_>) = puts.drain(..).map(|put| (put.records, put.answer)).unzip();
        let store = store.clone();
        let done = tokio::task::spawn_blocking(move || store.work(|store| store.put(&records.concat()))).await;
        let told = match done {
            Ok(Ok(())) => None,
            Ok(Err(Refused::Full)) => Some((ErrorKind::LimitExceeded, "the log is away, and the spool is full".to_owned())),
            Ok(Err(Refused::Io(error))) => {
                tracing::error!(%error, "the spool of the audit log cannot be written");
                Some((ErrorKind::Unavailable, "the log is away, and the spool cannot be written".to_owned()))
            }
            Err(_) => Some((ErrorKind::Internal, "the spool has failed".to_owned())),
        };
        for answer in answers {
            // Who has gone needs no answer.
            let _ = answer.send(told.clone().map_or(Ok(()), |(kind, why)| Err(Error::new(kind, OPERATION, why))));
        }
    }
}

/// Whether the log may take it later what it did not take now.
fn passes(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::OutcomeUnknown)
}

#[async_trait]
impl AuditLog for SpooledAudit {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        self.log.append(records).await
    }

    async fn defer(&self, mut records: Vec<AuditRecord>) -> Result<Vec<Deferred>> {
        // What the log would refuse is refused at once.
        encode(records.clone())?;
        if self.spooled().records == 0 {
            match tokio::time::timeout(TRY, self.log.append(records.clone())).await {
                Ok(Ok(receipts)) => return Ok(receipts.into_iter().map(Deferred::Stored).collect()),
                Ok(Err(error)) if !passes(&error) => return Err(error),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let now = now_ms();
        records.iter_mut().for_each(|record| record.spooled_at_ms = Some(now));
        let told =
            records.iter().map(|record| Deferred::Spooled { id: record.id.clone(), recorded_at_ms: record.recorded_at_ms }).collect();
        self.put(encode(records)?.into_iter().map(|one| one.bytes).collect()).await?;
        Ok(told)
    }

    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        self.log.find(filter, cursor, limit).await
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        self.log.record(id).await
    }

    async fn count(&self) -> Result<u64> {
        self.log.count().await
    }

    async fn health(&self) -> Result<()> {
        self.log.health().await?;
        match self.spooled().kept {
            0 => Ok(()),
            kept => Err(Error::new(ErrorKind::Failed, "audit.health", format!("{kept} files of the spool have to be looked at"))),
        }
    }
}
