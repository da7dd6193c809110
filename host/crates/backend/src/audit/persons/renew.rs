//! Renewing the keys that persons' keys are wrapped with. Every step can be repeated, and hosts may take it at once.

use super::{
    DAY_MS, Key, PersonKeeper,
    folder::{Folder, Generations},
    present,
    seal::lost,
    store::PersonRow,
};
use plinth_capability::{ErrorKind, Result};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether there is something to do.
const ROUND: Duration = Duration::from_secs(60);
/// Persons' keys that are moved in one step.
const BATCH: u32 = 500;
/// Steps of one generation in one round.
const BATCHES: usize = 200;
/// Clocks of hosts differ by less than this. What is dated further ahead would stop all this for as long, so it is not believed.
const SKEW_MS: u64 = 60 * 60 * 1_000;

/// What a round has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Renewed {
    /// Generations made by this host.
    pub made: u64,
    /// Persons' keys that are under the newest generation now.
    pub moved: u64,
    /// Generations that are gone.
    pub destroyed: u64,
    /// Persons' keys that no key of the folder opens although it should.
    pub damaged: u64,
}

impl PersonKeeper {
    /// Renews until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, source = ?std::error::Error::source(&error), "keys of persons could not be renewed; it is tried again");
            }
        }
    }

    /// One round. What was left long ago goes first: what a restored backup brings back under it is not moved.
    pub async fn renew(&self) -> Result<Renewed> {
        let done = self.round().await;
        let failing = match &done {
            Ok(Renewed { damaged: 0, .. }) => None,
            Ok(Renewed { damaged, .. }) => Some((ErrorKind::Failed, format!("{damaged} persons' keys are damaged"))),
            Err(error) => Some((error.kind(), error.message().to_owned())),
        };
        if let Ok(mut told) = self.failing.lock() {
            *told = failing;
        }
        done
    }

    async fn round(&self) -> Result<Renewed> {
        let mut done = Renewed::default();
        let (known, now) = (self.store.known().await?, (self.config.clock)());
        let (rotate, backup) = (u64::from(self.config.rotate_days) * DAY_MS, u64::from(self.config.backup_days) * DAY_MS);
        let step = self.folder.off(move |folder| {
            // One look for both questions: of two hosts that find the same generation too old, one makes the next.
            let all = folder.generations()?;
            let newest = present(&known, &all)?;
            let destroyed = destroy(folder, newest, now, backup)?;
            let due = folder.generation(newest)?.is_none_or(|newest| is_over(newest.made_ms, rotate, now));
            let next = all.keys().next_back().copied().unwrap_or(0).max(known.newest) + 1;
            let mine = due && folder.make(next, now)?;
            Ok((destroyed, due.then_some((next, mine)), folder.generations()?))
        });
        let (destroyed, made, all) = step.await?;
        done.destroyed = destroyed;
        if let Some((number, mine)) = made {
            self.store.note(number, &self.pepper.check()).await?;
            tracing::info!(generation = number, mine, "a new generation of persons' keys");
            done.made = u64::from(mine);
        }
        let newest = all.iter().rev().find(|(_, standing)| standing.key).map_or(0, |(number, _)| *number);
        for (older, _) in all.range(..newest).filter(|(_, standing)| standing.key) {
            self.leave(*older, newest, now, &mut done).await?;
        }
        Ok(done)
    }

    /// Moves persons' keys to the newest generation; once none is left, that is noted.
    async fn leave(&self, from: u64, to: u64, now: u64, done: &mut Renewed) -> Result<()> {
        let mut after = String::new();
        for _ in 0..BATCHES {
            let rows = self.store.under(from, &after, BATCH).await?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.pseudonym);
            let moved = self.folder.off(move |folder| rewrapped(folder, rows, from, to)).await?;
            let Moved { moved, erased, damaged } = moved;
            for PersonRow { pseudonym, key, .. } in erased {
                self.store.remove(&pseudonym, &key).await?;
            }
            done.moved += moved.len() as u64;
            done.damaged += damaged;
            self.store.rewrap(from, moved).await?;
        }
        if self.store.under(from, "", 1).await?.is_empty() {
            self.folder.off(move |folder| folder.leave(from, now, false)).await?;
        }
        Ok(())
    }
}

/// Also what is dated where no clock is yet.
fn is_over(since: u64, days_ms: u64, now: u64) -> bool {
    since.saturating_add(days_ms) <= now || since > now.saturating_add(SKEW_MS)
}

/// Those that were left so long ago that no backup has anything under them any more.
fn destroy(folder: &Folder, newest: u64, now: u64, backup_ms: u64) -> Result<u64> {
    let mut destroyed = 0;
    let all: Generations = folder.generations()?;
    for (number, _) in all.range(..newest).filter(|(_, standing)| standing.key && standing.left) {
        let Some(left) = folder.left(*number)? else { continue };
        if left > now.saturating_add(SKEW_MS) {
            folder.leave(*number, now, true)?;
        } else if is_over(left, backup_ms, now) {
            folder.destroy(*number)?;
            tracing::info!(generation = *number, "a generation of persons' keys was destroyed");
            destroyed += 1;
        }
    }
    if destroyed > 0 {
        let oldest = folder.generations()?.iter().find(|(_, standing)| standing.key).map_or(newest, |(number, _)| *number);
        folder.forget_before(oldest)?;
    }
    Ok(destroyed)
}

#[derive(Default)]
struct Moved {
    moved: Vec<PersonRow>,
    /// Brought back by a backup.
    erased: Vec<PersonRow>,
    /// Rows that do not open; the others go on without them.
    damaged: u64,
}

fn rewrapped(folder: &Folder, rows: Vec<PersonRow>, from: u64, to: u64) -> Result<Moved> {
    let old = Key::new(&folder.generation(from)?.ok_or_else(lost)?.key)?;
    let new = Key::new(&folder.generation(to)?.ok_or_else(lost)?.key)?;
    let mut all = Moved::default();
    for row in rows {
        if folder.condemned(&row.key)?.is_some() {
            all.erased.push(row);
            continue;
        }
        let place = [row.pseudonym.as_str(), row.key.as_str()];
        match old.unwrap(place, from, &row.wrapped) {
            Ok(secret) => {
                let wrapped = new.wrap(place, to, &secret)?;
                all.moved.push(PersonRow { generation: to, wrapped, ..row });
            }
            Err(_) => all.damaged += 1,
        }
    }
    Ok(all)
}
