//! Forgets messages that came so long ago that nobody repeats them any more.

use plinth_capability::{inbox::Inbox, now_ms, queue::DEDUPE_WINDOW};
use std::{sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Often enough that what has to be forgotten at once stays little.
const EVERY: Duration = Duration::from_secs(600);

/// Runs until stopped. Hosts over one inbox may all do so.
pub(crate) async fn run(inbox: Arc<dyn Inbox>, stop: CancellationToken) {
    let mut due = tokio::time::interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let window = u64::try_from(DEDUPE_WINDOW.as_millis()).unwrap_or(u64::MAX);
    while stop.run_until_cancelled(due.tick()).await.is_some() {
        if let Err(error) = inbox.forget(now_ms().saturating_sub(window)).await {
            tracing::warn!(%error, "the inbox could not be tidied; it is tried again");
        }
    }
}
