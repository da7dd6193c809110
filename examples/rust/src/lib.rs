//! The order desk: takes placed orders into the books and says which orders may be placed.

mod desk;

use desk::{Mode, Order, Placed};
use plinth_sdk::{audit::Entry, cache::Bucket, *};
use std::time::Duration;

struct OrderDesk;

impl Lifecycle for OrderDesk {
    fn activate(_: Activation) -> Result<(), Failure> {
        desk::prepare().map_err(|error| Failure::new("database", error.to_string()))
    }
}

impl EventListener for OrderDesk {
    fn on_event(event: Event) -> Result<(), HookError> {
        let order: Order = event.payload.parse().map_err(|error| HookError::reject("bad-event", error.to_string()))?;
        match order.mode {
            Some(Mode::Retry) => return Err(HookError::retry_after("busy: the desk is closed", Duration::from_millis(1500))),
            Some(Mode::Reject) => return Err(HookError::reject("bad-order", "this order is refused")),
            Some(Mode::Trap) => trap(),
            Some(Mode::Deadline) => until_stopped(),
            Some(Mode::CapabilityError) => desk::check_typed_errors()?,
            None => {}
        }
        match desk::place(&order, &event.id)? {
            Placed::Now => tell(&order)?,
            // Also what a redelivery after the commit comes to.
            Placed::Before => audit::write(&duplicate(&order, &event.id)).map(drop)?,
        }
        Ok(())
    }
}

impl Decision for OrderDesk {
    fn decide(question: Question) -> Result<Verdict, HookError> {
        let asked: desk::Asked = question.payload.parse().map_err(|error| HookError::reject("bad-question", error.to_string()))?;
        let limit = config::parse("limit-cents")?.unwrap_or(desk::LIMIT_CENTS);
        Ok(match asked.amount_cents {
            amount if amount < limit => Verdict::Allow,
            amount if amount <= desk::REVIEW_CENTS => Verdict::Hold(reason("review", "a person has to look at this amount", limit)),
            _ => Verdict::Deny(reason("too-large", "orders of this amount are not taken", desk::REVIEW_CENTS)),
        })
    }
}

plugin!(OrderDesk: event_listener, decision, lifecycle);

/// After the commit: what may be lost without the books being wrong.
fn tell(order: &Order) -> Result<(), HookError> {
    let bucket = Bucket::open("desk")?;
    bucket.increment("count", 1, None)?;
    bucket.set("last", order.order.as_bytes(), None)?;
    metrics::counter("orders_placed_total", 1.0, &[]);
    info!("order placed", order = order.order);
    Ok(())
}

fn duplicate(order: &Order, event_id: &str) -> Entry {
    Entry::new("order.duplicate", "order", &order.order)
        .outcome(audit::Outcome::Denied("unique".to_owned()))
        .summary("the order is already in the books")
        .attribute("event-id", event_id)
}

fn reason(code: &str, message: &str, limit: i64) -> Reason {
    Reason::new(code, message).detail("limit-cents", limit.to_string())
}

#[expect(clippy::panic, reason = "what the host does with a plugin that breaks is part of the example")]
fn trap() -> ! {
    panic!("the desk fell over")
}

/// For ever, as far as the plugin is concerned.
fn until_stopped() -> ! {
    loop {
        std::hint::spin_loop();
    }
}
