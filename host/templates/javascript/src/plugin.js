// What the host calls: an event listener and a decision.

import { Reject, config, count, hook, log, parse } from "./plinth.js";
import { LIMIT_CENTS, judge } from "./rules.js";

export const eventListener = {
  onEvent: hook((event) => {
    const says = judge(amountOf(event.payload), limit());
    log("info", "order placed", { order: event.subject, says });
    count("orders_placed_total", 1, { says });
  }),
};

export const decision = {
  decide: hook((question) => {
    switch (judge(amountOf(question.payload), limit())) {
      case "allow":
        return { tag: "allow" };
      case "hold":
        return reason("hold", "review", "a person has to look at this amount", [["limit-cents", String(limit())]]);
      default:
        return reason("deny", "no-amount", "an order is over more than nothing", []);
    }
  }),
};

function reason(tag, code, message, details) {
  return { tag, val: { code, message, details } };
}

/** What cannot be read will not be readable later: rejected, and not tried again. */
function amountOf(payload) {
  const amount = parse(payload)?.amount_cents;
  if (!Number.isSafeInteger(amount)) throw new Reject("bad-order", "amount_cents is not a whole number");
  return amount;
}

function limit() {
  return Number(config("limit-cents") ?? LIMIT_CENTS);
}
