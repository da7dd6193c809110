//! One database: a schema, read and written through the roles that have a right to.

use super::{
    conn::Conn,
    cursor::PortalCursor,
    gate::{Statement, Verb},
    pool::{Lease, Pool, Tasks},
    run::statement_timeout,
    transaction::PostgresTransaction,
};
use crate::database::{
    paging::{BufferedCursor, PagePlan},
    rules::{add, check_lists, read_only},
};
use crate::failpoint::reach;
use async_trait::async_trait;
use plinth_capability::{
    Result,
    database::{Access, Cursor, Database, Dialect, Execution, Isolation, QueryLimits, RowSet, Transaction, TransactionOptions, Value},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// What all handles of one database share.
pub(super) struct Store {
    pub(super) writer: Pool,
    pub(super) reader: Pool,
    pub(super) tasks: Tasks,
    /// Told after each commit that put something into the outbox.
    pub(super) wake: Arc<Notify>,
    /// What the writer's role shows to use the outbox.
    pub(super) token: String,
    /// The longest life of a transaction or cursor.
    pub(super) longest: Duration,
}

pub(super) struct PostgresDatabase {
    store: Arc<Store>,
    access: Access,
}

impl PostgresDatabase {
    pub(super) fn new(store: Arc<Store>, access: Access) -> Self {
        Self { store, access }
    }

    fn check(&self, statement: &str, params: &[Value]) -> Result<Statement> {
        let statement = Statement::check(statement)?;
        statement.check_params(params)?;
        self.may(&statement).map(|()| statement)
    }

    fn may(&self, statement: &Statement) -> Result<()> {
        match self.access == Access::ReadOnly && statement.verb() != Verb::Read {
            true => Err(read_only()),
            false => Ok(()),
        }
    }

    async fn acquire(&self, limits: &QueryLimits) -> Result<Lease> {
        let pool = if self.access == Access::ReadOnly { &self.store.reader } else { &self.store.writer };
        pool.acquire(statement_timeout(limits)).await
    }

    /// A change that answers rows: too many of them undo it.
    async fn change_and_read(&self, statement: &Statement, params: Vec<Value>, limits: &QueryLimits) -> Result<RowSet> {
        let mut lease = self.acquire(limits).await?;
        let conn = lease.conn()?;
        conn.begin("BEGIN").await?;
        let answer = conn.query(statement, params, limits).await?;
        conn.commit().await?;
        Ok(answer)
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn query(&self, statement: &str, params: Vec<Value>, limits: QueryLimits) -> Result<RowSet> {
        let statement = self.check(statement, &params)?;
        match statement.verb() {
            Verb::Read => self.acquire(&limits).await?.conn()?.query(&statement, params, &limits).await,
            Verb::Change | Verb::Schema => self.change_and_read(&statement, params, &limits).await,
        }
    }

    async fn query_paged(&self, statement: &str, params: Vec<Value>, page_size: u32, limits: QueryLimits) -> Result<Box<dyn Cursor>> {
        let statement = self.check(statement, &params)?;
        let plan = PagePlan::new(page_size, limits, self.store.longest)?;
        if statement.can_be_paged() {
            let lease = self.acquire(&limits).await?;
            return Ok(Box::new(PortalCursor::start(lease, &statement, params, plan, &self.store.tasks).await?));
        }
        let answer = self.change_and_read(&statement, params, &limits).await?;
        Ok(Box::new(BufferedCursor::new(answer, &plan)))
    }

    async fn execute(&self, statement: &str, params: Vec<Value>, limits: QueryLimits) -> Result<Execution> {
        let statement = self.check(statement, &params)?;
        self.acquire(&limits).await?.conn()?.execute(&statement, &params, &limits).await
    }

    async fn execute_many(&self, statement: &str, params: Vec<Vec<Value>>, limits: QueryLimits) -> Result<Execution> {
        let statement = check_many(statement, &params)?;
        self.may(&statement)?;
        let mut lease = self.acquire(&limits).await?;
        let conn = lease.conn()?;
        conn.begin("BEGIN").await?;
        let total = execute_each(conn, &statement, &params, &limits).await?;
        conn.commit().await?;
        Ok(total)
    }

    async fn begin(&self, options: TransactionOptions, limits: QueryLimits) -> Result<Box<dyn Transaction>> {
        let read_only = options.read_only || self.access == Access::ReadOnly;
        let mut lease = self.acquire(&limits).await?;
        lease.conn()?.begin(begin_sql(options.isolation, read_only)).await?;
        reach("transaction.begun");
        let lifetime = options.timeout.map_or(self.store.longest, |t| t.min(self.store.longest));
        Ok(Box::new(PostgresTransaction::start(lease, Arc::clone(&self.store), read_only, lifetime, limits)))
    }
}

fn begin_sql(isolation: Isolation, read_only: bool) -> &'static str {
    match (isolation, read_only) {
        (Isolation::BackendDefault, false) => "BEGIN",
        (Isolation::BackendDefault, true) => "BEGIN READ ONLY",
        (Isolation::ReadCommitted, false) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        (Isolation::ReadCommitted, true) => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        (Isolation::RepeatableRead, false) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        (Isolation::RepeatableRead, true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        (Isolation::Serializable, false) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        (Isolation::Serializable, true) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
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

pub(super) async fn execute_each(conn: &mut Conn, statement: &Statement, params: &[Vec<Value>], limits: &QueryLimits) -> Result<Execution> {
    let mut total = Execution::default();
    for list in params {
        add(&mut total, conn.execute(statement, list, limits).await?);
    }
    Ok(total)
}
