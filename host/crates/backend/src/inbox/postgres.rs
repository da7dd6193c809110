//! The inbox in PostgreSQL: for any number of hosts beside one broker.
//!
//! It forgets nothing by itself. Whoever owns it calls `forget` now and then
//! with a time one `DEDUPE_WINDOW` ago: by then a repeat is a new message.

use crate::postgres::{Postgres, map_error, plain, to_sql};
use async_trait::async_trait;
use plinth_capability::{
    Error, ErrorKind, Result,
    inbox::{Arrival, Inbox},
    name::QueueName,
    now_ms,
};
use std::collections::{BTreeMap, HashMap};

/// Caller-controlled: arrivals of one claim; a consumer asks a broker for fewer.
const ARRIVALS_MAX: usize = 10_000;
/// Publisher-controlled: bytes of an id or of a copy's name; four times what AMQP can carry.
const NAME_MAX: usize = 1_024;
/// Claims forgotten by one statement, so that none takes long.
const FORGET_STEP: u64 = 1_000;

/// Answers who owns each id. In the order of the ids, so that two hosts never wait for each other.
const CLAIM: &str = "
    INSERT INTO plinth.inbox AS c (queue, id, copy, renewed_ms)
    SELECT $1, a.id, a.copy, $4 FROM unnest($2::text[], $3::text[]) AS a(id, copy) ORDER BY a.id
    ON CONFLICT (queue, id) DO UPDATE
    SET renewed_ms = CASE WHEN c.copy = ANY ($5) THEN greatest(c.renewed_ms, $4) ELSE c.renewed_ms END
    RETURNING id, copy";
const FORGET: &str = "DELETE FROM plinth.inbox WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM plinth.inbox WHERE renewed_ms < $1 ORDER BY renewed_ms LIMIT $2 FOR UPDATE SKIP LOCKED)) AND renewed_ms < $1";

pub struct PostgresInbox {
    postgres: Postgres,
}

impl PostgresInbox {
    pub fn new(postgres: Postgres) -> Self {
        Self { postgres }
    }
}

#[async_trait]
impl Inbox for PostgresInbox {
    async fn claim(&self, queue: &QueueName, arrivals: &[Arrival]) -> Result<Vec<bool>> {
        if arrivals.is_empty() {
            return Ok(Vec::new());
        }
        check(arrivals)?;
        let named: Vec<_> = arrivals.iter().map(|arrival| (plain(&arrival.id), plain(&arrival.copy))).collect();
        let mut first = BTreeMap::new();
        for (id, copy) in &named {
            first.entry(id.as_ref()).or_insert(copy.as_ref());
        }
        let (ids, copies): (Vec<&str>, Vec<&str>) = first.into_iter().unzip();
        let all: Vec<&str> = named.iter().map(|(_, copy)| copy.as_ref()).collect();
        let claim =
            sqlx::query_as::<_, (String, String)>(CLAIM).bind(queue.as_str()).bind(ids).bind(copies).bind(to_sql(now_ms())).bind(all);
        let owners = claim.fetch_all(self.postgres.pool()).await.map_err(|e| map_error("inbox.claim", e))?;
        let owners: HashMap<String, String> = owners.into_iter().collect();
        Ok(named.iter().map(|(id, copy)| owners.get(id.as_ref()).is_some_and(|owner| owner == copy)).collect())
    }

    async fn forget(&self, before_ms: u64) -> Result<u64> {
        let mut total = 0;
        loop {
            let forget = sqlx::query(FORGET).bind(to_sql(before_ms)).bind(to_sql(FORGET_STEP));
            let forgotten = forget.execute(self.postgres.pool()).await.map_err(|e| map_error("inbox.forget", e))?.rows_affected();
            total += forgotten;
            if forgotten < FORGET_STEP {
                return Ok(total);
            }
        }
    }

    async fn health(&self) -> Result<()> {
        self.postgres.health("inbox.health").await
    }
}

fn check(arrivals: &[Arrival]) -> Result<()> {
    let refuse = |why| Err(Error::new(ErrorKind::LimitExceeded, "inbox.claim", why));
    if arrivals.len() > ARRIVALS_MAX {
        return refuse(format!("at most {ARRIVALS_MAX} arrivals in one call"));
    }
    if arrivals.iter().any(|arrival| arrival.id.len() > NAME_MAX || arrival.copy.len() > NAME_MAX) {
        return refuse(format!("an id and a copy have at most {NAME_MAX} bytes"));
    }
    Ok(())
}
