//! The cursor that reads along with a running statement.

use super::{
    conn::{Conn, guest_sql, statement_timeout},
    gate::Statement,
    pool::{Lease, Tasks},
    value::{self, Reader},
};
use crate::{
    database::paging::{PagePlan, closed},
    sqlite::map_error,
};
use async_trait::async_trait;
use futures::{TryStreamExt, stream::BoxStream};
use plinth_capability::{
    Error, ErrorKind, Result,
    database::{Column, Cursor, Page, Row, Value},
};
use sqlx::{Either, Executor, Sqlite, sqlite::SqliteArguments, sqlite::SqliteQueryResult, sqlite::SqliteRow};
use std::sync::Arc;
use tokio::{
    sync::{OwnedRwLockReadGuard, mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

type Reply = oneshot::Sender<Result<Page>>;

/// The statement runs in a task that owns the connection; each `next` asks it
/// for a page. Dropping the cursor ends the task, which frees the connection.
pub(super) struct StreamCursor {
    columns: Arc<[Column]>,
    pages: mpsc::Sender<Reply>,
    done: bool,
    /// A `next` was dropped before its page came: the page is lost, so is the cursor.
    torn: bool,
}

impl StreamCursor {
    /// Returns once the statement has begun, which fixes the state it sees.
    pub(super) async fn start(mut lease: Lease, statement: Statement, params: Vec<Value>, plan: PagePlan, tasks: &Tasks) -> Result<Self> {
        let columns = lease.conn()?.columns(&statement, &plan.limits).await?;
        let reader = Reader::new(&columns, &plan.limits);
        let arguments = value::bind(params)?;
        let (pages, requests) = mpsc::channel(1);
        let (begun, begins) = oneshot::channel();
        let begun = Begun { schema: lease.release_schema(), tell: begun };
        let task = async move {
            let Ok(conn) = lease.conn() else { return };
            if serve(conn, &statement, arguments, reader, &plan, begun, requests).await {
                conn.quiet();
            }
        };
        tasks.tracker.spawn_on(task, &tasks.runtime);
        begins.await.map_err(|_| closed())??;
        Ok(Self { columns, pages, done: false, torn: false })
    }
}

#[async_trait]
impl Cursor for StreamCursor {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    async fn next(&mut self) -> Result<Page> {
        if self.done {
            return Ok(Page { rows: Vec::new(), done: true });
        }
        if self.torn {
            return Err(closed());
        }
        self.torn = true;
        let (reply, page) = oneshot::channel();
        self.pages.send(reply).await.map_err(|_| closed())?;
        let page = page.await.map_err(|_| closed())??;
        (self.torn, self.done) = (false, page.done);
        Ok(page)
    }
}

/// What is due at the first step: the statement then sees one state, schema included.
struct Begun {
    schema: Option<OwnedRwLockReadGuard<u64>>,
    tell: oneshot::Sender<Result<()>>,
}

/// True if the statement ran to its end.
async fn serve(
    conn: &mut Conn,
    statement: &Statement,
    arguments: SqliteArguments,
    reader: Reader,
    plan: &PagePlan,
    begun: Begun,
    mut requests: mpsc::Receiver<Reply>,
) -> bool {
    let ends = Instant::now() + plan.lifetime;
    conn.busy = true;
    conn.control.arm(statement_timeout(&plan.limits));
    let control = Arc::clone(&conn.control);
    let rows = conn.raw.fetch_many(sqlx::query_with::<Sqlite, _>(guest_sql(statement), arguments));
    let mut rows = Rows { rows, reader, ahead: None };
    let first = within(plan, rows.look_ahead()).await;
    let failed = first.is_err();
    drop(begun.schema);
    if begun.tell.send(first).is_err() || failed {
        return false;
    }
    while let Ok(Some(reply)) = timeout_at(ends, requests.recv()).await {
        control.arm(statement_timeout(&plan.limits));
        let page = within(plan, rows.page(plan.size)).await;
        let done = page.as_ref().is_ok_and(|p| p.done);
        let failed = page.is_err();
        // Nobody took the page: the next one must not pass for it.
        if reply.send(page).is_err() || failed || done {
            return done;
        }
    }
    false
}

async fn within<T>(plan: &PagePlan, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(ErrorKind::Timeout, "cursor.next", "the statement took too long");
    timeout(statement_timeout(&plan.limits), work).await.map_err(late)?
}

type Steps<'a> = BoxStream<'a, sqlx::Result<Either<SqliteQueryResult, SqliteRow>>>;

struct Rows<'a> {
    rows: Steps<'a>,
    reader: Reader,
    ahead: Option<Row>,
}

impl Rows<'_> {
    async fn look_ahead(&mut self) -> Result<()> {
        self.ahead = None;
        while let Some(step) = self.rows.try_next().await.map_err(|e| map_error("cursor.next", e))? {
            if let Either::Right(row) = step {
                self.ahead = Some(self.reader.read(&row)?);
                break;
            }
        }
        Ok(())
    }

    async fn page(&mut self, size: usize) -> Result<Page> {
        let mut rows = Vec::new();
        self.reader.restart();
        while rows.len() < size
            && let Some(row) = self.ahead.take()
        {
            rows.push(row);
            self.look_ahead().await?;
        }
        Ok(Page { rows, done: self.ahead.is_none() })
    }
}
