//! How cursors cut rows into pages, and the cursor over rows already read.

use async_trait::async_trait;
use plinth_capability::{
    Error, ErrorKind, Result,
    database::{Column, Cursor, Page, QueryLimits, Row, RowSet},
};
use std::time::Duration;

/// How a cursor cuts its rows into pages, and how long it may live.
#[derive(Debug, Clone, Copy)]
pub(super) struct PagePlan {
    pub(super) size: usize,
    pub(super) limits: QueryLimits,
    pub(super) lifetime: Duration,
}

impl PagePlan {
    /// `lifetime` is the host's; the rest is checked against the call's limits.
    pub(super) fn new(page_size: u32, limits: QueryLimits, lifetime: Duration) -> Result<Self> {
        if page_size == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "database.query_paged", "a page has at least one row"));
        }
        if page_size > limits.max_rows {
            let why = format!("a page has at most {} rows", limits.max_rows);
            return Err(Error::new(ErrorKind::LimitExceeded, "database.query_paged", why));
        }
        // One row is read ahead to know whether a page is the last.
        let limits = QueryLimits { max_rows: limits.max_rows.saturating_add(1), ..limits };
        Ok(Self { size: page_size as usize, limits, lifetime })
    }
}

/// Over rows that were read before, as inside a transaction.
pub(super) struct BufferedCursor {
    columns: Vec<Column>,
    rows: std::vec::IntoIter<Row>,
    size: usize,
}

impl BufferedCursor {
    pub(super) fn new(answer: RowSet, plan: &PagePlan) -> Self {
        Self { columns: answer.columns, rows: answer.rows.into_iter(), size: plan.size }
    }
}

#[async_trait]
impl Cursor for BufferedCursor {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    async fn next(&mut self) -> Result<Page> {
        let rows = self.rows.by_ref().take(self.size).collect();
        Ok(Page { rows, done: self.rows.len() == 0 })
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "cursor.next", "the cursor has ended")
}
