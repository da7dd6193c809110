//! Holds plugins at a capability call until a test lets them on.

use futures::future::BoxFuture;
use plinth::runtime::{Fault, Faults, Operation};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// Open at first. Closed, every call of one capability waits at it, and the
/// plugin with it, until its own limits.
pub struct Gate {
    capability: &'static str,
    open: watch::Sender<bool>,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    pub fn at(capability: &'static str) -> Self {
        Self { capability, open: watch::Sender::new(true), waiting: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Calls that stand at the gate now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Calls that stood there at once at most.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// One call at the gate, until it goes on or its plugin is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Faults for Gate {
    fn before(&self, operation: Operation) -> BoxFuture<'_, Option<Fault>> {
        Box::pin(async move {
            if operation.capability == self.capability {
                let now = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                let _waiting = Waiting(&self.waiting);
                // The sender is ours, so this ends only with an open gate.
                let mut open = self.open.subscribe();
                let _open = open.wait_for(|open| *open).await;
            }
            None
        })
    }
}
