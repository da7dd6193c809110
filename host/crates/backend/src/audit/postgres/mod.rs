//! The audit log in PostgreSQL: one sequence without gaps over all hosts.

pub(super) mod find;

use super::Encoded;
use crate::postgres::{Postgres, from_sql, map_error, plain, to_sql};
use async_trait::async_trait;
use aws_lc_rs::hmac;
use plinth_capability::{
    Result,
    audit::{AuditFilter, AuditLog, AuditPage, AuditRecord, Receipt, StoredRecord},
};
use sqlx::{PgConnection, PgPool};

pub struct PostgresAudit {
    postgres: Postgres,
    pub(super) cursor_key: hmac::Key,
}

impl PostgresAudit {
    pub(super) fn pool(&self) -> &PgPool {
        self.postgres.pool()
    }

    pub async fn open(postgres: Postgres) -> Result<Self> {
        let key: sqlx::Result<Vec<u8>> = sqlx::query_scalar("SELECT cursor_key FROM plinth.settings").fetch_one(postgres.pool()).await;
        let key = key.map_err(|e| map_error("audit.open", e))?;
        Ok(Self { postgres, cursor_key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }
}

/// One statement: whoever holds the end of the log appends, and lets go with the commit.
const APPEND: &str = "SELECT place, at_ms FROM plinth.audit_append($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// The columns of the records, each as a list.
#[derive(Default)]
struct Columns {
    texts: [Vec<String>; 7],
    times: Vec<i64>,
    bodies: Vec<Vec<u8>>,
}

impl Columns {
    fn push(&mut self, Encoded { record, bytes }: Encoded) {
        let AuditRecord { id, actor, plugin_id, entry, recorded_at_ms, .. } = &record;
        let texts = [id, actor, plugin_id, &entry.subject.kind, &entry.subject.id, &entry.action].map(String::as_str);
        for (column, text) in self.texts.iter_mut().zip(texts.into_iter().chain([entry.outcome.code()])) {
            column.push(plain(text).into_owned());
        }
        self.times.push(to_sql(*recorded_at_ms));
        self.bodies.push(bytes);
    }
}

/// Also as a part of a transaction.
pub(super) async fn append_on(connection: &mut PgConnection, encoded: Vec<Encoded>) -> Result<Vec<Receipt>> {
    let ids: Vec<String> = encoded.iter().map(|one| one.record.id.clone()).collect();
    let mut columns = Columns::default();
    encoded.into_iter().for_each(|one| columns.push(one));
    let Columns { texts: [id, actor, plugin, kind, subject, action, outcome], times, bodies } = columns;
    let append = sqlx::query_as::<_, (i64, i64)>(APPEND).bind(id).bind(times).bind(actor).bind(plugin);
    let append = append.bind(kind).bind(subject).bind(action).bind(outcome).bind(bodies);
    let places = append.fetch_all(connection).await.map_err(|e| map_error("audit.append", e))?;
    let receipt = |(id, (place, at))| Receipt { id, sequence: from_sql(place), recorded_at_ms: from_sql(at) };
    Ok(ids.into_iter().zip(places).map(receipt).collect())
}

#[async_trait]
impl AuditLog for PostgresAudit {
    async fn append(&self, records: Vec<AuditRecord>) -> Result<Vec<Receipt>> {
        let encoded = super::encode(records)?;
        if encoded.is_empty() {
            return Ok(Vec::new());
        }
        append_on(&mut *self.postgres.pool().acquire().await.map_err(|e| map_error("audit.append", e))?, encoded).await
    }

    async fn find(&self, filter: &AuditFilter, cursor: Option<&str>, limit: u32) -> Result<AuditPage> {
        super::search::find(self, None, filter, cursor, limit).await
    }

    async fn record(&self, id: &str) -> Result<Option<StoredRecord>> {
        find::record(self.postgres.pool(), id).await
    }

    async fn count(&self) -> Result<u64> {
        let next: sqlx::Result<i64> = sqlx::query_scalar("SELECT next FROM plinth.audit_end").fetch_one(self.postgres.pool()).await;
        next.map(from_sql).map_err(|e| map_error("audit.count", e))
    }

    async fn health(&self) -> Result<()> {
        self.postgres.health("audit.health").await
    }
}
