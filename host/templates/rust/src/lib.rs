//! What the host calls: an event listener and a decision.

mod rules;

use plinth_sdk::*;
use rules::Says;
use serde::Deserialize;

struct Plugin;

#[derive(Deserialize)]
struct Order {
    amount_cents: i64,
}

impl EventListener for Plugin {
    fn on_event(event: Event) -> Result<(), HookError> {
        let says = rules::judge(read(&event.payload)?.amount_cents, limit()?);
        info!("order placed", order = event.subject, says = says.name());
        metrics::counter("orders_placed_total", 1.0, &[("says", says.name())]);
        Ok(())
    }
}

impl Decision for Plugin {
    fn decide(question: Question) -> Result<Verdict, HookError> {
        let limit = limit()?;
        Ok(match rules::judge(read(&question.payload)?.amount_cents, limit) {
            Says::Allow => Verdict::Allow,
            Says::Hold => {
                let reason = Reason::new("review", "a person has to look at this amount");
                Verdict::Hold(reason.detail("limit-cents", limit.to_string()))
            }
            Says::Deny => Verdict::Deny(Reason::new("no-amount", "an order is over more than nothing")),
        })
    }
}

plugin!(Plugin: event_listener, decision);

/// What cannot be read will not be readable later: rejected, and not tried again.
fn read(payload: &Payload) -> Result<Order, HookError> {
    payload.parse().map_err(|error| HookError::reject("bad-order", error.to_string()))
}

fn limit() -> Result<i64, HookError> {
    Ok(config::parse("limit-cents")?.unwrap_or(rules::LIMIT_CENTS))
}
