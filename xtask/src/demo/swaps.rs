//! Swaps the rules and rolls them back while the script is played, evenly spread over its commands.

use super::{client::Change, load::Stage};
use anyhow::Result;
use std::{
    path::PathBuf,
    sync::PoisonError,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// A built version of a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) component: PathBuf,
    pub(crate) manifest: PathBuf,
}

#[derive(Debug, Default)]
pub(crate) struct Swapped {
    pub(crate) swaps: u64,
    pub(crate) rollbacks: u64,
    /// From the request to its answer.
    pub(crate) slowest: Duration,
    pub(crate) failures: Vec<String>,
}

/// Back and forth `times` times; stops at the first change that does not do what was asked.
pub(crate) async fn swap(
    stage: &Stage,
    from: &Package,
    to: &Package,
    times: u64,
    commands: u64,
    mut progress: watch::Receiver<u64>,
) -> Result<Swapped> {
    let mut swapped = Swapped::default();
    for (number, at) in thresholds(times, commands).into_iter().enumerate() {
        progress.wait_for(|done| *done >= at).await?;
        let back = number % 2 == 1;
        let done = match back {
            false => change(stage, to, stage.api.install(&to.component, &to.manifest)).await,
            true => change(stage, from, stage.api.roll_back(&from.plugin)).await,
        };
        match done {
            Ok(took) => swapped.slowest = swapped.slowest.max(took),
            Err(error) => {
                swapped.failures.push(format!("{}: {error:#}", if back { "rollback" } else { "swap" }));
                break;
            }
        }
        *(if back { &mut swapped.rollbacks } else { &mut swapped.swaps }) += 1;
    }
    Ok(swapped)
}

/// Installs a version, or swaps to it, or rolls back to it: whatever `request` does.
pub(crate) async fn change(stage: &Stage, to: &Package, request: impl Future<Output = Result<Change>>) -> Result<Duration> {
    let timeline = || stage.timeline.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    let swap = timeline().asked(&to.version, begun);
    let change = request.await?;
    anyhow::ensure!(change.version == to.version, "{} became active instead of {}", change.version, to.version);
    timeline().acked(swap, &change.digest, Instant::now());
    Ok(begun.elapsed())
}

/// After how many commands each swap and each rollback comes.
fn thresholds(times: u64, commands: u64) -> Vec<u64> {
    let changes = times * 2;
    (1..=changes).map(|change| change * commands / (changes + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_spread_evenly_and_end_before_the_play() {
        assert_eq!(thresholds(2, 100), [20, 40, 60, 80]);
        assert_eq!(thresholds(0, 100), Vec::<u64>::new());
        assert!(thresholds(6, 2_000).last().is_some_and(|last| *last < 2_000));
    }
}
