//! Databases behind their policy: opening, and every call on what was opened.

use crate::{
    Guarded,
    gate::{Gate, Repeat},
};
use async_trait::async_trait;
use plinth_capability::{
    Result,
    audit::AuditRecord,
    database::{
        Access, Column, Cursor, Database, Databases, Dialect, Execution, Page, QueryLimits, RowSet, Transaction, TransactionOptions, Value,
    },
    name::DatabaseName,
    queue::{Destination, Message},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

#[async_trait]
impl Databases for Guarded<dyn Databases> {
    /// All databases share one gate, as they share one backend.
    async fn open(&self, name: &DatabaseName, access: Access) -> Result<Arc<dyn Database>> {
        let inner = self.gate.run("database.open", Repeat::Safe, self.inner.open(name, access)).await?;
        Ok(Arc::new(Guarded { inner, gate: Arc::clone(&self.gate) }))
    }

    async fn health(&self) -> Result<()> {
        self.gate.probe("database.health", self.inner.health()).await
    }
}

#[async_trait]
impl Database for Guarded<dyn Database> {
    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    async fn query(&self, statement: &str, params: Vec<Value>, limits: QueryLimits) -> Result<RowSet> {
        let work = self.inner.query(statement, params, limits);
        self.gate.run_asking("database.query", repeat(statement), asked(&limits), work).await
    }

    async fn query_paged(&self, statement: &str, params: Vec<Value>, page_size: u32, limits: QueryLimits) -> Result<Box<dyn Cursor>> {
        let turn = self.gate.enter("database.query_paged").await?;
        let work = self.inner.query_paged(statement, params, page_size, limits);
        let inner = self.gate.bound("database.query_paged", repeat(statement), asked(&limits), work).await?;
        Ok(Box::new(GuardedCursor { inner, gate: Arc::clone(&self.gate), asked: asked(&limits), _turn: Some(turn) }))
    }

    async fn execute(&self, statement: &str, params: Vec<Value>, limits: QueryLimits) -> Result<Execution> {
        let work = self.inner.execute(statement, params, limits);
        self.gate.run_asking("database.execute", repeat(statement), asked(&limits), work).await
    }

    async fn execute_many(&self, statement: &str, params: Vec<Vec<Value>>, limits: QueryLimits) -> Result<Execution> {
        let work = self.inner.execute_many(statement, params, limits);
        self.gate.run_asking("database.execute_many", Repeat::Unsafe, asked(&limits), work).await
    }

    async fn begin(&self, options: TransactionOptions, limits: QueryLimits) -> Result<Box<dyn Transaction>> {
        let turn = self.gate.enter("database.begin").await?;
        let inner = self.gate.bound("database.begin", Repeat::Safe, asked(&limits), self.inner.begin(options, limits)).await?;
        Ok(Box::new(GuardedTransaction { inner, gate: Arc::clone(&self.gate), asked: asked(&limits), _turn: turn }))
    }
}

/// The backend ends a statement at its own timeout; the gate stands behind it.
fn asked(limits: &QueryLimits) -> Duration {
    Duration::from_millis(u64::from(limits.statement_timeout_ms))
}

/// Only what plainly reads is taken for a read: others may have changed something.
fn repeat(statement: &str) -> Repeat {
    let first = statement.trim_start().get(..6);
    if first.is_some_and(|word| word.eq_ignore_ascii_case("select")) { Repeat::Safe } else { Repeat::Unsafe }
}

/// Keeps the turn of its `begin` to the end: its calls never wait behind those
/// who wait for it to end.
struct GuardedTransaction {
    inner: Box<dyn Transaction>,
    gate: Arc<Gate>,
    asked: Duration,
    _turn: OwnedSemaphorePermit,
}

/// A call that is cut off ends the transaction, so nothing of it happened; only a
/// commit may have.
#[async_trait]
impl Transaction for GuardedTransaction {
    async fn query(&mut self, statement: &str, params: Vec<Value>) -> Result<RowSet> {
        self.gate.bound("transaction.query", Repeat::Safe, self.asked, self.inner.query(statement, params)).await
    }

    async fn query_paged(&mut self, statement: &str, params: Vec<Value>, page_size: u32) -> Result<Box<dyn Cursor>> {
        let work = self.inner.query_paged(statement, params, page_size);
        let inner = self.gate.bound("transaction.query_paged", Repeat::Safe, self.asked, work).await?;
        Ok(Box::new(GuardedCursor { inner, gate: Arc::clone(&self.gate), asked: self.asked, _turn: None }))
    }

    async fn execute(&mut self, statement: &str, params: Vec<Value>) -> Result<Execution> {
        self.gate.bound("transaction.execute", Repeat::Safe, self.asked, self.inner.execute(statement, params)).await
    }

    async fn execute_many(&mut self, statement: &str, params: Vec<Vec<Value>>) -> Result<Execution> {
        self.gate.bound("transaction.execute_many", Repeat::Safe, self.asked, self.inner.execute_many(statement, params)).await
    }

    async fn savepoint(&mut self, name: &str) -> Result<()> {
        self.gate.bound("transaction.savepoint", Repeat::Safe, self.asked, self.inner.savepoint(name)).await
    }

    async fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.gate.bound("transaction.rollback_to", Repeat::Safe, self.asked, self.inner.rollback_to(name)).await
    }

    async fn outbox_publish(&mut self, destination: &Destination, message: Message) -> Result<()> {
        self.gate.bound("outbox.publish", Repeat::Safe, self.asked, self.inner.outbox_publish(destination, message)).await
    }

    async fn outbox_audit(&mut self, record: AuditRecord) -> Result<()> {
        self.gate.bound("outbox.audit", Repeat::Safe, self.asked, self.inner.outbox_audit(record)).await
    }

    async fn commit(&mut self) -> Result<()> {
        self.gate.bound("transaction.commit", Repeat::Unsafe, self.asked, self.inner.commit()).await
    }

    async fn rollback(&mut self) -> Result<()> {
        self.gate.bound("transaction.rollback", Repeat::Safe, self.asked, self.inner.rollback()).await
    }
}

/// Holds a connection, and so a turn, unless its transaction holds one.
struct GuardedCursor {
    inner: Box<dyn Cursor>,
    gate: Arc<Gate>,
    asked: Duration,
    _turn: Option<OwnedSemaphorePermit>,
}

#[async_trait]
impl Cursor for GuardedCursor {
    fn columns(&self) -> &[Column] {
        self.inner.columns()
    }

    async fn next(&mut self) -> Result<Page> {
        self.gate.bound("cursor.next", Repeat::Safe, self.asked, self.inner.next()).await
    }
}
