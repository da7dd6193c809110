//! Persons in the audit log: each has a key of her own, and the keys of those keys are outside the database.
//!
//! A person's key is in the database, wrapped by the newest generation of a folder of keys (`folder.rs`). `renew.rs` makes
//! generations, moves everybody to the newest one and destroys those that were left long ago: then no backup of the database
//! from before opens anything. To erase somebody is to destroy her key (`PersonKeeper::erase`).

mod cipher;
mod folder;
mod log;
mod postgres;
mod renew;
mod seal;
mod sqlite;
mod store;
#[cfg(test)]
mod tests;

pub use log::PseudonymousAudit;
pub use renew::Renewed;

use super::{PostgresAudit, SqliteAudit};
use cipher::{KEY_BYTES, Key, Pepper};
use folder::{Folder, Generations};
use plinth_capability::{Error, ErrorKind, Result, audit::AuditLog, now_ms};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use store::{Known, PersonStore};

/// How long this host may go on sealing with a key that another host has destroyed; what it seals then stays closed.
const CACHED: Duration = Duration::from_secs(30);
/// Persons whose keys are remembered for that long.
const CACHED_MAX: u64 = 10_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How persons' keys are kept.
#[derive(Clone)]
pub struct PersonsConfig {
    /// Of keys, outside the database and its backups; hosts over one log share it.
    pub folder: PathBuf,
    /// A new generation after so many days.
    pub rotate_days: u32,
    /// Backups of the database are kept no longer than this.
    pub backup_days: u32,
    /// Whether `user:ID` is stored under a pseudonym.
    pub pseudonymous_actors: bool,
    pub clock: Clock,
}

impl PersonsConfig {
    /// As the host keeps them if nothing else is said.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, rotate_days: 30, backup_days: 30, pseudonymous_actors: true, clock: Arc::new(now_ms) }
    }
}

/// Seals, opens and erases, and renews the keys.
pub struct PersonKeeper {
    store: Arc<dyn PersonStore>,
    /// Where erasures are recorded.
    log: Arc<dyn AuditLog>,
    folder: Folder,
    pepper: Pepper,
    config: PersonsConfig,
    /// Persons' keys by pseudonym.
    keys: moka::future::Cache<String, Arc<PersonKey>>,
    /// Why the last round of renewing failed. A std mutex: held for a copy, never across an await.
    failing: Mutex<Option<(ErrorKind, String)>>,
}

/// A person's key, unwrapped.
struct PersonKey {
    /// The pseudonym, a dot, and which key.
    kid: String,
    key: Key,
}

impl PersonKeeper {
    /// `log` is where erasures are recorded; what it stores is `store`'s.
    pub async fn over_sqlite(store: Arc<SqliteAudit>, log: Arc<dyn AuditLog>, config: PersonsConfig) -> Result<Self> {
        Self::open(store, log, config).await
    }

    pub async fn over_postgres(store: Arc<PostgresAudit>, log: Arc<dyn AuditLog>, config: PersonsConfig) -> Result<Self> {
        Self::open(store, log, config).await
    }

    /// Refuses a folder that is not the one the database knows: an empty one may be where another was not mounted.
    async fn open(store: Arc<dyn PersonStore>, log: Arc<dyn AuditLog>, config: PersonsConfig) -> Result<Self> {
        let known = store.known().await?;
        let (folder, now) = (Folder::at(&config.folder), (config.clock)());
        let pepper = folder.off(move |folder| {
            if known != Known::default() {
                present(&known, &folder.generations()?)?;
            }
            folder.furnish()?;
            let pepper = Pepper::new(&folder.pepper(known.pepper.is_none())?);
            if known.pepper.is_some_and(|check| check != pepper.check()) {
                return Err(foreign("has another pepper"));
            }
            Ok(pepper)
        });
        let pepper = pepper.await?;
        let keys = moka::future::Cache::builder().time_to_live(CACHED).max_capacity(CACHED_MAX).build();
        let keeper = Self { store, log, folder, pepper, config, keys, failing: Mutex::default() };
        keeper.begin(now).await?;
        Ok(keeper)
    }

    /// The first generation, unless there is one; and what the database knows of the folder.
    async fn begin(&self, now: u64) -> Result<()> {
        let newest = self.folder.off(move |folder| {
            let all = folder.generations()?;
            if all.is_empty() {
                folder.make(1, now)?;
            }
            Ok(all.keys().next_back().copied().unwrap_or(1))
        });
        // Known only once it is on disk: a host that was stopped in between makes it again.
        self.store.note(newest.await?, &self.pepper.check()).await?;
        // Of two hosts that began at once in two folders, one was first.
        match self.store.known().await?.pepper {
            Some(check) if check == self.pepper.check() => Ok(()),
            _ => Err(foreign("has another pepper")),
        }
    }
}

/// What is known to have been made has to be there.
fn present(known: &Known, all: &Generations) -> Result<u64> {
    let newest = all.iter().rev().find(|(_, standing)| standing.key).map_or(0, |(number, _)| *number);
    match newest {
        0 if known.newest > 0 => Err(foreign("has no key of any generation")),
        older if older < known.newest => Err(foreign("lacks the newest generation")),
        newest => Ok(newest),
    }
}

fn foreign(what: &str) -> Error {
    let why = format!("the folder of persons' keys {what}: it is not the one that this audit log was used with, or it is not mounted");
    Error::new(ErrorKind::Unavailable, "audit.persons", why)
}
