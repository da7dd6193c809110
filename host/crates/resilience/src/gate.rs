//! The way every guarded call takes: wait for a turn, then run against the clock.

use crate::Policy;
use plinth_capability::{Error, ErrorKind, Result};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::timeout,
};

/// What a call that ran out of time may be taken for. Has no default: whoever
/// adds an operation decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changed nothing, or doing it again changes nothing more.
    Safe,
    /// It may have happened, and must not happen twice unnoticed.
    Unsafe,
}

pub(crate) struct Gate {
    policy: Policy,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Gate {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, permits: Arc::new(Semaphore::new(policy.max_concurrent())), waiting: AtomicUsize::new(0) }
    }

    /// A turn, given back when dropped.
    pub(crate) async fn enter(&self, operation: &'static str) -> Result<OwnedSemaphorePermit> {
        let overloaded = || Error::new(ErrorKind::Unavailable, operation, "too many calls at a time");
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(overloaded()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _place = Place::take(&self.waiting, self.policy.max_waiting()).ok_or_else(overloaded)?;
        match timeout(self.policy.timeout(), Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }

    /// Runs `work` against the clock only; `asked` is the wait the call itself asks for.
    pub(crate) async fn bound<T>(
        &self,
        operation: &'static str,
        repeat: Repeat,
        asked: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Ok(answer) = timeout(self.policy.timeout() + asked, work).await else {
            let (kind, why) = match repeat {
                Repeat::Safe => (ErrorKind::Timeout, "did not answer in time"),
                Repeat::Unsafe => (ErrorKind::OutcomeUnknown, "did not answer in time; it may have happened"),
            };
            return Err(Error::new(kind, operation, why));
        };
        answer
    }

    /// The whole way of a call.
    pub(crate) async fn run<T>(&self, operation: &'static str, repeat: Repeat, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.run_asking(operation, repeat, Duration::ZERO, work).await
    }

    pub(crate) async fn run_asking<T>(
        &self,
        operation: &'static str,
        repeat: Repeat,
        asked: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _turn = self.enter(operation).await?;
        self.bound(operation, repeat, asked, work).await
    }

    /// A question whether the backend lives is not refused because it is busy.
    pub(crate) async fn probe(&self, operation: &'static str, work: impl Future<Output = Result<()>>) -> Result<()> {
        self.bound(operation, Repeat::Safe, Duration::ZERO, work).await
    }
}

/// A place in the waiting line, left when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        waiting.fetch_update(SeqCst, SeqCst, |n| (n < most).then_some(n + 1)).is_ok().then(|| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{task::JoinSet, time::Instant};

    fn gate(timeout_ms: u32, max_concurrent: u32, max_waiting: u32) -> Arc<Gate> {
        Arc::new(Gate::new(Policy::try_new(timeout_ms, max_concurrent, max_waiting).unwrap()))
    }

    async fn nap(ms: u64) -> Result<u64> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_over_its_time_says_whether_it_may_be_repeated() {
        let gate = gate(100, 1, 1);
        assert_eq!(gate.run("test.read", Repeat::Safe, nap(99)).await.unwrap(), 99);
        assert_eq!(gate.run("test.read", Repeat::Safe, nap(101)).await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(gate.run("test.write", Repeat::Unsafe, nap(101)).await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
        let asked = Duration::from_secs(1);
        assert_eq!(gate.run_asking("test.poll", Repeat::Safe, asked, nap(1_099)).await.unwrap(), 1_099);
        assert_eq!(gate.run_asking("test.poll", Repeat::Safe, asked, nap(1_101)).await.unwrap_err().kind(), ErrorKind::Timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_limits_wait_or_are_refused() {
        let gate = gate(100, 2, 2);
        let began = Instant::now();
        let mut calls = JoinSet::new();
        for _ in 0..5 {
            let gate = Arc::clone(&gate);
            calls.spawn(async move { (gate.run("test.call", Repeat::Safe, nap(60)).await.map_err(|e| e.kind()), began.elapsed()) });
        }
        let mut ends: Vec<_> = calls.join_all().await;
        ends.sort_by_key(|(_, at)| *at);
        let ms = Duration::from_millis;
        let refused = (Err(ErrorKind::Unavailable), ms(0));
        assert_eq!(ends, [refused, (Ok(60), ms(60)), (Ok(60), ms(60)), (Ok(60), ms(120)), (Ok(60), ms(120))]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_timeout() {
        let gate = gate(100, 1, 5);
        let turn = gate.enter("test.hold").await.unwrap();
        let began = Instant::now();
        assert_eq!(gate.run("test.call", Repeat::Safe, nap(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(began.elapsed(), Duration::from_millis(100));
        gate.probe("test.health", async { Ok(()) }).await.unwrap();
        drop(turn);
        gate.run("test.call", Repeat::Safe, nap(1)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_calls_give_their_turn_and_their_place_back() {
        let gate = gate(1_000, 1, 1);
        for _ in 0..10 {
            let running = gate.run("test.call", Repeat::Safe, nap(900));
            let waiting = gate.run("test.call", Repeat::Safe, nap(900));
            let both = async { tokio::join!(running, waiting) };
            assert!(timeout(Duration::from_millis(10), both).await.is_err());
            assert_eq!((gate.permits.available_permits(), gate.waiting.load(SeqCst)), (1, 0));
        }
        assert_eq!(gate.run("test.call", Repeat::Safe, nap(1)).await.unwrap(), 1);
    }
}
