//! The baselines: a batched insert that knows nothing, and a chain in which every record waits for the one before.

use super::{WRITERS, material::Calls};
use anyhow::{Result, ensure};
use futures::{FutureExt, future::BoxFuture};
use plinth_audit::hash::sha256;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::Instant;
use tokio::task::JoinSet;

/// Records of one turn of the chain.
pub(super) const CHAINED: usize = 2_000;

/// A table with a sequence, drawn without a lock, and the bytes; a connection for each writer.
pub(super) struct Bare(Vec<PgConnection>);

impl Bare {
    pub(super) async fn open(url: &str) -> Result<Self> {
        let table = "create table bare (sequence bigint generated always as identity primary key, bytes bytea not null)";
        Ok(Self(connections(url, table).await?))
    }

    /// Records per second.
    pub(super) async fn turn(&mut self, work: Vec<Calls>) -> Result<f64> {
        turn(&mut self.0, work, |connection, bytes| insert(connection, bytes).boxed()).await
    }
}

/// Each record has the hash of the one before, under the lock of the chain's head.
pub(super) struct Chain(Vec<PgConnection>);

impl Chain {
    pub(super) async fn open(url: &str) -> Result<Self> {
        let tables = "create table chain (sequence bigint primary key, hash bytea not null, bytes bytea not null);
            create table head (next bigint not null, hash bytea not null); insert into head values (0, '')";
        Ok(Self(connections(url, tables).await?))
    }

    /// Records per second.
    pub(super) async fn turn(&mut self, work: Vec<Calls>) -> Result<f64> {
        turn(&mut self.0, work, |connection, bytes| link(connection, bytes).boxed()).await
    }
}

async fn connections(url: &str, tables: &str) -> Result<Vec<PgConnection>> {
    let mut all = Vec::new();
    for _ in 0..WRITERS {
        all.push(PgConnection::connect(url).await?);
    }
    if let Some(first) = all.first_mut() {
        sqlx::raw_sql(AssertSqlSafe(tables)).execute(first).await?;
    }
    Ok(all)
}

/// Stores the records of one call; how many it stored.
type Put = for<'a> fn(&'a mut PgConnection, &'a [Vec<u8>]) -> BoxFuture<'a, Result<u64>>;

/// Every writer makes its calls on its own connection.
async fn turn(connections: &mut Vec<PgConnection>, work: Vec<Calls>, put: Put) -> Result<f64> {
    ensure!(work.len() == connections.len(), "one part for each writer");
    let (began, mut writers) = (Instant::now(), JoinSet::new());
    for (mut connection, calls) in connections.drain(..).zip(work) {
        writers.spawn(async move {
            let mut stored = 0;
            for call in &calls.0 {
                stored += put(&mut connection, &call.bytes).await?;
            }
            anyhow::Ok((connection, stored))
        });
    }
    let mut stored = 0;
    while let Some(writer) = writers.join_next().await {
        let (connection, count) = writer??;
        connections.push(connection);
        stored += count;
    }
    Ok(stored as f64 / began.elapsed().as_secs_f64())
}

async fn insert(connection: &mut PgConnection, records: &[Vec<u8>]) -> Result<u64> {
    let put = sqlx::query("insert into bare (bytes) select * from unnest($1::bytea[])").bind(records);
    Ok(put.execute(connection).await?.rows_affected())
}

async fn link(connection: &mut PgConnection, records: &[Vec<u8>]) -> Result<u64> {
    for record in records {
        let mut link = connection.begin().await?;
        let head = sqlx::query_as("select next, hash from head for update").fetch_one(&mut *link).await?;
        let (next, mut chained): (i64, Vec<u8>) = head;
        chained.extend_from_slice(record);
        let hash = sha256(&chained);
        let put = sqlx::query("insert into chain values ($1, $2, $3)").bind(next).bind(hash.as_bytes().as_slice()).bind(record);
        put.execute(&mut *link).await?;
        let head = sqlx::query("update head set next = $1, hash = $2").bind(next + 1).bind(hash.as_bytes().as_slice());
        head.execute(&mut *link).await?;
        link.commit().await?;
    }
    Ok(records.len() as u64)
}
