//! A fresh PostgreSQL database for each test, or a whole server for one that breaks it.

use plinth_backend::postgres::{Postgres, PostgresConfig};
use plinth_services::shared::{self, Database};
use sqlx::{Connection, PgConnection};

/// Where a test's host keeps its state.
pub(crate) struct Fresh {
    url: String,
    superuser: String,
    /// Dropped with this; `None` on a server of the test's own.
    _database: Option<Database>,
}

impl Fresh {
    pub(crate) async fn new() -> Self {
        let database = shared::postgres_database().await.unwrap();
        Self { url: database.url(), superuser: database.url(), _database: Some(database) }
    }

    pub(crate) fn on(server: &plinth_services::Postgres) -> Self {
        let url = format!("{}/postgres", server.url());
        Self { superuser: url.clone(), url, _database: None }
    }

    /// The same, for a host that logs in as another role.
    pub(crate) fn of(mut self, role: &str) -> Self {
        self.url = self.url.replace("//postgres@", &format!("//{role}@"));
        self
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
        PgConnection::connect(&self.superuser).await.unwrap()
    }
}
