//! Replay and purge: one change to the dead letters that an operator selects.

use super::memory::{QueueId, QueueMemory};
use crate::sqlite::{map_error, to_sql, writer::Fault};
use plinth_capability::{
    Error, ErrorKind,
    name::QueueName,
    now_ms,
    queue::{DeadLetterFilter, Selection},
};
use sqlx::SqliteConnection;

/// Dead letters one unit of work looks at, so that publishers get their turn
/// while a million of them are gone through.
const STEP: i64 = 1_000;

// A letter that is put back has had its time, so it does not expire again.
const PUT_BACK: &str =
    "UPDATE messages SET state = 0, attempts = 0, due_ms = ?1, expires_ms = NULL, died_ms = NULL, reason = NULL, last_error = NULL";
pub(super) const FORGET: &str = "DELETE FROM messages";

// The plus keeps SQLite from walking all letters by when they died, instead of looking up each id.
pub(super) const BY_ID: &str = "WHERE queue = ?2 AND state = 2 AND message_id IN (SELECT value FROM json_each(?3)) AND +died_ms <= ?1";
const MATCHING: &str = "WHERE queue = ?2 AND state = 2 AND (died_ms, id) > (?3, ?4) AND (died_ms, id) <= (?5, ?6)
    AND (?7 IS NULL OR reason = ?7) AND (?8 IS NULL OR destination = ?8) AND died_ms <= ?1";

/// Where this step ends: matching or not, the letters up to there have been looked at.
pub(super) const STEP_END: &str = "
    SELECT died_ms, id FROM messages WHERE queue = ?1 AND state = 2 AND (died_ms, id) > (?2, ?3) AND died_ms <= ?4
    ORDER BY died_ms, id LIMIT 1 OFFSET ?5";

/// What becomes of a selected letter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Replay,
    Purge,
}

impl Change {
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::Replay => "queue.replay",
            Self::Purge => "queue.purge",
        }
    }

    fn sql(self, which: &str) -> sqlx::AssertSqlSafe<String> {
        let what = if self == Self::Replay { PUT_BACK } else { FORGET };
        sqlx::AssertSqlSafe(format!("{what} {which}"))
    }
}

/// Where a dead letter stands: when it died, and its rowid.
type Place = (i64, i64);

/// What is still to be gone through, oldest first.
pub(super) struct Walk {
    rest: Rest,
    /// Letters that die later are not meant: a replayed one may die again at once.
    began_ms: i64,
}

enum Rest {
    Ids(Vec<String>),
    Matching {
        filter: DeadLetterFilter,
        /// The last letter looked at.
        after: Place,
    },
}

impl Walk {
    pub(super) fn new(selection: Selection) -> Self {
        let matching = |filter: DeadLetterFilter| {
            // Rowids begin with 1, so this place is before all that died at that time.
            let after = filter.died_after_ms.map_or((i64::MIN, 0), |ms| (to_sql(ms), 0));
            Rest::Matching { filter, after }
        };
        let rest = match selection {
            Selection::All => matching(DeadLetterFilter::default()),
            Selection::Matching(filter) => matching(filter),
            Selection::Ids(ids) => Rest::Ids(ids),
        };
        Self { rest, began_ms: to_sql(now_ms()) }
    }
}

/// Answers how many letters were changed, and the rest of the walk if there is one.
pub(super) async fn step(
    memory: &mut QueueMemory,
    connection: &mut SqliteConnection,
    queue: QueueName,
    change: Change,
    walk: Walk,
) -> Result<(u64, Option<Walk>), Fault> {
    let entry = memory.entry(connection, &queue, change.operation()).await?;
    if change == Change::Replay {
        memory.touch(entry.id);
    }
    match walk.rest {
        Rest::Ids(ids) => Ok((by_id(connection, entry.id, change, &ids, walk.began_ms).await?, None)),
        Rest::Matching { filter, after } => {
            let (changed, rest) = matching(connection, entry.id, change, (&filter, after, walk.began_ms)).await?;
            let began_ms = walk.began_ms;
            Ok((changed, rest.map(|after| Walk { rest: Rest::Matching { filter, after }, began_ms })))
        }
    }
}

async fn by_id(connection: &mut SqliteConnection, queue: QueueId, change: Change, ids: &[String], began_ms: i64) -> Result<u64, Fault> {
    let encode = |e| Fault::Refused(Error::new(ErrorKind::Internal, change.operation(), "encoding failed").with_source(e));
    let ids = serde_json::to_string(ids).map_err(encode)?;
    let query = sqlx::query(change.sql(BY_ID)).bind(began_ms).bind(queue).bind(ids);
    let done = query.execute(connection).await.map_err(|e| Fault::Broken(map_error(change.operation(), e)))?;
    Ok(done.rows_affected())
}

/// The letters of one step, and where the next begins.
async fn matching(
    connection: &mut SqliteConnection,
    queue: QueueId,
    change: Change,
    (filter, after, began_ms): (&DeadLetterFilter, Place, i64),
) -> Result<(u64, Option<Place>), Fault> {
    let broken = |e| Fault::Broken(map_error(change.operation(), e));
    let until_ms = filter.died_before_ms.map_or(began_ms, |before| began_ms.min(to_sql(before) - 1));
    let step = sqlx::query_as(STEP_END).bind(queue).bind(after.0).bind(after.1).bind(until_ms).bind(STEP - 1);
    let more: Option<Place> = step.fetch_optional(&mut *connection).await.map_err(broken)?;
    let end = more.unwrap_or((until_ms, i64::MAX));
    let done = sqlx::query(change.sql(MATCHING))
        .bind(began_ms)
        .bind(queue)
        .bind(after.0)
        .bind(after.1)
        .bind(end.0)
        .bind(end.1)
        .bind(filter.reason.as_deref())
        .bind(filter.destination.as_deref())
        .execute(connection)
        .await
        .map_err(broken)?;
    Ok((done.rows_affected(), more))
}
