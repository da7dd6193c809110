//! One SQLite file opened the same way everywhere: WAL, one writer, a few readers.

mod error;
pub(crate) mod gentle;
pub(crate) mod writer;

pub(crate) use error::map_error;

use plinth_capability::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a statement waits for another process's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection of a pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of WAL before a commit also checkpoints: 16 MB, so that a checkpoint's
/// two further fsyncs are rare next to the commits.
const CHECKPOINT_PAGES: &str = "4000";
/// Bytes the WAL file is cut back to after a checkpoint.
const WAL_BYTES: &str = "67108864";

/// What a confirmed write survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Loss of power: every commit waits for the disk.
    #[default]
    Power,
    /// The end of this process, not of the machine: about ten times as many commits.
    Process,
}

/// Where a database file is and how durably it is written.
#[derive(Debug, Clone)]
pub(crate) struct SqliteFile {
    path: PathBuf,
    durability: Durability,
}

impl SqliteFile {
    /// Makes the folder if needed; the file itself comes with the first writer.
    pub(crate) async fn open(path: &Path, durability: Durability) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(folder)
                .await
                .map_err(|e| Error::new(ErrorKind::Unavailable, "sqlite.open", "the data folder cannot be made").with_source(e))?;
        }
        Ok(Self { path: path.to_owned(), durability })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// For a task that owns the only writing connection.
    pub(crate) async fn writer_connection(&self) -> Result<SqliteConnection> {
        self.options().connect().await.map_err(|e| map_error("sqlite.open", e))
    }

    /// A pool of the one writing connection; opened now, so that readers find a WAL file.
    pub(crate) async fn writer(&self) -> Result<SqlitePool> {
        self.pool(1, self.options()).await
    }

    /// Read-only connections; open a writer first.
    pub(crate) async fn readers(&self, most: u32) -> Result<SqlitePool> {
        self.pool(most, self.options().read_only(true).create_if_missing(false)).await
    }

    /// For those who need to change an option; the settings that make a file safe are in.
    pub(crate) fn options(&self) -> SqliteConnectOptions {
        let synchronous = match self.durability {
            Durability::Power => SqliteSynchronous::Full,
            Durability::Process => SqliteSynchronous::Normal,
        };
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .pragma("trusted_schema", "OFF")
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", WAL_BYTES)
            // Statements are measured above; logging each would cost more than running it.
            .disable_statement_logging()
    }

    async fn pool(&self, most: u32, options: SqliteConnectOptions) -> Result<SqlitePool> {
        SqlitePoolOptions::new()
            .max_connections(most)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(|e| map_error("sqlite.open", e))
    }
}

/// Brings a file to the newest layout: `steps` are applied once each, in order,
/// and their number is kept in the file.
pub(crate) async fn migrate(connection: &mut SqliteConnection, steps: &[&'static str]) -> Result<()> {
    let failed = |e| map_error("sqlite.migrate", e);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let done: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(failed)?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    let Some(missing) = steps.get(done..) else {
        return Err(Error::new(ErrorKind::Failed, "sqlite.migrate", "the file was written by a newer version of this program"));
    };
    for step in missing {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
    }
    // A pragma takes no parameters; the number is ours.
    let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", steps.len()));
    sqlx::raw_sql(version).execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// SQLite's integers are signed; a number beyond them is as good as the largest.
pub(crate) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The inverse of [`to_sql`]; what we store is never negative.
pub(crate) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
