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
    sync::Arc,
    task::{Context, Poll},
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
        call: Pin<Box<dyn Future<Output = T> + Send>>,
    ) -> Result<T, Failure> {
        let mut first = FirstTurn { meter: &meter, call: Some(call) };
        let call = match (&mut first).await {
            Turned::Done(out) => return Ok(out),
            Turned::Moves(call) => call,
        };
        let Some(background) = &self.background else {
            return Err(Failure::unavailable("the host is stopping"));
        };
        meter.enter_background();
        let mut task = AbortOnDrop(background.spawn(Background { io: self.io.clone(), meter, call }));
        (&mut task.0).await.map_err(|_| Failure::unavailable("the host is stopping"))
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

struct Background<T> {
    io: Handle,
    meter: Arc<Meter>,
    call: Call<T>,
}

impl<T> Future for Background<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Timers and sockets made from here on belong to the runtime that is
        // never blocked by a guest.
        let io = self.io.clone();
        let _entered = io.enter();
        let meter = self.meter.clone();
        poll_metered(&mut self.call, &meter, cx)
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
