//! Counts the calls running on one version, so that drain knows when the last has ended.

use plinth_capability::metrics::Instrument;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::Notify;

#[derive(Clone)]
pub(crate) struct Live(Arc<Shared>);

struct Shared {
    count: AtomicU64,
    empty: Notify,
    gauge: Arc<dyn Instrument>,
}

impl Live {
    pub(crate) fn new(gauge: Arc<dyn Instrument>) -> Self {
        Self(Arc::new(Shared { count: AtomicU64::new(0), empty: Notify::new(), gauge }))
    }

    /// Counts before the caller looks at the snapshot again. The one who swaps
    /// stores the snapshot before it looks at the count. So of the two at least
    /// one sees the other: no call starts on a version that counts as drained.
    pub(crate) fn enter(&self) -> LiveCall {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.gauge.add(1.0);
        LiveCall(self.clone())
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Returns when no call is live. Cancel safe.
    pub(crate) async fn drained(&self) {
        loop {
            let empty = self.0.empty.notified();
            if self.count() == 0 {
                return;
            }
            empty.await;
        }
    }
}

/// One running call; counted until it is dropped.
pub(crate) struct LiveCall(Live);

impl Drop for LiveCall {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.gauge.add(-1.0);
        if shared.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            shared.empty.notify_waiters();
        }
    }
}
