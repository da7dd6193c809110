import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMIT_CENTS, judge } from "../src/rules.js";

test("large orders are for people and empty ones for nobody", () => {
  const cases = [[-1, "deny"], [0, "deny"], [1, "allow"], [99_999, "allow"], [100_000, "hold"]] as const;
  for (const [amount, says] of cases) assert.equal(judge(amount, LIMIT_CENTS), says, `${amount}`);
});
