//! Brings the schema `plinth` to this version's layout, one host at a time.

use super::{map_error, newer, older};
use plinth_capability::Result;
use sqlx::{Connection, PgConnection};

/// Applied once each, in order; their number is kept in the schema. A step that
/// was ever released is never changed.
const STEPS: &[&str] = &[
    include_str!("001.sql"),
    include_str!("002.sql"),
    include_str!("003.sql"),
    include_str!("004.sql"),
    include_str!("005.sql"),
    include_str!("006.sql"),
];

/// Names the advisory lock under which hosts migrate: `plinth` in ASCII.
const LOCK: i64 = 0x706c_696e_7468;

pub(super) async fn migrate(connection: &mut PgConnection) -> Result<()> {
    match run(connection).await.map_err(|e| map_error("postgres.migrate", e))? {
        Schema::Current => Ok(()),
        Schema::Newer => Err(newer()),
        Schema::OfAnother => Err(older()),
    }
}

/// What was found, and done about it.
enum Schema {
    /// It is this version's, now at least.
    Current,
    Newer,
    /// It is older, and this role may not change it.
    OfAnother,
}

async fn run(connection: &mut PgConnection) -> sqlx::Result<Schema> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    // Asked before, so that a role without CREATE on the database may use a schema made for it.
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace('plinth') IS NOT NULL").fetch_one(&mut *transaction).await?;
    if !there {
        sqlx::raw_sql("CREATE SCHEMA plinth").execute(&mut *transaction).await?;
    }
    let there: bool = sqlx::query_scalar("SELECT to_regclass('plinth.migrations') IS NOT NULL").fetch_one(&mut *transaction).await?;
    if !there {
        let table = "CREATE TABLE plinth.migrations (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())";
        sqlx::raw_sql(table).execute(&mut *transaction).await?;
    }
    let done: i32 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM plinth.migrations").fetch_one(&mut *transaction).await?;
    let Some(missing) = STEPS.get(usize::try_from(done).unwrap_or(usize::MAX)..) else { return Ok(Schema::Newer) };
    let may_change: bool = sqlx::query_scalar("SELECT has_schema_privilege('plinth', 'CREATE')").fetch_one(&mut *transaction).await?;
    if !missing.is_empty() && !may_change {
        return Ok(Schema::OfAnother);
    }
    for (step, version) in missing.iter().zip(done + 1..) {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO plinth.migrations (version) VALUES ($1)").bind(version).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(Schema::Current)
}
