// The business rule: a function of its arguments, tested natively by `npm test`.

/** From here on a person decides, unless the configuration says otherwise. */
export const LIMIT_CENTS = 100_000;

/**
 * What becomes of an order.
 * @param {number} amountCents
 * @param {number} limitCents
 * @returns {"allow" | "hold" | "deny"}
 */
export function judge(amountCents, limitCents) {
  if (amountCents <= 0) return "deny";
  return amountCents < limitCents ? "allow" : "hold";
}
