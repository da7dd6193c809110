//! A point query and a small transaction: the bare crate, the database capability, a plugin.

use super::{Contest, plugin::Plugin, turn};
use anyhow::{Context, Result, ensure};
use plinth_backend::{
    audit::PostgresAudit,
    database::{PostgresDatabases, PostgresDatabasesConfig},
    postgres::{Postgres, PostgresConfig},
    queue::EmbeddedQueue,
};
use plinth_capability::{
    database::{Access, Database, Databases, QueryLimits, TransactionOptions, Value},
    name::DatabaseName,
};
use sqlx::{PgPool, Row, postgres::PgPoolOptions};
use std::sync::Arc;

const ROWS: i64 = 1_000;
/// Of the bare pool, as many as one database has.
const CONNECTIONS: u32 = 6;

pub(super) async fn contests(url: &str, plugin: &Plugin) -> Result<Vec<Contest>> {
    let bare = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
    for statement in [
        "create table points (id bigint primary key, v text not null)",
        "create table entries (id bigint generated always as identity primary key, v text not null)",
        "insert into points select n, 'value' from generate_series(0, 999) n",
    ] {
        sqlx::query(statement).execute(&bare).await?;
    }
    let postgres = Postgres::open(&PostgresConfig { url: url.to_owned(), ..PostgresConfig::default() }).await?;
    let folder = tempfile::tempdir()?;
    let queue = EmbeddedQueue::open(&folder.path().join("queue.db"), plinth_backend::Durability::Process).await?;
    let audit = Arc::new(PostgresAudit::open(postgres.clone()).await?);
    let config = PostgresDatabasesConfig { connections_per_database: CONNECTIONS, ..PostgresDatabasesConfig::default() };
    let databases = Arc::new(PostgresDatabases::open(postgres, config, Arc::new(queue), audit).await?);
    let database = databases.open(&DatabaseName::new("native").context("a name")?, Access::ReadWrite).await?;
    for statement in [
        "create table points (id bigint primary key, v text not null)",
        "create table entries (id bigint generated always as identity primary key, v text not null)",
        "insert into points select n, 'value' from generate_series(0, 999) n",
    ] {
        database.execute(statement, Vec::new(), QueryLimits::default()).await?;
    }
    // Lives as long as the measurement uses its database.
    let held: Held = Arc::new((databases, folder));
    Ok(vec![point(&bare, &database, &held, plugin), transaction(&bare, &database, &held, plugin)])
}

type Held = Arc<(Arc<PostgresDatabases>, tempfile::TempDir)>;

fn point(bare: &PgPool, native: &Arc<dyn Database>, held: &Held, plugin: &Plugin) -> Contest {
    let (bare, native, held) = (bare.clone(), native.clone(), held.clone());
    Contest {
        keys: ["postgres_point_bare_rps", "postgres_point_native_over_bare", "postgres_point_plugin_over_bare"],
        bare: turn(1.0, move |number| {
            let bare = bare.clone();
            async move {
                let row = sqlx::query("select v from points where id = $1").bind(number as i64 % ROWS).fetch_one(&bare).await?;
                ensure!(row.get::<String, _>(0) == "value", "the row is there");
                Ok(())
            }
        }),
        native: turn(1.0, move |number| {
            let (native, _held) = (native.clone(), held.clone());
            async move {
                let id = Value::Integer(number as i64 % ROWS);
                let found = native.query("select v from points where id = $1", vec![id], QueryLimits::default()).await?;
                ensure!(found.rows == [[Value::Text("value".to_owned())]], "the row is there");
                Ok(())
            }
        }),
        plugin: plugin.turn("point", 100, 1.0),
        tidy: None,
    }
}

fn transaction(bare: &PgPool, native: &Arc<dyn Database>, held: &Held, plugin: &Plugin) -> Contest {
    let (bare, native, held) = (bare.clone(), native.clone(), held.clone());
    Contest {
        keys: ["postgres_tx_bare_rps", "postgres_tx_native_over_bare", "postgres_tx_plugin_over_bare"],
        bare: turn(1.0, move |_| {
            let bare = bare.clone();
            async move {
                let mut work = bare.begin().await?;
                sqlx::query("insert into entries (v) values ($1)").bind("x").execute(&mut *work).await?;
                sqlx::query("select count(*) as n from points where id = $1").bind(1_i64).fetch_one(&mut *work).await?;
                Ok(work.commit().await?)
            }
        }),
        native: turn(1.0, move |_| {
            let (native, _held) = (native.clone(), held.clone());
            async move {
                let mut work = native.begin(TransactionOptions::default(), QueryLimits::default()).await?;
                work.execute("insert into entries (v) values ($1)", vec![Value::Text("x".to_owned())]).await?;
                work.query("select count(*) as n from points where id = $1", vec![Value::Integer(1)]).await?;
                Ok(work.commit().await?)
            }
        }),
        plugin: plugin.turn("tx", 20, 1.0),
        tidy: None,
    }
}
