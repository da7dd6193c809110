//! Where guests run: on the caller's thread for a short turn, then on background threads.
//!
//! Most calls end within their first turn and never pay for a hop between
//! threads. A call that outlasts its turn moves, as the future it is, to
//! threads of lower priority, so that loops neither stop the threads that drive
//! timers and sockets nor take the processor from them.

use crate::{meter::Meter, outcome::Failure};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

/// Added to the niceness of background threads.
const NICENESS: i32 = 10;

pub(crate) struct Lanes {
    /// Drives the timers and sockets of every call, wherever it runs.
    io: Handle,
    background: Option<Runtime>,
}

impl Lanes {
    /// Must be called inside the runtime that drives I/O.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let background = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("plinth-guest")
            .on_thread_start(|| {
                // Without the right to it the lane still works, only less politely.
                let _ = rustix::process::setpriority_process(None, NICENESS);
            })
            .build()?;
        Ok(Self { io: Handle::current(), background: Some(background) })
    }

    /// Polls `call` to its end. Dropping the returned future stops the call at
    /// its next turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        meter: Arc<Meter>,
        manners: &Manners,
        call: Pin<Box<dyn Future<Output = T> + Send>>,
    ) -> Result<T, Failure> {
        let call = if manners.good() {
            let mut first = FirstTurn { meter: &meter, call: Some(call) };
            match (&mut first).await {
                Turned::Done(out) => return Ok(out),
                Turned::Moves(call) => call,
            }
        } else {
            call
        };
        let Some(background) = &self.background else {
            return Err(Failure::unavailable("the host is stopping"));
        };
        meter.enter_background();
        let metered = Box::pin(Metered { meter, call });
        let mut task = AbortOnDrop(background.spawn(Background { io: self.io.clone(), work: metered }));
        (&mut task.0).await.map_err(|_| Failure::unavailable("the host is stopping"))
    }

    /// The host's own computing that no request waits for: on the background
    /// threads from its first poll. None if the host is stopping. Dropping the
    /// returned future stops the work at its next await.
    pub(crate) async fn aside<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let background = self.background.as_ref()?;
        let mut task = AbortOnDrop(background.spawn(Background { io: self.io.clone(), work: Box::pin(work) }));
        (&mut task.0).await.ok()
    }
}

/// How the calls of one version have lately kept to their first turn. One that
/// overstays again and again starts on the background threads at once: some
/// work, such as copying a whole memory, cannot be interrupted half-way. A new
/// version is trusted: its first calls come in the middle of a swap.
#[derive(Default)]
pub(crate) struct Manners(AtomicU32);

/// What a call may take and still count as short: the first turn and a tick.
const SHORT: Duration = Duration::from_millis(2);
/// One call that overstays weighs as much as this many short ones, so that now
/// and then a pause of the machine does not count.
const OVERSTAY: u32 = 8;
const BAD_FROM: u32 = 2 * OVERSTAY;
const WORST: u32 = 8 * OVERSTAY;

impl Manners {
    fn good(&self) -> bool {
        self.0.load(Ordering::Relaxed) < BAD_FROM
    }

    pub(crate) fn ended(&self, used: Duration) {
        let score = self.0.load(Ordering::Relaxed);
        let next = if used > SHORT { (score + OVERSTAY).min(WORST) } else { score.saturating_sub(1) };
        if next != score {
            // A lost race loses one call's weight.
            self.0.store(next, Ordering::Relaxed);
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if let Some(background) = self.background.take() {
            background.shutdown_background();
        }
    }
}

type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Turned<T> {
    Done(T),
    Moves(Call<T>),
}

struct FirstTurn<'a, T> {
    meter: &'a Meter,
    /// Gone once it has moved.
    call: Option<Call<T>>,
}

impl<T> Future for &mut FirstTurn<'_, T> {
    type Output = Turned<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turned<T>> {
        let meter = self.meter;
        let Some(call) = self.call.as_mut() else { return Poll::Pending };
        match poll_metered(call, meter, cx) {
            Poll::Ready(out) => Poll::Ready(Turned::Done(out)),
            Poll::Pending if meter.turn_over() => match self.call.take() {
                Some(call) => Poll::Ready(Turned::Moves(call)),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A call that is charged for its polls.
struct Metered<T> {
    meter: Arc<Meter>,
    call: Call<T>,
}

impl<T> Future for Metered<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let meter = self.meter.clone();
        poll_metered(&mut self.call, &meter, cx)
    }
}

struct Background<F> {
    io: Handle,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Background<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Timers and sockets made from here on belong to the runtime that is
        // never blocked by a guest.
        let io = self.io.clone();
        let _entered = io.enter();
        self.work.as_mut().poll(cx)
    }
}

fn poll_metered<T>(call: &mut Call<T>, meter: &Meter, cx: &mut Context<'_>) -> Poll<T> {
    meter.begin_poll();
    let polled = call.as_mut().poll(cx);
    meter.end_poll();
    polled
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_overstays_again_and_again_loses_the_first_turn() {
        let manners = Manners::default();
        let (short, long) = (Duration::from_micros(50), Duration::from_millis(5));
        for _ in 0..100 {
            manners.ended(long);
            assert!(manners.good(), "one in a while is the machine's doing");
            (0..20).for_each(|_| manners.ended(short));
        }
        manners.ended(long);
        manners.ended(long);
        assert!(!manners.good());
        (0..100).for_each(|_| manners.ended(long));
        (0..WORST).for_each(|_| manners.ended(short));
        assert!(manners.good(), "it is forgiven");
    }
}
