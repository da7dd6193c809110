"""The order desk: takes placed orders into the books and says which orders may be placed."""

from wit_world import exports
from wit_world.exports.decision import Verdict_Allow, Verdict_Deny, Verdict_Hold
from wit_world.imports.hook_types import Reason

import plinth
from plinth import Bucket, Database, HostError, Reject, Retry

# From here on a person decides, unless the configuration says otherwise; beyond the second nobody does.
LIMIT_CENTS = 100_000
REVIEW_CENTS = 1_000_000
MODES = {None, "retry", "reject", "capability-error", "trap", "deadline"}


class Lifecycle(exports.Lifecycle):
    @plinth.activation
    def activate(self, activation):
        Database("orders").execute(
            "create table if not exists orders"
            " (id text primary key, amount_cents bigint not null, placed_at_ms bigint not null, receipt text not null)"
        )

    def deactivate(self):
        pass


class EventListener(exports.EventListener):
    @plinth.hook
    def on_event(self, event):
        order = read_order(event.payload)
        match order["mode"]:
            case "retry":
                raise Retry("busy: the desk is closed", after_ms=1500)
            case "reject":
                raise Reject("bad-order", "this order is refused")
            case "trap":
                raise RuntimeError("the desk fell over")
            case "deadline":
                while True:
                    pass
            case "capability-error":
                check_typed_errors()
        try:
            place(order, event.id)
        except HostError as error:
            if (error.code, error.kind) != ("constraint-violation", "unique"):
                raise
            # Also what a redelivery after the commit comes to.
            plinth.audit(
                "order.duplicate", "order", order["order"], "the order is already in the books",
                denied=error.kind, event_id=event.id,
            )
            return
        tell(order)


class Decision(exports.Decision):
    @plinth.hook
    def decide(self, question):
        amount = fields(question.payload, "bad-question").get("amount_cents")
        if not whole(amount):
            raise Reject("bad-question", "amount_cents is not a whole number")
        limit = int(plinth.config("limit-cents") or LIMIT_CENTS)
        if amount < limit:
            return Verdict_Allow()
        if amount <= REVIEW_CENTS:
            return Verdict_Hold(reason("review", "a person has to look at this amount", limit))
        return Verdict_Deny(reason("too-large", "orders of this amount are not taken", REVIEW_CENTS))


def place(order, event_id):
    """Row, message and audit record become visible together or not at all."""
    with Database("orders").transaction() as work:
        insert(work, order)
        work.publish("shipments", {"order": order["order"], "amount_cents": order["amount_cents"]}, about=order["order"])
        work.audit(
            "order.placed", "order", order["order"], "an order was taken into the books",
            amount_cents=order["amount_cents"], event_id=event_id,
        )
        if order["mode"] == "capability-error":
            # The second row of the same order: the first and all of the above go with it.
            insert(work, order)


def insert(work, order):
    work.execute(
        "insert into orders (id, amount_cents, placed_at_ms, receipt) values ($1, $2, $3, $4)",
        order["order"], order["amount_cents"], plinth.now_ms(), plinth.random_bytes(8).hex(),
    )


def tell(order):
    """After the commit: what may be lost without the books being wrong."""
    bucket = Bucket("desk")
    bucket.increment("count")
    bucket.set("last", order["order"].encode())
    plinth.count("orders_placed_total")
    plinth.log("info", "order placed", order=order["order"])


def check_typed_errors():
    """A statement that names no table there is comes back as just that."""
    try:
        Database("orders").execute("insert into no_such_table (id) values ($1)", "x")
    except HostError as error:
        if error.code != "invalid-statement":
            raise Reject("untyped", str(error)) from None
    else:
        raise Reject("untyped", "a bad statement went through")


def read_order(payload):
    order = fields(payload, "bad-event")
    mode = order.get("mode")
    if not isinstance(order.get("order"), str) or not whole(order.get("amount_cents")) or mode not in MODES:
        raise Reject("bad-event", "an order has an id, a whole amount_cents and perhaps a known mode")
    return {"order": order["order"], "amount_cents": order["amount_cents"], "mode": mode}


def fields(payload, code):
    try:
        read = plinth.parse(payload)
    except ValueError as error:
        raise Reject(code, str(error)) from None
    if not isinstance(read, dict):
        raise Reject(code, "not a JSON object")
    return read


def whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def reason(code, message, limit):
    return Reason(code, message, [("limit-cents", str(limit))])
