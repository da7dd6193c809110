//! One PostgreSQL server that a host keeps what it knows in: its connections, its schema `plinth`.

mod config;
mod error;
mod migrate;
mod prepare;

pub use config::{PostgresConfig, PostgresTls};
pub(crate) use error::{is_broken, map_error};
pub use prepare::prepare;

use plinth_capability::{Error, ErrorKind, Result};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{sync::Arc, time::Duration};

/// The host's connections as its own role; cheap to clone. Dropped without
/// `close`, the connections end with it.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    pool: PgPool,
    options: PgConnectOptions,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the options: they hold the password.
        f.write_str("Postgres")
    }
}

impl Postgres {
    /// Connects, and brings the schema `plinth` to this version's layout; many hosts may do so at once.
    pub async fn open(config: &PostgresConfig) -> Result<Self> {
        let options = config.connect_options().await?;
        let own = options.clone().options([
            ("statement_timeout", config.statement_timeout_ms.to_string()),
            // A host that is cut off in the middle of a transaction holds its locks no longer than this.
            ("idle_in_transaction_session_timeout", config.statement_timeout_ms.to_string()),
            ("timezone", "UTC".to_owned()),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(config.host_connections.max(2))
            .acquire_timeout(Duration::from_millis(u64::from(config.acquire_timeout_ms.max(1))))
            .connect_with(own)
            .await
            .map_err(|e| map_error("postgres.open", e))?;
        let mut connection = pool.acquire().await.map_err(|e| map_error("postgres.open", e))?;
        migrate::migrate(&mut connection).await?;
        drop(connection);
        Ok(Self(Arc::new(Inner { pool, options })))
    }

    pub async fn close(&self) {
        self.0.pool.close().await;
    }

    /// As the host's own role, which owns the schema `plinth`.
    pub fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// To connect outside the pool, as the host's own role or another.
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.0.options
    }

    pub(crate) async fn health(&self, operation: &'static str) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.pool()).await.map(drop).map_err(|e| map_error(operation, e))
    }
}

/// PostgreSQL's integers are signed; a number beyond them is as good as the largest.
pub(crate) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The inverse of [`to_sql`]; what we store is never negative.
pub(crate) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A text as PostgreSQL takes it: it knows no zero character.
pub(crate) fn plain(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// The schema is older, and the role this host has may not change it.
fn older() -> Error {
    let why = "the schema `plinth` is of an older version of this program, and its owner has to change it: `plinth postgres prepare`";
    Error::new(ErrorKind::Denied, "postgres.migrate", why)
}

fn newer() -> Error {
    Error::new(ErrorKind::Failed, "postgres.migrate", "the schema `plinth` was written by a newer version of this program")
}
