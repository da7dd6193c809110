//! The cursor over a query that the server keeps open, page by page.

use super::{
    decode::Reader,
    gate::Statement,
    pool::{Lease, Tasks},
    run::Prepared,
};
use crate::database::{
    paging::{PagePlan, closed},
    slot::{Slot, SlotState},
};
use async_trait::async_trait;
use plinth_capability::{
    ErrorKind, Result,
    database::{Column, Cursor, Page, Row, Value},
};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Holds its connection until it is dropped or its time is up. A `next` that is
/// dropped takes the connection with it, and ends the cursor.
pub(super) struct PortalCursor {
    slot: Arc<Slot<Lease>>,
    timer: AbortHandle,
    prepared: Arc<Prepared>,
    plan: PagePlan,
    ahead: Option<Row>,
    begun: bool,
    done: bool,
}

impl PortalCursor {
    /// The state it sees is fixed when this returns.
    pub(super) async fn start(mut lease: Lease, statement: &Statement, params: Vec<Value>, plan: PagePlan, tasks: &Tasks) -> Result<Self> {
        let conn = lease.conn()?;
        let prepared = conn.describe(statement, &plan.limits).await?;
        conn.begin("BEGIN").await?;
        conn.execute(&statement.as_cursor(), &params, &plan.limits).await?;
        let slot = Arc::new(Slot::new(lease));
        let (expiring, lifetime) = (Arc::clone(&slot), plan.lifetime);
        let timer = async move {
            tokio::time::sleep(lifetime).await;
            expiring.set(SlotState::Expired);
        };
        let timer = tasks.tracker.spawn_on(timer, &tasks.runtime).abort_handle();
        Ok(Self { slot, timer, prepared, plan, ahead: None, begun: false, done: false })
    }

    async fn page(&mut self, lease: &mut Lease) -> Result<Page> {
        // One more than a page, to know whether it is the last.
        let count = if self.begun { self.plan.size } else { self.plan.size + 1 };
        let mut page: Vec<Row> = self.ahead.take().into_iter().collect();
        let mut reader = Reader::new(&self.plan.limits);
        let sources = &self.prepared.sources;
        let take = |row| {
            page.push(reader.read(&row, sources)?);
            Ok(())
        };
        let ended = lease.conn()?.fetch(count, &self.plan.limits, take).await? < count;
        self.begun = true;
        if page.len() > self.plan.size {
            self.ahead = page.pop();
        }
        self.done = ended && self.ahead.is_none();
        Ok(Page { rows: page, done: self.done })
    }
}

#[async_trait]
impl Cursor for PortalCursor {
    fn columns(&self) -> &[Column] {
        &self.prepared.columns
    }

    async fn next(&mut self) -> Result<Page> {
        if self.done {
            return Ok(Page { rows: Vec::new(), done: true });
        }
        let mut lease = self.slot.take().map_err(|e| if e.kind() == ErrorKind::Closed { closed() } else { e })?;
        let page = self.page(&mut lease).await?;
        if self.done {
            // Ends the transaction around it before the connection is lent again.
            self.timer.abort();
            self.slot.set(SlotState::Ended);
            lease.conn()?.rollback().await?;
        } else {
            self.slot.put(lease);
        }
        Ok(page)
    }
}

impl Drop for PortalCursor {
    fn drop(&mut self) {
        self.timer.abort();
        self.slot.set(SlotState::Ended);
    }
}
