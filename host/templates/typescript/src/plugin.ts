// What the host calls: an event listener and a decision.

import type { Question, Verdict } from "plinth:hooks/decision@1.0.0";
import type { Event } from "plinth:hooks/event-listener@1.0.0";
import { Reject, config, count, hook, log, parse, type Payload } from "./plinth.js";
import { LIMIT_CENTS, judge } from "./rules.js";

export const eventListener = {
  onEvent: hook((event: Event): void => {
    const says = judge(amountOf(event.payload), limit());
    log("info", "order placed", { order: event.subject, says });
    count("orders_placed_total", 1, { says });
  }),
};

export const decision = {
  decide: hook((question: Question): Verdict => {
    switch (judge(amountOf(question.payload), limit())) {
      case "allow":
        return { tag: "allow" };
      case "hold": {
        const details: [string, string][] = [["limit-cents", String(limit())]];
        return { tag: "hold", val: { code: "review", message: "a person has to look at this amount", details } };
      }
      case "deny":
        return { tag: "deny", val: { code: "no-amount", message: "an order is over more than nothing", details: [] } };
    }
  }),
};

/** What cannot be read will not be readable later: rejected, and not tried again. */
function amountOf(payload: Payload): number {
  const amount = (parse(payload) as { amount_cents?: unknown } | null)?.amount_cents;
  if (typeof amount === "number" && Number.isSafeInteger(amount)) return amount;
  throw new Reject("bad-order", "amount_cents is not a whole number");
}

function limit(): number {
  return Number(config("limit-cents") ?? LIMIT_CENTS);
}
