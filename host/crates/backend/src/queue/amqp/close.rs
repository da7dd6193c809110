//! Channels whose consumers must not outlive the work they were opened for.

use super::link::Live;
use lapin::Channel;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How long the broker may take to close a channel that was given up.
const CLOSE: Duration = Duration::from_secs(10);

/// A channel on which a consumer was asked for. Dropped, it is closed, or with
/// a broker that does not answer that either, the whole connection is: a
/// consumer that was not answered may come to be all the same, and what it was
/// sent would stay with it, unread and unsettled, for as long as the channel lives.
pub(super) struct CloseOnDrop {
    tasks: TaskTracker,
    live: Arc<Live>,
    channel: Option<Channel>,
}

impl CloseOnDrop {
    pub(super) fn new(tasks: &TaskTracker, live: &Arc<Live>, channel: &Channel) -> Self {
        Self { tasks: tasks.clone(), live: live.clone(), channel: Some(channel.clone()) }
    }

    /// The consumer is somebody else's from here on.
    pub(super) fn keep_open(mut self) {
        self.channel = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let Some(channel) = self.channel.take().filter(|channel| channel.status().connected()) else { return };
        let live = self.live.clone();
        self.tasks.spawn(async move {
            let closing = timeout(CLOSE, channel.close(200, "given up".into()));
            let Some(closed) = live.over.run_until_cancelled(closing).await else { return };
            if closed.is_err() && channel.status().connected() || channel.status().closing() {
                tracing::warn!("a channel could not be closed; the connection is given up");
                live.over.cancel();
            }
        });
    }
}
