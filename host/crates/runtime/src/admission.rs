//! Who may start now: a bounded queue per plugin and one over all, so that overload is refused early.

use crate::outcome::Failure;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// `running` calls at once, `waiting` more in line, each for at most `wait`.
pub(crate) struct Admission {
    what: &'static str,
    slots: Arc<Semaphore>,
    line: AtomicU32,
    waiting: u32,
    wait: Duration,
}

/// Leaves the line however the wait ends.
struct InLine<'a>(&'a AtomicU32);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(what: &'static str, running: u32, waiting: u32, wait: Duration) -> Self {
        Self { what, slots: Arc::new(Semaphore::new(running as usize)), line: AtomicU32::new(0), waiting, wait }
    }

    /// First come, first served. Cancel safe: dropping the future leaves the line.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(permit) = self.slots.clone().try_acquire_owned() {
            return Ok(permit);
        }
        if self.line.fetch_add(1, Ordering::Relaxed) >= self.waiting {
            self.line.fetch_sub(1, Ordering::Relaxed);
            return Err(self.refused("is full"));
        }
        let _in_line = InLine(&self.line);
        match tokio::time::timeout(self.wait, self.slots.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(Failure::unavailable("the host is stopping")),
            Err(_elapsed) => Err(self.refused("did not move in time")),
        }
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::Unavailable { why: format!("the line of {} {why}", self.what), retry_after: Some(self.wait.max(Duration::from_secs(1))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_line_is_bounded_in_length_and_time() {
        let admission = Arc::new(Admission::new("this plugin", 1, 1, Duration::from_millis(50)));
        let first = admission.enter().await.unwrap();
        let second = tokio::task::JoinSet::from_iter([{
            let admission = admission.clone();
            async move { admission.enter().await.map(drop) }
        }]);
        tokio::task::yield_now().await;
        let full = admission.enter().await.unwrap_err();
        assert!(full.to_string().contains("is full"), "{full}");
        assert!(matches!(full, Failure::Unavailable { retry_after: Some(_), .. }));
        let waited = second.join_all().await;
        assert!(matches!(&waited[..], [Err(Failure::Unavailable { .. })]), "{waited:?}");
        drop(first);
        assert!(admission.enter().await.is_ok());
        assert_eq!(admission.line.load(Ordering::Relaxed), 0);
    }
}
