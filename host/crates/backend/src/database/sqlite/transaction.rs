//! A transaction: a lease on a connection that ends with it, at the latest when its time is up.

use super::{
    conn::Conn,
    database::{Store, check_many},
    gate::{Statement, Verb},
    outbox,
    pool::Lease,
};
use crate::{
    database::{
        draft::Draft,
        outbox::check_record,
        paging::{BufferedCursor, PagePlan},
        rules::{add, check_savepoint, read_only},
        slot::{Slot, SlotState, expired},
    },
    queue::check_message,
};
use async_trait::async_trait;
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::AuditRecord,
    database::{Cursor, Execution, QueryLimits, RowSet, Transaction, Value},
    queue::{Destination, Message},
};
use std::{sync::Arc, time::Duration};
use tokio::task::AbortHandle;

/// How long a commit is waited for; beyond, its outcome is unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct SqliteTransaction {
    slot: Arc<Slot<Lease>>,
    store: Arc<Store>,
    timer: AbortHandle,
    limits: QueryLimits,
    ends: tokio::time::Instant,
    lifetime: Duration,
    read_only: bool,
    savepoints: Vec<String>,
    outbox: outbox::Tally,
}

impl SqliteTransaction {
    pub(super) fn start(lease: Lease, store: Arc<Store>, read_only: bool, lifetime: Duration, limits: QueryLimits) -> Self {
        let slot = Arc::new(Slot::new(lease));
        let ends = tokio::time::Instant::now() + lifetime;
        let expiring = Arc::clone(&slot);
        let timer = async move {
            tokio::time::sleep_until(ends).await;
            expiring.set(SlotState::Expired);
        };
        let timer = store.tasks.tracker.spawn_on(timer, &store.tasks.runtime).abort_handle();
        Self { slot, store, timer, limits, ends, lifetime, read_only, savepoints: Vec::new(), outbox: outbox::Tally::default() }
    }

    /// The limits of the next statement: it ends with the transaction.
    fn limits(&self) -> QueryLimits {
        let left = self.ends.saturating_duration_since(tokio::time::Instant::now()).as_millis();
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        QueryLimits { statement_timeout_ms: self.limits.statement_timeout_ms.min(left), ..self.limits }
    }

    fn check(&self, statement: &str, params: &[Value]) -> Result<Statement> {
        let statement = Statement::check(statement)?;
        statement.check_params(params)?;
        self.may(&statement).map(|()| statement)
    }

    fn may(&self, statement: &Statement) -> Result<()> {
        match self.read_only && statement.verb() != Verb::Read {
            true => Err(read_only()),
            false => Ok(()),
        }
    }

    /// Puts the lease back, unless the error ended the transaction: an interrupted
    /// change does, and so does `on conflict rollback`.
    async fn give_back<T>(&self, mut lease: Lease, result: Result<T>) -> Result<T> {
        if result.is_err() && !lease.conn()?.transaction_lives().await {
            return result;
        }
        match self.slot.put(lease) {
            true => result,
            false => result.and(Err(expired())),
        }
    }

    async fn put_in_outbox(&mut self, parcel: Draft) -> Result<()> {
        if self.read_only {
            return Err(read_only());
        }
        let mut tally = self.outbox;
        tally.count(&parcel)?;
        let mut lease = self.slot.take()?;
        let result = tally.insert(lease.conn()?, parcel).await;
        let result = self.give_back(lease, result).await;
        if result.is_ok() {
            self.outbox = tally;
        }
        result
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn query(&mut self, statement: &str, params: Vec<Value>) -> Result<RowSet> {
        let (statement, limits) = (self.check(statement, &params)?, self.limits());
        let mut lease = self.slot.take()?;
        let result = lease.conn()?.query(&statement, params, &limits).await;
        if statement.verb() != Verb::Read && result.as_ref().is_err_and(|e| e.kind() == ErrorKind::LimitExceeded) {
            // The change has happened and its answer is refused: all of it goes, with the lease.
            return result;
        }
        self.give_back(lease, result).await
    }

    async fn query_paged(&mut self, statement: &str, params: Vec<Value>, page_size: u32) -> Result<Box<dyn Cursor>> {
        let plan = PagePlan::new(page_size, self.limits, self.lifetime)?;
        let answer = self.query(statement, params).await?;
        Ok(Box::new(BufferedCursor::new(answer, &plan)))
    }

    async fn execute(&mut self, statement: &str, params: Vec<Value>) -> Result<Execution> {
        let (statement, limits) = (self.check(statement, &params)?, self.limits());
        let mut lease = self.slot.take()?;
        let result = lease.conn()?.execute(&statement, params, &limits).await;
        self.give_back(lease, result).await
    }

    async fn execute_many(&mut self, statement: &str, params: Vec<Vec<Value>>) -> Result<Execution> {
        let (statement, limits) = (check_many(statement, &params)?, self.limits());
        self.may(&statement)?;
        let mut lease = self.slot.take()?;
        let result = execute_all(lease.conn()?, &statement, params, &limits).await;
        self.give_back(lease, result).await
    }

    async fn savepoint(&mut self, name: &str) -> Result<()> {
        check_savepoint(name, self.savepoints.len())?;
        let mut lease = self.slot.take()?;
        let result = lease.conn()?.step("transaction.savepoint", "SAVEPOINT _plinth_savepoint").await;
        let result = self.give_back(lease, result).await;
        if result.is_ok() {
            self.savepoints.push(name.to_owned());
        }
        result
    }

    async fn rollback_to(&mut self, name: &str) -> Result<()> {
        let mut lease = self.slot.take()?;
        let found = self.savepoints.iter().rposition(|s| s == name);
        let result = match found {
            Some(depth) => back(lease.conn()?, self.savepoints.len() - depth - 1).await,
            None => Err(Error::new(ErrorKind::InvalidInput, "transaction.rollback_to", "there is no such savepoint")),
        };
        let result = self.give_back(lease, result).await;
        if let (Some(depth), true) = (found, result.is_ok()) {
            // The savepoint itself stays, to return to again.
            self.savepoints.truncate(depth + 1);
        }
        result
    }

    async fn outbox_publish(&mut self, destination: &Destination, message: Message) -> Result<()> {
        check_message("outbox.publish", &message)?;
        self.put_in_outbox(Draft::message(destination, message)?).await
    }

    async fn outbox_audit(&mut self, record: AuditRecord) -> Result<()> {
        check_record(&record)?;
        self.put_in_outbox(Draft::record(&record)?).await
    }

    async fn commit(&mut self) -> Result<()> {
        let mut lease = self.slot.take()?;
        self.timer.abort();
        let conn = lease.conn()?;
        let work = async {
            self.outbox.stamp(conn).await?;
            conn.commit().await
        };
        let unknown = |_| Error::new(ErrorKind::OutcomeUnknown, "transaction.commit", "the commit was not confirmed in time");
        // Whatever the error, the lease is dropped with the transaction and rolls back.
        let result = tokio::time::timeout(COMMIT_TIMEOUT, work).await.map_err(unknown).flatten();
        self.slot.set(SlotState::Ended);
        if !self.outbox.is_empty() {
            self.store.wake.notify_one();
        }
        result
    }

    async fn rollback(&mut self) -> Result<()> {
        let mut lease = self.slot.take()?;
        self.timer.abort();
        // Whatever the error, the lease is dropped and then cleaned.
        let result = lease.conn()?.rollback().await;
        self.slot.set(SlotState::Ended);
        result
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        self.timer.abort();
        // An open lease is rolled back as it is dropped.
        self.slot.set(SlotState::Ended);
    }
}

/// One failing list undoes all, and leaves the transaction as it was.
async fn execute_all(conn: &mut Conn, statement: &Statement, params: Vec<Vec<Value>>, limits: &QueryLimits) -> Result<Execution> {
    const OPERATION: &str = "transaction.execute_many";
    conn.step(OPERATION, "SAVEPOINT _plinth_many").await?;
    let mut total = Execution::default();
    for list in params {
        match conn.execute(statement, list, limits).await {
            Ok(one) => add(&mut total, one),
            Err(error) => {
                if conn.transaction_lives().await {
                    conn.step(OPERATION, "ROLLBACK TO _plinth_many").await?;
                    conn.step(OPERATION, "RELEASE _plinth_many").await?;
                    conn.rolled_back_to_savepoint().await?;
                }
                return Err(error);
            }
        }
    }
    conn.step(OPERATION, "RELEASE _plinth_many").await?;
    Ok(total)
}

/// All savepoints have one name in SQLite, where the newest of them is meant:
/// no name of a guest becomes SQL. `newer` were set after the one to return to.
async fn back(conn: &mut Conn, newer: usize) -> Result<()> {
    for _ in 0..newer {
        conn.step("transaction.rollback_to", "ROLLBACK TO _plinth_savepoint").await?;
        conn.step("transaction.rollback_to", "RELEASE _plinth_savepoint").await?;
    }
    conn.step("transaction.rollback_to", "ROLLBACK TO _plinth_savepoint").await?;
    conn.rolled_back_to_savepoint().await
}
