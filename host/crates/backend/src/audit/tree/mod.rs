//! The audit log as a Merkle tree: grown, signed and proved from what the log has stored.
//!
//! The log comes first and knows nothing of the tree. `grow.rs` turns what was
//! stored into tiles, `sign.rs` signs how far that is, `restore.rs` sees that
//! what was signed is still there, and `prove.rs` answers outsiders. Each step
//! can be repeated and may run on several hosts at once.

mod copies;
mod grow;
mod keys;
mod postgres;
mod prove;
mod restore;
mod sign;
mod sqlite;
mod standing;
mod store;

use crate::audit::{
    PostgresAudit, SqliteAudit,
    archive::{ArchiveFolder, Shelf, Shelved},
};
use copies::Copies;
pub(super) use grow::STRETCH;
use keys::Keys;
use plinth_audit::tile::{TileEdge, TileError};
use plinth_capability::{Error, ErrorKind, Result};
pub(super) use standing::Chore;
use standing::Standing;
use std::{path::PathBuf, sync::Arc, time::Duration};
use store::Epoch;
pub(super) use store::TreeStore;
use tokio_util::sync::CancellationToken;

/// How often the tree grows and is signed.
const STEP: Duration = Duration::from_secs(1);
/// To open a new epoch while other hosts append.
const ATTEMPTS: usize = 10;

/// Where a tree has its name, its key and what it remembers outside the database.
#[derive(Debug, Clone)]
pub struct AuditTreeConfig {
    /// What the log is called: a checkpoint's origin is this, a slash and the epoch. Chosen once, when the log
    /// begins; a random name if absent.
    pub origin: Option<String>,
    /// The secret seed that checkpoints are signed with; made if it is not there.
    pub key: PathBuf,
    /// A folder outside the database for the newest checkpoint of each epoch.
    pub checkpoints: PathBuf,
    /// Where old records are.
    pub archive: Option<ArchiveFolder>,
}

/// One host's part in the tree of a log.
pub struct AuditTree {
    store: Arc<dyn TreeStore>,
    shelved: Arc<Shelved>,
    keys: Arc<Keys>,
    copies: Copies,
    /// The right edge of the newest tree, as this host left it; held for as long as it works on the tree.
    edge: tokio::sync::Mutex<Option<(u64, TileEdge)>>,
    standing: Standing,
}

impl AuditTree {
    pub async fn over_sqlite(log: Arc<SqliteAudit>, config: AuditTreeConfig) -> Result<Self> {
        Self::open(log, config).await
    }

    pub async fn over_postgres(log: Arc<PostgresAudit>, config: AuditTreeConfig) -> Result<Self> {
        Self::open(log, config).await
    }

    /// Looks first whether everything that was signed is still there, and opens a new epoch if not.
    async fn open<S: TreeStore + Shelf + 'static>(store: Arc<S>, config: AuditTreeConfig) -> Result<Self> {
        let copies = Copies::open(&config.checkpoints)?;
        let keys = Arc::new(Keys::open(name_of(&*store, &copies, config.origin).await?, &config.key)?);
        let shelved = Arc::new(Shelved::new(store.clone(), store.clone(), config.archive));
        let tree = Self { store, shelved, keys, copies, edge: tokio::sync::Mutex::default(), standing: Standing::default() };
        tree.step().await?;
        Ok(tree)
    }

    /// Grows and signs until told to stop, and once more then.
    pub async fn run(&self, stop: CancellationToken) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let last = stop.run_until_cancelled(steps.tick()).await.is_none();
            self.standing.note(Chore::Signing, &self.step().await);
            if last {
                return;
            }
        }
    }

    /// Takes in what was stored and signs it, unless nothing is new.
    pub async fn step(&self) -> Result<()> {
        let mut edge = self.edge.lock().await;
        for _ in 0..ATTEMPTS {
            let (epoch, now) = self.grow(&mut edge).await?;
            match self.compare(&epoch, &now).await? {
                None => return self.sign(&epoch, &now).await,
                // Others may have gone on meanwhile: then it is looked at anew.
                Some(found) => self.open_next(&epoch, &now, found).await?,
            }
        }
        let why =
            "the log does not bear out what it has signed, and its tree does not hold every record, so that no new epoch can be opened";
        Err(Error::new(ErrorKind::Failed, "audit.tree", why))
    }

    /// What is told to those who watch.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The records that were taken out of the database.
    pub(super) fn shelved(&self) -> Arc<Shelved> {
        self.shelved.clone()
    }

    async fn current(&self) -> Result<Epoch> {
        self.store.epochs().await?.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "audit.tree", "the log has no tree"))
    }
}

/// The name the log has, or gets now: what was signed knows it best, then the database.
async fn name_of(store: &dyn TreeStore, copies: &Copies, wanted: Option<String>) -> Result<String> {
    let signed = copies.off(Copies::newest).await?.and_then(|(_, note)| Some(base(note.lines().next()?)?.to_owned()));
    let begins = signed.clone().or_else(|| wanted.clone()).unwrap_or_else(|| format!("plinth-{:08x}", rand::random::<u32>()));
    store.begin(&format!("{begins}/0")).await?;
    let stored = store.epochs().await?.first().and_then(|epoch| Some(base(&epoch.origin)?.to_owned())).unwrap_or(begins);
    for (name, whose) in [(signed, "its own checkpoints"), (wanted, "the configuration")] {
        if let Some(name) = name.filter(|name| *name != stored) {
            let why = format!("the audit log is called `{stored}` in the database and `{name}` in {whose}");
            return Err(Error::new(ErrorKind::InvalidInput, "audit.open", why));
        }
    }
    Ok(stored)
}

fn base(origin: &str) -> Option<&str> {
    origin.rsplit_once('/').map(|(base, _)| base)
}

/// The stored tree contradicts itself or what was signed.
fn damaged(error: TileError) -> Error {
    Error::new(ErrorKind::Failed, "audit.tree", "the stored tree is damaged").with_source(error)
}
