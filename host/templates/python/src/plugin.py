"""What the host calls: an event listener and a decision."""

from wit_world import exports
from wit_world.exports.decision import Verdict_Allow, Verdict_Deny, Verdict_Hold
from wit_world.imports.hook_types import Reason

import plinth
from rules import LIMIT_CENTS, judge


class EventListener(exports.EventListener):
    @plinth.hook
    def on_event(self, event):
        says = judge(amount_of(event.payload), limit())
        plinth.log("info", "order placed", order=event.subject, says=says)
        plinth.count("orders_placed_total", says=says)


class Decision(exports.Decision):
    @plinth.hook
    def decide(self, question):
        match judge(amount_of(question.payload), limit()):
            case "allow":
                return Verdict_Allow()
            case "hold":
                details = [("limit-cents", str(limit()))]
                return Verdict_Hold(Reason("review", "a person has to look at this amount", details))
            case _:
                return Verdict_Deny(Reason("no-amount", "an order is over more than nothing", []))


def amount_of(payload):
    """What cannot be read will not be readable later: rejected, and not tried again."""
    order = plinth.parse(payload)
    amount = order.get("amount_cents") if isinstance(order, dict) else None
    if type(amount) is not int:
        raise plinth.Reject("bad-order", "amount_cents is not a whole number")
    return amount


def limit():
    return int(plinth.config("limit-cents") or LIMIT_CENTS)
