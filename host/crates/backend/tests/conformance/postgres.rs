//! A fresh PostgreSQL database for each test.

use plinth_backend::postgres::{Postgres, PostgresConfig};
use sqlx::{Connection, PgConnection};

/// A database of its own, dropped with this.
pub(crate) struct Fresh {
    server: String,
    name: String,
}

impl Fresh {
    pub(crate) async fn new() -> Self {
        let server = "postgres://postgres@127.0.0.1:5432".to_owned();
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
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

impl Drop for Fresh {
    fn drop(&mut self) {
        let (url, sql) = (format!("{}/postgres", self.server), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        let dropping = async move {
            let mut admin = PgConnection::connect(&url).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The test's own runtime may be the one that is dropping this.
        drop(std::thread::spawn(move || runtime.block_on(dropping)).join());
    }
}
