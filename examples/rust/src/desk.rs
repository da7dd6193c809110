//! The books: one row per order, written in one unit of work with its message and its audit record.

use plinth_sdk::{
    HookError, audit, clock,
    database::{ConstraintKind, Database, Error, Transaction, Value},
    outbox,
    queue::{Message, PublishOptions},
    random,
};
use serde::Deserialize;

/// From here on a person decides, unless the configuration says otherwise.
pub(crate) const LIMIT_CENTS: i64 = 100_000;
/// Beyond this nobody does.
pub(crate) const REVIEW_CENTS: i64 = 1_000_000;

#[derive(Deserialize)]
pub(crate) struct Order {
    pub(crate) order: String,
    pub(crate) amount_cents: i64,
    pub(crate) mode: Option<Mode>,
}

/// Asks for one of the hard cases.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    Retry,
    Reject,
    CapabilityError,
    Trap,
    Deadline,
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    pub(crate) amount_cents: i64,
}

pub(crate) enum Placed {
    Now,
    /// The order was in the books; nothing was changed.
    Before,
}

pub(crate) fn prepare() -> Result<(), Error> {
    let table = "create table if not exists orders \
        (id text primary key, amount_cents bigint not null, placed_at_ms bigint not null, receipt text not null)";
    Database::open("orders")?.execute(table, &[]).map(drop)
}

/// Row, message and audit record become visible together or not at all.
pub(crate) fn place(order: &Order, event_id: &str) -> Result<Placed, HookError> {
    let work = Database::open("orders")?.begin()?;
    match write(&work, order, event_id) {
        Ok(()) => {}
        Err(Error::ConstraintViolation(failure)) if failure.kind == ConstraintKind::Unique => {
            work.rollback()?;
            return Ok(Placed::Before);
        }
        Err(error) => return Err(error.into()),
    }
    work.commit()?;
    Ok(Placed::Now)
}

fn write(work: &Transaction, order: &Order, event_id: &str) -> Result<(), Error> {
    insert(work, order)?;
    let message = serde_json::json!({ "order": order.order, "amount_cents": order.amount_cents });
    let message = Message::json(&message).map_err(|error| Error::InvalidArgument(error.to_string()))?;
    outbox::publish(work, "shipments", &message, Some(&PublishOptions::default().about(&order.order)))?;
    let entry = audit::Entry::new("order.placed", "order", &order.order)
        .summary("an order was taken into the books")
        .attribute("amount-cents", order.amount_cents.to_string())
        .attribute("event-id", event_id);
    outbox::audit(work, &entry)?;
    if order.mode == Some(Mode::CapabilityError) {
        // The second row of the same order: the first and all of the above go with it.
        insert(work, order)?;
    }
    Ok(())
}

fn insert(work: &Transaction, order: &Order) -> Result<(), Error> {
    let receipt: String = random::bytes(8).iter().map(|byte| format!("{byte:02x}")).collect();
    let placed_at_ms = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    let row: [Value; 4] = [order.order.as_str().into(), order.amount_cents.into(), placed_at_ms.into(), receipt.into()];
    work.execute("insert into orders (id, amount_cents, placed_at_ms, receipt) values ($1, $2, $3, $4)", &row)?;
    Ok(())
}

/// A statement that names no table there is comes back as just that.
pub(crate) fn check_typed_errors() -> Result<(), HookError> {
    match Database::open("orders")?.execute("insert into no_such_table (id) values ($1)", &["x".into()]) {
        Err(Error::InvalidStatement(_)) => Ok(()),
        other => Err(HookError::reject("untyped", format!("not an invalid statement: {other:?}"))),
    }
}
