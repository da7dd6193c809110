//! A transaction: a lease on a connection that ends with it, at the latest when its time is up.

use super::{
    conn::Conn,
    database::{Store, check_many, execute_each},
    gate::{Statement, Verb},
    outbox::Tally,
    pool::Lease,
};
use crate::{
    database::{
        draft::Draft,
        outbox::check_record,
        paging::{BufferedCursor, PagePlan},
        rules::{check_savepoint, read_only},
        slot::{Slot, SlotState, expired},
    },
    failpoint::reach,
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
use tokio::{task::AbortHandle, time::Instant};

/// How long a commit is waited for; beyond, its outcome is unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct PostgresTransaction {
    slot: Arc<Slot<Lease>>,
    store: Arc<Store>,
    timer: AbortHandle,
    limits: QueryLimits,
    ends: Instant,
    lifetime: Duration,
    read_only: bool,
    savepoints: Vec<String>,
    outbox: Tally,
}

impl PostgresTransaction {
    pub(super) fn start(lease: Lease, store: Arc<Store>, read_only: bool, lifetime: Duration, limits: QueryLimits) -> Self {
        let slot = Arc::new(Slot::new(lease));
        let ends = Instant::now() + lifetime;
        let expiring = Arc::clone(&slot);
        let timer = async move {
            tokio::time::sleep_until(ends).await;
            expiring.set(SlotState::Expired);
        };
        let timer = store.tasks.tracker.spawn_on(timer, &store.tasks.runtime).abort_handle();
        Self { slot, store, timer, limits, ends, lifetime, read_only, savepoints: Vec::new(), outbox: Tally::default() }
    }

    /// The limits of the next statement: it ends with the transaction.
    fn limits(&self) -> QueryLimits {
        let left = self.ends.saturating_duration_since(Instant::now()).as_millis();
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

    /// Puts the lease back, unless the statement was left in the middle: then
    /// the transaction goes with the lease. One that only failed can still be
    /// rolled back, or back to a savepoint.
    fn give_back<T>(&self, mut lease: Lease, result: Result<T>) -> Result<T> {
        let conn = lease.conn()?;
        if result.is_err() && (conn.busy || conn.broken) {
            return result;
        }
        match self.slot.put(lease) {
            true => result,
            false => result.and(Err(expired())),
        }
    }

    async fn put_in_outbox(&mut self, draft: Draft) -> Result<()> {
        if self.read_only {
            return Err(read_only());
        }
        let mut tally = self.outbox.clone();
        tally.count(&draft)?;
        let mut lease = self.slot.take()?;
        let result = tally.insert(lease.conn()?, &self.store.token, draft).await;
        let result = self.give_back(lease, result);
        if result.is_ok() {
            self.outbox = tally;
        }
        result
    }
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn query(&mut self, statement: &str, params: Vec<Value>) -> Result<RowSet> {
        let (statement, limits) = (self.check(statement, &params)?, self.limits());
        let mut lease = self.slot.take()?;
        let result = lease.conn()?.query(&statement, params, &limits).await;
        if statement.verb() != Verb::Read && result.as_ref().is_err_and(|e| e.kind() == ErrorKind::LimitExceeded) {
            // The change has happened and its answer is refused: all of it goes, with the lease.
            return result;
        }
        self.give_back(lease, result)
    }

    async fn query_paged(&mut self, statement: &str, params: Vec<Value>, page_size: u32) -> Result<Box<dyn Cursor>> {
        let plan = PagePlan::new(page_size, self.limits, self.lifetime)?;
        let answer = self.query(statement, params).await?;
        Ok(Box::new(BufferedCursor::new(answer, &plan)))
    }

    async fn execute(&mut self, statement: &str, params: Vec<Value>) -> Result<Execution> {
        let (statement, limits) = (self.check(statement, &params)?, self.limits());
        let mut lease = self.slot.take()?;
        let result = lease.conn()?.execute(&statement, &params, &limits).await;
        self.give_back(lease, result)
    }

    async fn execute_many(&mut self, statement: &str, params: Vec<Vec<Value>>) -> Result<Execution> {
        let (statement, limits) = (check_many(statement, &params)?, self.limits());
        self.may(&statement)?;
        let mut lease = self.slot.take()?;
        let result = execute_all(lease.conn()?, &statement, &params, &limits).await;
        self.give_back(lease, result)
    }

    async fn savepoint(&mut self, name: &str) -> Result<()> {
        check_savepoint(name, self.savepoints.len())?;
        let mut lease = self.slot.take()?;
        let result = set_savepoint(lease.conn()?).await;
        let result = self.give_back(lease, result);
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
        let result = self.give_back(lease, result);
        if let (Some(depth), true) = (found, result.is_ok()) {
            // The savepoint itself stays, to return to again.
            self.savepoints.truncate(depth + 1);
        }
        result
    }

    async fn outbox_publish(&mut self, destination: &Destination, message: Message) -> Result<()> {
        check_message("outbox.publish", &message)?;
        self.put_in_outbox(Draft::message(destination, message)?).await?;
        reach("transaction.outbox-filled");
        Ok(())
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
            self.outbox.stamp(conn, &self.store.token).await?;
            reach("transaction.before-commit");
            conn.commit().await?;
            reach("transaction.committed");
            Ok(())
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

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        self.timer.abort();
        // An open lease is rolled back as it is dropped.
        self.slot.set(SlotState::Ended);
    }
}

/// One failing list undoes all, and leaves the transaction as it was.
async fn execute_all(conn: &mut Conn, statement: &Statement, params: &[Vec<Value>], limits: &QueryLimits) -> Result<Execution> {
    const OPERATION: &str = "transaction.execute_many";
    conn.check_alive()?;
    conn.step(OPERATION, "SAVEPOINT _plinth_many").await?;
    let result = execute_each(conn, statement, params, limits).await;
    if result.is_err() {
        if conn.busy || conn.broken {
            return result;
        }
        conn.rollback_to_savepoint(OPERATION, "ROLLBACK TO _plinth_many").await?;
    }
    conn.step(OPERATION, "RELEASE _plinth_many").await?;
    result
}

async fn set_savepoint(conn: &mut Conn) -> Result<()> {
    conn.check_alive()?;
    conn.step("transaction.savepoint", "SAVEPOINT _plinth_savepoint").await
}

/// All savepoints have one name in the database, where the newest of them is
/// meant: no name of a guest becomes SQL. `newer` were set after the one to return to.
async fn back(conn: &mut Conn, newer: usize) -> Result<()> {
    const OPERATION: &str = "transaction.rollback_to";
    for _ in 0..newer {
        conn.rollback_to_savepoint(OPERATION, "ROLLBACK TO _plinth_savepoint").await?;
        conn.step(OPERATION, "RELEASE _plinth_savepoint").await?;
    }
    conn.rollback_to_savepoint(OPERATION, "ROLLBACK TO _plinth_savepoint").await
}
