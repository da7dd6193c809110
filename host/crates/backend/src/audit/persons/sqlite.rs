//! Persons' wrapped keys in the log's SQLite file.

use super::store::{Known, PersonRow, PersonStore};
use crate::{
    audit::SqliteAudit,
    sqlite::{from_sql, map_error, to_sql, writer::Fault},
};
use async_trait::async_trait;
use futures::FutureExt;
use plinth_capability::{Error, Result};
use sqlx::{Row, sqlite::SqliteRow};

const OPERATION: &str = "audit.persons";
const PERSON: &str = "SELECT pseudonym, key, generation, wrapped FROM persons WHERE pseudonym = ?1";

fn row(row: &SqliteRow) -> sqlx::Result<PersonRow> {
    Ok(PersonRow { pseudonym: row.try_get(0)?, key: row.try_get(1)?, generation: from_sql(row.try_get(2)?), wrapped: row.try_get(3)? })
}

fn failed(error: sqlx::Error) -> Error {
    map_error(OPERATION, error)
}

fn broken(error: sqlx::Error) -> Fault {
    Fault::Broken(failed(error))
}

#[async_trait]
impl PersonStore for SqliteAudit {
    async fn known(&self) -> Result<Known> {
        let query = sqlx::query_as("SELECT newest, pepper FROM person_keys");
        let (newest, pepper): (i64, Option<Vec<u8>>) = query.fetch_one(&self.readers).await.map_err(failed)?;
        Ok(Known { newest: from_sql(newest), pepper })
    }

    async fn note(&self, newest: u64, pepper: &[u8]) -> Result<()> {
        const SQL: &str = "UPDATE person_keys SET newest = max(newest, ?1), pepper = coalesce(pepper, ?2)";
        let pepper = pepper.to_vec();
        self.writer
            .run(OPERATION, move |_, connection| {
                async move { sqlx::query(SQL).bind(to_sql(newest)).bind(pepper).execute(connection).await.map(drop).map_err(broken) }
                    .boxed()
            })
            .await
    }

    async fn person(&self, pseudonym: &str) -> Result<Option<PersonRow>> {
        let found = sqlx::query(PERSON).bind(pseudonym).fetch_optional(&self.readers).await.map_err(failed)?;
        found.as_ref().map(row).transpose().map_err(failed)
    }

    async fn add(&self, new: PersonRow) -> Result<PersonRow> {
        const SQL: &str = "INSERT INTO persons (pseudonym, key, generation, wrapped) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        self.writer
            .run(OPERATION, move |_, connection| {
                async move {
                    let PersonRow { pseudonym, key, generation, wrapped } = new;
                    let insert = sqlx::query(SQL).bind(&pseudonym).bind(key).bind(to_sql(generation)).bind(wrapped);
                    insert.execute(&mut *connection).await.map_err(broken)?;
                    let stored = sqlx::query(PERSON).bind(pseudonym).fetch_one(connection).await.map_err(broken)?;
                    row(&stored).map_err(broken)
                }
                .boxed()
            })
            .await
    }

    async fn remove(&self, pseudonym: &str, key: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM persons WHERE pseudonym = ?1 AND key = ?2";
        let (pseudonym, key) = (pseudonym.to_owned(), key.to_owned());
        self.writer
            .run(OPERATION, move |_, connection| {
                async move { sqlx::query(SQL).bind(pseudonym).bind(key).execute(connection).await.map(drop).map_err(broken) }.boxed()
            })
            .await
    }

    async fn under(&self, generation: u64, after: &str, limit: u32) -> Result<Vec<PersonRow>> {
        const SQL: &str = "SELECT pseudonym, key, generation, wrapped FROM persons
            WHERE generation = ?1 AND pseudonym > ?2 ORDER BY pseudonym LIMIT ?3";
        let query = sqlx::query(SQL).bind(to_sql(generation)).bind(after).bind(i64::from(limit));
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(row).collect::<sqlx::Result<_>>().map_err(failed)
    }

    async fn rewrap(&self, from: u64, rows: Vec<PersonRow>) -> Result<()> {
        const SQL: &str = "UPDATE persons SET generation = ?1, wrapped = ?2 WHERE pseudonym = ?3 AND key = ?4 AND generation = ?5";
        self.writer
            .run(OPERATION, move |_, connection| {
                async move {
                    for PersonRow { pseudonym, key, generation, wrapped } in rows {
                        let update = sqlx::query(SQL).bind(to_sql(generation)).bind(wrapped).bind(pseudonym).bind(key).bind(to_sql(from));
                        update.execute(&mut *connection).await.map_err(broken)?;
                    }
                    Ok(())
                }
                .boxed()
            })
            .await
    }
}
