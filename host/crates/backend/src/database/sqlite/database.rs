//! One database: statements go to the writer or to a reader by what they do.

use super::{
    conn::statement_timeout,
    cursor::StreamCursor,
    gate::{Statement, Verb},
    pool::{Lease, Pool, Tasks},
    transaction::SqliteTransaction,
};
use crate::database::{
    paging::{BufferedCursor, PagePlan},
    rules::{add, check_lists, read_only},
};
use async_trait::async_trait;
use plinth_capability::{
    Result,
    database::{Access, Cursor, Database, Dialect, Execution, QueryLimits, RowSet, Transaction, TransactionOptions, Value},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// What all handles of one database share.
pub(super) struct Store {
    pub(super) writer: Pool,
    pub(super) readers: Pool,
    pub(super) tasks: Tasks,
    /// Told after each commit that put something into the outbox.
    pub(super) wake: Arc<Notify>,
    /// The longest life of a transaction or cursor.
    pub(super) longest: Duration,
}

pub(super) struct SqliteDatabase {
    store: Arc<Store>,
    access: Access,
}

impl SqliteDatabase {
    pub(super) fn new(store: Arc<Store>, access: Access) -> Self {
        Self { store, access }
    }

    async fn reader(&self, limits: &QueryLimits) -> Result<Lease> {
        self.store.readers.acquire(statement_timeout(limits)).await
    }

    async fn writer(&self, limits: &QueryLimits) -> Result<Lease> {
        if self.access == Access::ReadOnly {
            return Err(read_only());
        }
        self.store.writer.acquire_writer(statement_timeout(limits)).await
    }

    /// A change that answers rows: too many of them undo it.
    async fn change_and_read(&self, statement: &Statement, params: Vec<Value>, limits: &QueryLimits) -> Result<RowSet> {
        let mut lease = self.writer(limits).await?;
        let conn = lease.conn()?;
        conn.begin_writing().await?;
        let answer = conn.query(statement, params, limits).await?;
        conn.commit().await?;
        Ok(answer)
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn query(&self, statement: &str, params: Vec<Value>, limits: QueryLimits) -> Result<RowSet> {
        let statement = Statement::check(statement)?;
        statement.check_params(&params)?;
        match statement.verb() {
            Verb::Read => self.reader(&limits).await?.conn()?.query(&statement, params, &limits).await,
            _ => self.change_and_read(&statement, params, &limits).await,
        }
    }

    async fn query_paged(&self, statement: &str, params: Vec<Value>, page_size: u32, limits: QueryLimits) -> Result<Box<dyn Cursor>> {
        let statement = Statement::check(statement)?;
        statement.check_params(&params)?;
        let plan = PagePlan::new(page_size, limits, self.store.longest)?;
        if statement.verb() == Verb::Read {
            let lease = self.reader(&limits).await?;
            return Ok(Box::new(StreamCursor::start(lease, statement, params, plan, &self.store.tasks).await?));
        }
        let answer = self.change_and_read(&statement, params, &limits).await?;
        Ok(Box::new(BufferedCursor::new(answer, &plan)))
    }

    async fn execute(&self, statement: &str, params: Vec<Value>, limits: QueryLimits) -> Result<Execution> {
        let statement = Statement::check(statement)?;
        statement.check_params(&params)?;
        let mut lease = match statement.verb() {
            Verb::Read => self.reader(&limits).await?,
            _ => self.writer(&limits).await?,
        };
        lease.conn()?.execute(&statement, params, &limits).await
    }

    async fn execute_many(&self, statement: &str, params: Vec<Vec<Value>>, limits: QueryLimits) -> Result<Execution> {
        let statement = check_many(statement, &params)?;
        let mut lease = self.writer(&limits).await?;
        let conn = lease.conn()?;
        conn.begin_writing().await?;
        let mut total = Execution::default();
        for list in params {
            add(&mut total, conn.execute(&statement, list, &limits).await?);
        }
        conn.commit().await?;
        Ok(total)
    }

    async fn begin(&self, options: TransactionOptions, limits: QueryLimits) -> Result<Box<dyn Transaction>> {
        let read_only = options.read_only || self.access == Access::ReadOnly;
        let mut lease = if read_only { self.reader(&limits).await? } else { self.writer(&limits).await? };
        // SQLite's transactions are serializable: every isolation asked for is given.
        match read_only {
            true => lease.conn()?.begin_reading().await?,
            false => lease.conn()?.begin_writing().await?,
        }
        drop(lease.release_schema());
        let lifetime = options.timeout.map_or(self.store.longest, |t| t.min(self.store.longest));
        Ok(Box::new(SqliteTransaction::start(lease, Arc::clone(&self.store), read_only, lifetime, limits)))
    }
}

/// Refuses all lists if one does not fit, before anything happens.
pub(super) fn check_many(statement: &str, params: &[Vec<Value>]) -> Result<Statement> {
    check_lists(params.len())?;
    let statement = Statement::check(statement)?;
    for list in params {
        statement.check_params(list)?;
    }
    Ok(statement)
}
