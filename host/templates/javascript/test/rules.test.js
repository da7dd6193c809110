import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMIT_CENTS, judge } from "../src/rules.js";

test("large orders are for people and empty ones for nobody", () => {
  for (const [amount, says] of [[-1, "deny"], [0, "deny"], [1, "allow"], [99_999, "allow"], [100_000, "hold"]]) {
    assert.equal(judge(amount, LIMIT_CENTS), says, `${amount}`);
  }
});
