//! How much CPU one call has used, and when it must give the thread back.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Shared by the task that polls a call and the epoch callback inside it. Only
/// one thread at a time polls, so relaxed ordering is enough.
pub(crate) struct Meter {
    started: Instant,
    /// CPU of finished polls, in nanoseconds.
    used: AtomicU64,
    /// The clock at the start of the running poll.
    poll_began: AtomicU64,
    /// Where the present slice began, on the same clock.
    slice_began: AtomicU64,
    /// On the background lane the clock is the thread's CPU time: there the
    /// guest shares its core. On the caller's lane it is the wall clock, which
    /// is cheaper, with a bound on what one poll can be charged.
    background: AtomicBool,
    budget: u64,
    /// Set by the epoch callback: this call has had its turn.
    turn_over: AtomicBool,
    /// Of the budget of capability calls.
    host_calls_left: AtomicU64,
}

/// How long a guest may keep a thread that also drives I/O.
pub(crate) const FOREGROUND_SLICE: Duration = Duration::from_millis(1);
/// The most one poll on the caller's lane is charged: what passes beyond it is
/// another process having its turn, for no guest keeps that lane so long.
const FOREGROUND_CHARGE: Duration = Duration::from_millis(3);
/// How long a guest keeps a background thread before the next one has its turn.
pub(crate) const BACKGROUND_SLICE: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The present slice is not used up.
    Continue,
    /// Let others run.
    Yield,
    /// The whole budget is gone.
    Exhausted,
}

impl Meter {
    pub(crate) fn new(budget: Duration, host_calls: u64) -> Self {
        Self {
            started: Instant::now(),
            used: AtomicU64::new(0),
            poll_began: AtomicU64::new(0),
            slice_began: AtomicU64::new(0),
            background: AtomicBool::new(false),
            budget: nanos(budget),
            turn_over: AtomicBool::new(false),
            host_calls_left: AtomicU64::new(host_calls),
        }
    }

    /// Counts one capability call; whether it is within the budget.
    pub(crate) fn take_host_call(&self) -> bool {
        self.host_calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn clock(&self) -> u64 {
        if self.background.load(Ordering::Relaxed) { thread_cpu() } else { nanos(self.started.elapsed()) }
    }

    pub(crate) fn begin_poll(&self) {
        let now = self.clock();
        self.poll_began.store(now, Ordering::Relaxed);
        self.slice_began.store(now, Ordering::Relaxed);
        self.turn_over.store(false, Ordering::Relaxed);
    }

    pub(crate) fn end_poll(&self) {
        let spent = self.clock().saturating_sub(self.poll_began.load(Ordering::Relaxed));
        let most = if self.background.load(Ordering::Relaxed) { u64::MAX } else { nanos(FOREGROUND_CHARGE) };
        self.used.fetch_add(spent.min(most), Ordering::Relaxed);
    }

    /// From here on the call runs on a background thread.
    pub(crate) fn enter_background(&self) {
        self.background.store(true, Ordering::Relaxed);
    }

    pub(crate) fn turn_over(&self) -> bool {
        self.turn_over.load(Ordering::Relaxed)
    }

    /// Asked by the epoch callback, on the thread that polls.
    pub(crate) fn turn(&self) -> Turn {
        let now = self.clock();
        let background = self.background.load(Ordering::Relaxed);
        let running = now.saturating_sub(self.poll_began.load(Ordering::Relaxed));
        let running = if background { running } else { running.min(nanos(FOREGROUND_CHARGE)) };
        if self.used.load(Ordering::Relaxed) + running >= self.budget {
            return Turn::Exhausted;
        }
        let slice = if background { BACKGROUND_SLICE } else { FOREGROUND_SLICE };
        if now.saturating_sub(self.slice_began.load(Ordering::Relaxed)) < nanos(slice) {
            return Turn::Continue;
        }
        self.turn_over.store(true, Ordering::Relaxed);
        Turn::Yield
    }

    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn thread_cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_slice_ends_and_the_budget_is_the_sum_of_polls() {
        let meter = Meter::new(Duration::from_millis(30), 1);
        meter.begin_poll();
        assert_eq!(meter.turn(), Turn::Continue);
        spin(Duration::from_millis(2));
        assert_eq!(meter.turn(), Turn::Yield);
        assert!(meter.turn_over());
        meter.end_poll();
        // Waiting between polls is not charged, and a pause of the whole
        // process within one only up to a bound.
        std::thread::park_timeout(Duration::from_millis(40));
        meter.begin_poll();
        assert!(!meter.turn_over());
        std::thread::park_timeout(Duration::from_millis(40));
        assert_eq!(meter.turn(), Turn::Yield);
        meter.end_poll();
        meter.enter_background();
        meter.begin_poll();
        assert_eq!(meter.turn(), Turn::Continue);
        spin(Duration::from_millis(40));
        assert_eq!(meter.turn(), Turn::Exhausted);
    }

    #[test]
    fn the_background_lane_charges_cpu_not_time() {
        let meter = Meter::new(Duration::from_millis(20), 1);
        meter.enter_background();
        meter.begin_poll();
        std::thread::park_timeout(Duration::from_millis(60));
        assert_eq!(meter.turn(), Turn::Continue);
        meter.end_poll();
        assert!(meter.used() < Duration::from_millis(20), "{:?}", meter.used());
    }
}
