//! Runs a call to its end, also when the one who waits for it has gone.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Polled in place as long as somebody waits, so that the usual case costs no
/// task; dropped before its end (the client disconnected, or a timeout passed)
/// it goes on as a task of the tracker.
#[must_use = "nothing happens unless this is awaited"]
pub(crate) struct ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    call: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
}

pub(crate) fn to_the_end<F>(tasks: &TaskTracker, call: F) -> ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    ToTheEnd { call: Some(Box::pin(call)), tasks: tasks.clone() }
}

impl<F> Future for ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it runs: a call that panics must not be polled again on drop.
        let Some(mut call) = self.call.take() else { return Poll::Pending };
        let poll = call.as_mut().poll(context);
        if poll.is_pending() {
            self.call = Some(call);
        }
        Poll::Ready(ready!(poll))
    }
}

impl<F> Drop for ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        // Outside a runtime the process is ending and nothing can run on.
        if let Ok(handle) = Handle::try_current() {
            let rest = async move { drop(call.await) };
            self.tasks.spawn_on(rest, &handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn an_abandoned_call_is_finished_by_the_tracker() {
        let tasks = TaskTracker::new();
        let (go, gate) = oneshot::channel::<()>();
        let (done, mut finished) = oneshot::channel();
        let mut call = Box::pin(to_the_end(&tasks, async move {
            gate.await.unwrap();
            done.send(7).unwrap();
        }));
        assert!(futures::poll!(call.as_mut()).is_pending());
        drop(call);
        assert!(finished.try_recv().is_err());
        go.send(()).unwrap();
        tasks.close();
        tasks.wait().await;
        assert_eq!(finished.try_recv(), Ok(7));
    }

    #[tokio::test]
    async fn a_finished_call_answers_in_place_and_leaves_no_task() {
        let tasks = TaskTracker::new();
        assert_eq!(to_the_end(&tasks, async { 3 }).await, 3);
        assert!(tasks.is_empty());
    }
}
