// The business rule: a function of its arguments, tested natively by `npm test`.

/** From here on a person decides, unless the configuration says otherwise. */
export const LIMIT_CENTS = 100_000;

/** What becomes of an order. */
export type Says = "allow" | "hold" | "deny";

export function judge(amountCents: number, limitCents: number): Says {
  if (amountCents <= 0) return "deny";
  return amountCents < limitCents ? "allow" : "hold";
}
