//! Where a transaction keeps its connection between two calls.

use plinth_capability::{Error, ErrorKind, Result};
use std::{
    mem,
    sync::{Mutex, PoisonError},
};

/// The lease is out while a call runs. A call that is dropped drops the lease
/// with it, which rolls back; so does the timer, for a guest that never calls again.
pub(super) struct Slot<L>(Mutex<SlotState<L>>);

pub(super) enum SlotState<L> {
    Open(L),
    /// In the hands of a call, or gone with it.
    Taken,
    Ended,
    Expired,
}

impl<L> Slot<L> {
    pub(super) fn new(lease: L) -> Self {
        Self(Mutex::new(SlotState::Open(lease)))
    }

    /// A lease that was in it is dropped, and with it what was open.
    pub(super) fn set(&self, next: SlotState<L>) {
        drop(self.swap(next));
    }

    fn swap(&self, next: SlotState<L>) -> SlotState<L> {
        // Held for a swap, never across an await.
        mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), next)
    }

    pub(super) fn take(&self) -> Result<L> {
        match self.swap(SlotState::Taken) {
            SlotState::Open(lease) => Ok(lease),
            SlotState::Expired => {
                self.swap(SlotState::Expired);
                Err(expired())
            }
            SlotState::Taken | SlotState::Ended => {
                self.swap(SlotState::Ended);
                Err(Error::new(ErrorKind::Closed, "transaction.use", "the transaction has ended"))
            }
        }
    }

    /// False if the time was up meanwhile; the lease is then rolled back.
    pub(super) fn put(&self, lease: L) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = matches!(*state, SlotState::Taken);
        if open {
            *state = SlotState::Open(lease);
        }
        open
    }
}

pub(super) fn expired() -> Error {
    Error::new(ErrorKind::Closed, "transaction.use", "the transaction was over its time limit and is rolled back")
}
