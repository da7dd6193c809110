//! Persons' wrapped keys in PostgreSQL.

use super::store::{Known, PersonRow, PersonStore};
use crate::{
    audit::PostgresAudit,
    postgres::{from_sql, map_error, to_sql},
};
use async_trait::async_trait;
use plinth_capability::{Error, ErrorKind, Result};
use sqlx::{Row, postgres::PgRow};

const OPERATION: &str = "audit.persons";

fn row(row: &PgRow) -> sqlx::Result<PersonRow> {
    Ok(PersonRow { pseudonym: row.try_get(0)?, key: row.try_get(1)?, generation: from_sql(row.try_get(2)?), wrapped: row.try_get(3)? })
}

fn failed(error: sqlx::Error) -> Error {
    map_error(OPERATION, error)
}

#[async_trait]
impl PersonStore for PostgresAudit {
    async fn known(&self) -> Result<Known> {
        let query = sqlx::query_as("SELECT newest, pepper FROM plinth.audit_person_keys");
        let (newest, pepper): (i64, Option<Vec<u8>>) = query.fetch_one(self.pool()).await.map_err(failed)?;
        Ok(Known { newest: from_sql(newest), pepper })
    }

    async fn note(&self, newest: u64, pepper: &[u8]) -> Result<()> {
        const SQL: &str = "UPDATE plinth.audit_person_keys SET newest = greatest(newest, $1), pepper = coalesce(pepper, $2)";
        sqlx::query(SQL).bind(to_sql(newest)).bind(pepper).execute(self.pool()).await.map(drop).map_err(failed)
    }

    async fn person(&self, pseudonym: &str) -> Result<Option<PersonRow>> {
        const SQL: &str = "SELECT pseudonym, key, generation, wrapped FROM plinth.audit_persons WHERE pseudonym = $1";
        let found = sqlx::query(SQL).bind(pseudonym).fetch_optional(self.pool()).await.map_err(failed)?;
        found.as_ref().map(row).transpose().map_err(failed)
    }

    async fn add(&self, row: PersonRow) -> Result<PersonRow> {
        const SQL: &str = "INSERT INTO plinth.audit_persons (pseudonym, key, generation, wrapped) VALUES ($1, $2, $3, $4)
            ON CONFLICT (pseudonym) DO NOTHING";
        let PersonRow { pseudonym, key, generation, wrapped } = &row;
        let insert = sqlx::query(SQL).bind(pseudonym).bind(key).bind(to_sql(*generation)).bind(wrapped);
        if insert.execute(self.pool()).await.map_err(failed)?.rows_affected() == 1 {
            return Ok(row);
        }
        // Erased between the two statements: whoever asked tries again.
        let gone = || Error::new(ErrorKind::Conflict, OPERATION, "the person's key was changed at the same time");
        self.person(pseudonym).await?.ok_or_else(gone)
    }

    async fn remove(&self, pseudonym: &str, key: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM plinth.audit_persons WHERE pseudonym = $1 AND key = $2";
        sqlx::query(SQL).bind(pseudonym).bind(key).execute(self.pool()).await.map(drop).map_err(failed)
    }

    async fn under(&self, generation: u64, after: &str, limit: u32) -> Result<Vec<PersonRow>> {
        const SQL: &str = "SELECT pseudonym, key, generation, wrapped FROM plinth.audit_persons
            WHERE generation = $1 AND pseudonym > $2 ORDER BY pseudonym LIMIT $3";
        let query = sqlx::query(SQL).bind(to_sql(generation)).bind(after).bind(i64::from(limit));
        let rows = query.fetch_all(self.pool()).await.map_err(failed)?;
        rows.iter().map(row).collect::<sqlx::Result<_>>().map_err(failed)
    }

    async fn rewrap(&self, from: u64, rows: Vec<PersonRow>) -> Result<()> {
        const SQL: &str = "UPDATE plinth.audit_persons p SET generation = n.generation, wrapped = n.wrapped
            FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bytea[]) AS n (pseudonym, key, generation, wrapped)
            WHERE p.pseudonym = n.pseudonym AND p.key = n.key AND p.generation = $1";
        let (mut pseudonyms, mut keys, mut generations, mut wrapped) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            pseudonyms.push(row.pseudonym);
            keys.push(row.key);
            generations.push(to_sql(row.generation));
            wrapped.push(row.wrapped);
        }
        let update = sqlx::query(SQL).bind(to_sql(from)).bind(pseudonyms).bind(keys).bind(generations).bind(wrapped);
        update.execute(self.pool()).await.map(drop).map_err(failed)
    }
}
