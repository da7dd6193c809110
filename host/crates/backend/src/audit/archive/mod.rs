//! The archive of the log: segments written, verified, taken out of the database, and read again.
//!
//! `write.rs` makes the next segment and reads it back, `prune.rs` is retention,
//! `read.rs` gives records that are in the archive only, and `log.rs` is the log
//! with both in one sequence. What is known of the archive is in the database
//! (`shelf.rs`); what it holds is in a folder or bucket (`folder.rs`).

mod folder;
mod log;
mod postgres;
mod prune;
mod read;
mod shelf;
mod sqlite;
mod write;

pub use folder::{ArchiveFolder, ArchiveLocation, BlockingArchive};
pub use log::ArchivedAudit;
pub(super) use read::{Shelved, segment_of};
pub(super) use shelf::{Page, Pruned, Shelf};

use super::tree::{AuditTree, Chore};
use plinth_audit::segment::SEGMENT_RECORDS;
use plinth_capability::{Result, transparency::Transparency};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether there is something to do.
const ROUND: Duration = Duration::from_secs(30);
/// So long nobody else writes to the archive; taken anew for each segment.
const TURN_MS: u64 = 10 * 60 * 1_000;

/// How long records stay where. What is not set is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Retention {
    /// In the database; then in the archive only.
    pub online_days: Option<u32>,
    /// In the archive, from when they were recorded; then their hashes only.
    pub archived_days: Option<u32>,
}

/// One host's part in writing the archive.
pub struct Archiver {
    tree: Arc<AuditTree>,
    shelved: Arc<Shelved>,
    retention: Retention,
    /// Who this host is when hosts take turns.
    holder: String,
}

/// What a round has done, in segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Written and found sound.
    pub archived: u64,
    /// Taken out of the database.
    pub pruned: u64,
    /// Dropped from the archive.
    pub expired: u64,
}

impl Archiver {
    /// `tree` was opened with an archive.
    #[must_use]
    pub fn new(tree: Arc<AuditTree>, retention: Retention) -> Self {
        let shelved = tree.shelved();
        Self { tree, shelved, retention, holder: uuid::Uuid::new_v4().to_string() }
    }

    /// Archives until told to stop. What is cut off then is done again by the next round of any host.
    pub async fn run(&self, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            let Some(ended) = stop.run_until_cancelled(self.round()).await else { return };
            self.tree.standing().note(Chore::Archiving, &ended);
        }
    }

    /// Archives every segment that is full and signed, then keeps to the retention. Nothing while another host is at it.
    pub async fn round(&self) -> Result<Round> {
        let done = self.work().await;
        // Others need not wait until the turn is over.
        self.shelved.shelf().turn(&self.holder, 0).await?;
        done
    }

    async fn work(&self) -> Result<Round> {
        let mut done = Round::default();
        for tree in self.tree.trees().await? {
            let full = tree.signed / SEGMENT_RECORDS;
            for number in self.shelved.shelf.segments(tree.epoch).await?..full {
                if !self.shelved.shelf.turn(&self.holder, TURN_MS).await? {
                    return Ok(done);
                }
                self.archive(&tree, number).await?;
                done.archived += 1;
            }
            if !self.shelved.shelf.turn(&self.holder, TURN_MS).await? {
                return Ok(done);
            }
            if let Some(days) = self.retention.online_days {
                done.pruned += self.prune(&tree, days).await?;
            }
            if let Some(days) = self.retention.archived_days {
                done.expired += self.expire(&tree, days).await?;
            }
        }
        Ok(done)
    }
}
