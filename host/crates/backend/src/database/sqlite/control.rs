//! What the callbacks of one connection look at: its deadline, and whose statement runs.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

/// No statement runs, or one of the host without a limit.
const NONE: u64 = u64::MAX;

/// Written by the task that holds the connection, read by SQLite's thread.
#[derive(Debug)]
pub(super) struct Control {
    base: Instant,
    /// Nanoseconds after `base`.
    deadline: AtomicU64,
    guest: AtomicBool,
}

impl Control {
    pub(super) fn new() -> Self {
        Self { base: Instant::now(), deadline: AtomicU64::new(NONE), guest: AtomicBool::new(false) }
    }

    /// From now on statements are a guest's, and are interrupted after `timeout`.
    pub(super) fn arm(&self, timeout: Duration) {
        let nanos = (self.base.elapsed() + timeout).as_nanos();
        self.deadline.store(u64::try_from(nanos).unwrap_or(NONE), SeqCst);
        self.guest.store(true, SeqCst);
    }

    /// Interrupts what runs.
    pub(super) fn cancel(&self) {
        self.deadline.store(0, SeqCst);
    }

    /// From now on statements are the host's.
    pub(super) fn rest(&self) {
        self.deadline.store(NONE, SeqCst);
        self.guest.store(false, SeqCst);
    }

    pub(super) fn is_guest(&self) -> bool {
        self.guest.load(SeqCst)
    }

    /// Asked by SQLite between steps.
    pub(super) fn may_go_on(&self) -> bool {
        let deadline = self.deadline.load(SeqCst);
        deadline == NONE || self.base.elapsed().as_nanos() < u128::from(deadline)
    }
}
