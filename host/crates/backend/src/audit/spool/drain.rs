//! What waits comes to the log once that answers again, oldest first.

use super::{SpooledAudit, passes};
use plinth_capability::{Error, ErrorKind, Result, audit::AuditRecord};
use std::{io, time::Duration};
use tokio_util::sync::CancellationToken;

/// Records of one append.
const TOGETHER: usize = 256;
/// Between two tries while the log is away.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

impl SpooledAudit {
    /// Drains until told to stop; what is left then is drained after the next start.
    pub async fn run(&self, stop: CancellationToken) {
        let mut pause = PAUSE;
        loop {
            let wait = match self.drain().await {
                Ok(0) => {
                    pause = PAUSE;
                    None
                }
                Ok(records) => {
                    tracing::info!(records, "what waited for the audit log is in it");
                    pause = PAUSE;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "what waits for the audit log has to wait longer");
                    pause = (pause * 2).min(PAUSE_MAX);
                    Some(pause)
                }
            };
            let awake = async {
                match wait {
                    None => self.wake.notified().await,
                    Some(pause) => tokio::time::sleep(pause).await,
                }
            };
            if stop.run_until_cancelled(awake).await.is_none() {
                return;
            }
        }
    }

    /// Brings the oldest file that has records into the log; how many it had, 0 if nothing waits.
    pub async fn drain(&self) -> Result<usize> {
        while let Some((number, records)) = self.on_disk(|store| store.oldest()).await? {
            let mut refused = Vec::new();
            for some in records.chunks(TOGETHER) {
                self.append_some(some, &mut refused).await?;
            }
            if !refused.is_empty() {
                tracing::error!(records = refused.len(), "the audit log refuses what has waited for it; it is kept in the spool");
                self.on_disk(move |store| store.set_aside(number, &refused)).await?;
            }
            self.on_disk(move |store| store.done(number)).await?;
            // A file of which nothing was confirmed may be empty, and others wait behind it.
            if !records.is_empty() {
                return Ok(records.len());
            }
        }
        Ok(0)
    }

    /// One by one if it does not take them together.
    async fn append_some(&self, some: &[Vec<u8>], refused: &mut Vec<Vec<u8>>) -> Result<()> {
        let parsed: Option<Vec<AuditRecord>> = some.iter().map(|bytes| serde_json::from_slice(bytes).ok()).collect();
        if let Some(parsed) = parsed {
            match self.log.append(parsed).await {
                Ok(_) => return Ok(()),
                Err(error) if refuses(&error) => {}
                Err(error) => return Err(error),
            }
        }
        for bytes in some {
            let taken = match serde_json::from_slice::<AuditRecord>(bytes) {
                Ok(record) => self.log.append(vec![record]).await.map(drop),
                Err(_) => Err(Error::new(ErrorKind::InvalidInput, "audit.spool", "this is no record")),
            };
            match taken {
                Ok(()) => {}
                Err(error) if refuses(&error) => refused.push(bytes.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut super::Store<super::Folder>) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || store.work(work)).await;
        let failed = |e: io::Error| Error::new(ErrorKind::Unavailable, "audit.spool", "the spool cannot be read or changed").with_source(e);
        done.map_err(io::Error::other).and_then(|done| done).map_err(failed)
    }
}

/// Whether it will never be otherwise.
fn refuses(error: &Error) -> bool {
    !passes(error) && matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::LimitExceeded)
}
