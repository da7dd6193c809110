//! A fresh PostgreSQL database for each test, or a whole server for one that breaks it.

use plinth_backend::postgres::{Postgres, PostgresConfig};
use plinth_services::shared::{self, Database};
use sqlx::{Connection, PgConnection};

/// Where a test's host keeps its state.
pub(crate) struct Fresh {
    url: String,
    /// Dropped with this; `None` on a server of the test's own.
    _database: Option<Database>,
}

impl Fresh {
    pub(crate) async fn new() -> Self {
        let database = shared::postgres_database().await.unwrap();
        Self { url: database.url(), _database: Some(database) }
    }

    pub(crate) fn on(server: &plinth_services::Postgres) -> Self {
        Self { url: format!("{}/postgres", server.url()), _database: None }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        PostgresConfig { url: self.url(), ..PostgresConfig::default() }
    }

    pub(crate) async fn open(&self) -> Postgres {
        Postgres::open(&self.config()).await.unwrap()
    }

    /// As the superuser, to look behind the host's back.
    pub(crate) async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }
}
