// @ts-check
// The order desk: takes placed orders into the books and says which orders may be placed.

import { Bucket, Database, HostError, Reject, Retry, activation, audit, config, count, hook, log, now, parse, randomBytes } from "./plinth.js";

/** @typedef {import("plinth:hooks/decision@1.0.0").Verdict} Verdict */
/** @typedef {{ order: string, amount_cents: number, mode?: string | null }} Order */

// From here on a person decides, unless the configuration says otherwise; beyond the second nobody does.
const LIMIT_CENTS = 100_000;
const REVIEW_CENTS = 1_000_000;
const MODES = ["retry", "reject", "capability-error", "trap", "deadline"];

export const lifecycle = {
  activate: activation(() => {
    new Database("orders").execute(
      "create table if not exists orders" +
        " (id text primary key, amount_cents bigint not null, placed_at_ms bigint not null, receipt text not null)",
    );
  }),
  deactivate() {},
};

export const eventListener = {
  onEvent: hook((/** @type {import("plinth:hooks/event-listener@1.0.0").Event} */ event) => {
    const order = readOrder(event.payload);
    switch (order.mode) {
      case "retry":
        throw new Retry("busy: the desk is closed", 1500);
      case "reject":
        throw new Reject("bad-order", "this order is refused");
      case "trap":
        throw new Error("the desk fell over");
      case "deadline":
        for (;;);
      case "capability-error":
        checkTypedErrors();
    }
    try {
      place(order, event.id);
    } catch (error) {
      if (!(error instanceof HostError) || error.code !== "constraint-violation" || error.kind !== "unique") throw error;
      // Also what a redelivery after the commit comes to.
      audit({
        action: "order.duplicate",
        kind: "order",
        id: order.order,
        summary: "the order is already in the books",
        denied: error.kind,
        attributes: { "event-id": event.id },
      });
      return;
    }
    tell(order);
  }),
};

export const decision = {
  decide: hook((/** @type {import("plinth:hooks/decision@1.0.0").Question} */ question) => {
    const { amount_cents: amount } = fields(question.payload, "bad-question");
    if (!Number.isInteger(amount)) throw new Reject("bad-question", "amount_cents is not a whole number");
    const limit = Number(config("limit-cents") ?? LIMIT_CENTS);
    if (amount < limit) return verdict("allow");
    if (amount <= REVIEW_CENTS) return verdict("hold", "review", "a person has to look at this amount", limit);
    return verdict("deny", "too-large", "orders of this amount are not taken", REVIEW_CENTS);
  }),
};

/** @param {"allow" | "hold" | "deny"} tag @returns {Verdict} */
function verdict(tag, code = "", message = "", limit = 0) {
  return tag === "allow" ? { tag } : { tag, val: { code, message, details: [["limit-cents", String(limit)]] } };
}

/** Row, message and audit record become visible together or not at all.
 * @param {Order} order @param {string} eventId */
function place(order, eventId) {
  new Database("orders").transaction((work) => {
    insert(work, order);
    work.publish("shipments", { order: order.order, amount_cents: order.amount_cents }, order.order);
    work.audit({
      action: "order.placed",
      kind: "order",
      id: order.order,
      summary: "an order was taken into the books",
      attributes: { "amount-cents": String(order.amount_cents), "event-id": eventId },
    });
    // The second row of the same order: the first and all of the above go with it.
    if (order.mode === "capability-error") insert(work, order);
  });
}

/** @param {import("./plinth.js").Transaction} work @param {Order} order */
function insert(work, order) {
  const receipt = Array.from(randomBytes(8), (byte) => byte.toString(16).padStart(2, "0")).join("");
  work.execute(
    "insert into orders (id, amount_cents, placed_at_ms, receipt) values ($1, $2, $3, $4)",
    order.order,
    order.amount_cents,
    now(),
    receipt,
  );
}

/** After the commit: what may be lost without the books being wrong. @param {Order} order */
function tell(order) {
  const bucket = new Bucket("desk");
  bucket.increment("count");
  bucket.setText("last", order.order);
  count("orders_placed_total");
  log("info", "order placed", { order: order.order });
}

/** A statement that names no table there is comes back as just that. */
function checkTypedErrors() {
  try {
    new Database("orders").execute("insert into no_such_table (id) values ($1)", "x");
  } catch (error) {
    if (error instanceof HostError && error.code === "invalid-statement") return;
    throw new Reject("untyped", String(error));
  }
  throw new Reject("untyped", "a bad statement went through");
}

/** @param {{ data: Uint8Array }} payload @returns {Order} */
function readOrder(payload) {
  const order = fields(payload, "bad-event");
  const known = order.mode === undefined || order.mode === null || MODES.includes(order.mode);
  if (typeof order.order !== "string" || !Number.isInteger(order.amount_cents) || !known) {
    throw new Reject("bad-event", "an order has an id, a whole amount_cents and perhaps a known mode");
  }
  return order;
}

/** @param {{ data: Uint8Array }} payload @param {string} code @returns {any} */
function fields(payload, code) {
  let read;
  try {
    read = parse(payload);
  } catch (error) {
    throw new Reject(code, String(error));
  }
  if (typeof read !== "object" || read === null) throw new Reject(code, "not a JSON object");
  return read;
}
