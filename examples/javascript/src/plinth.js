// @ts-check
// A thin layer over the generated bindings: what makes them feel like JavaScript. Copy it into
// your plugin. A capability that says no throws `HostError`, whose `code` is the error's name in
// the WIT ("constraint-violation"). A hook is wrapped in `hook()`: it throws `Retry` or `Reject`,
// and a `HostError` it does not catch becomes the one of the two that fits.
//
// Whole numbers cross as plain numbers, so they are exact up to 2^53. `Math.random()` gives the
// same numbers in every call, because it is seeded when the plugin is built: use `random` and
// `randomBytes`.

import { Database as RawDatabase } from "plinth:database/sql@1.0.0";
import { Bucket as RawBucket } from "plinth:cache/buckets@1.0.0";
import * as outbox from "plinth:outbox/outbox@1.0.0";
import * as writer from "plinth:audit/writer@1.0.0";
import * as instruments from "plinth:metrics/instruments@1.0.0";
import * as hostLog from "plinth:log/log@1.0.0";
import * as store from "wasi:config/store@0.2.0-rc.1";
import { nowMs } from "plinth:context/clock@1.0.0";
import { bytes, unit } from "plinth:context/random@1.0.0";
import { bytesOf, textOf } from "./utf8.js";

/** @typedef {import("plinth:database/sql-types@1.0.0").Value} Value */
/** @typedef {import("plinth:database/sql@1.0.0").Transaction} RawTransaction */
/** @typedef {import("plinth:audit/audit-types@1.0.0").Outcome} Outcome */
/** @typedef {null | boolean | number | string | Uint8Array | Value} Plain what a statement takes */
/** @typedef {{ action: string, kind: string, id: string, summary: string, denied?: string, failed?: string, attributes?: Record<string, string> }} Fact */

const PASSING = ["conflict", "transaction-closed", "timeout", "unavailable", "outcome-unknown"];

/** A capability said no. Branch on `code` and, of a broken constraint, on `kind`; never on the text. */
export class HostError extends Error {
  /** @param {string} capability @param {{ tag: string, val?: any }} error */
  constructor(capability, error) {
    super(`${error.tag}: ${error.val?.message ?? error.val ?? ""}`);
    this.capability = capability;
    this.code = error.tag;
    this.value = error.val;
    /** @type {string | undefined} */
    this.kind = error.val?.kind?.tag;
  }

  /** Whether it may go away by itself, so that trying again makes sense. */
  get passing() {
    if (this.code === "limit-exceeded") return this.capability === "cache";
    return PASSING.includes(this.code) || this.value?.retryable === true;
  }
}

/** Try again, no earlier than `afterMs` if given. */
export class Retry extends Error {
  /** @param {string} message @param {number} [afterMs] */
  constructor(message, afterMs) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** Trying again cannot help: make it a dead letter. */
export class Reject extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** @template T @param {string} capability @param {() => T} call @returns {T} */
function calling(capability, call) {
  try {
    return call();
  } catch (thrown) {
    const { payload } = /** @type {{ payload?: unknown }} */ (thrown);
    throw isCase(payload) ? new HostError(capability, payload) : thrown;
  }
}

/** @param {any} value @returns {value is { tag: string, val?: any }} */
function isCase(value) {
  return typeof value?.tag === "string";
}

/** For the functions of event-listener, task-handler, decision and scheduled-job.
 * @template A, R @param {(argument: A) => R} call @returns {(argument: A) => R} */
export function hook(call) {
  return (argument) => {
    try {
      return call(argument);
    } catch (error) {
      throw answer(error);
    }
  };
}

/** The WIT's `hook-error`; a bug is logged and traps. @param {any} error */
function answer(error) {
  if (error instanceof Retry) return retry(error.message, error.afterMs);
  if (error instanceof Reject) return reject(error.code, error.message);
  if (error instanceof HostError) {
    const text = `${error.capability}: ${error.message}`;
    return error.passing ? retry(text) : reject(error.capability, text);
  }
  log("error", "uncaught exception", { text: String(error) });
  return error;
}

/** @param {string} message @param {number} [afterMs] */
function retry(message, afterMs) {
  return { tag: "retry", val: { message, afterMs } };
}

/** @param {string} code @param {string} message */
function reject(code, message) {
  return { tag: "reject", val: { code, message } };
}

/** For `lifecycle.activate`: what it throws keeps the version that is running.
 * @template A @param {(argument: A) => void} call @returns {(argument: A) => void} */
export function activation(call) {
  return (argument) => {
    try {
      call(argument);
    } catch (error) {
      if (error instanceof HostError) throw { code: error.capability, message: error.message };
      if (error instanceof Reject) throw { code: error.code, message: error.message };
      throw error;
    }
  };
}

/** A payload's JSON; what is none throws a SyntaxError. @param {{ data: Uint8Array }} payload */
export function parse(payload) {
  return JSON.parse(textOf(payload.data));
}

/** SQL with `$1`, `$2`, ...; parameters are plain values. */
export class Database {
  /** @param {string} name */
  constructor(name) {
    this.raw = calling("database", () => RawDatabase.open(name));
  }

  /** @param {string} statement @param {...Plain} params */
  execute(statement, ...params) {
    return calling("database", () => this.raw.execute(statement, params.map(valueOf)).rowsAffected);
  }

  /** Rows as objects. @param {string} statement @param {...Plain} params */
  query(statement, ...params) {
    const { columns, rows } = calling("database", () => this.raw.query(statement, params.map(valueOf)));
    return rows.map((row) => Object.fromEntries(row.map((value, at) => [columns[at].name, "val" in value ? value.val : null])));
  }

  /** Commits when `work` returns; what it throws rolls back.
   * @template T @param {(work: Transaction) => T} work @returns {T} */
  transaction(work) {
    const raw = calling("database", () => this.raw.begin(undefined));
    let result;
    try {
      result = work(new Transaction(raw));
    } catch (error) {
      calling("database", () => raw.rollback());
      throw error;
    }
    calling("database", () => raw.commit());
    return result;
  }
}

/** A unit of work: rows, messages and audit records appear together or not at all. */
export class Transaction {
  /** @param {RawTransaction} raw */
  constructor(raw) {
    this.raw = raw;
  }

  /** @param {string} statement @param {...Plain} params */
  execute(statement, ...params) {
    return calling("database", () => this.raw.execute(statement, params.map(valueOf)).rowsAffected);
  }

  /** `value` as JSON, with the commit; answers the message id.
   * @param {string} destination @param {unknown} value @param {string} [about] */
  publish(destination, value, about) {
    const message = { body: bytesOf(JSON.stringify(value)), contentType: "application/json", headers: [] };
    const options = { routingKey: about, extensions: [] };
    return calling("outbox", () => outbox.publish(this.raw, destination, message, options));
  }

  /** @param {Fact} fact */
  audit(fact) {
    return calling("outbox", () => outbox.audit(this.raw, entry(fact)));
  }
}

/** @param {Plain} plain @returns {Value} */
function valueOf(plain) {
  if (plain === null) return { tag: "null" };
  if (typeof plain === "boolean") return { tag: "boolean", val: plain };
  if (typeof plain === "string") return { tag: "text", val: plain };
  if (typeof plain === "number") return { tag: Number.isInteger(plain) ? "integer" : "real", val: plain };
  return plain instanceof Uint8Array ? { tag: "blob", val: plain } : plain;
}

/** Bytes under keys that may vanish. */
export class Bucket {
  /** @param {string} name */
  constructor(name) {
    this.raw = calling("cache", () => RawBucket.open(name));
  }

  /** @param {string} key @returns {string | undefined} */
  getText(key) {
    const found = calling("cache", () => this.raw.get(key));
    return found ? textOf(found) : undefined;
  }

  /** @param {string} key @param {string} text @param {number} [ttlMs] */
  setText(key, text, ttlMs) {
    calling("cache", () => this.raw.set(key, bytesOf(text), ttlMs));
  }

  /** @param {string} key @param {number} [delta] @param {number} [ttlMs] */
  increment(key, delta = 1, ttlMs) {
    return calling("cache", () => this.raw.increment(key, delta, ttlMs));
  }
}

/** As `Transaction.audit`, at once. @param {Fact} fact */
export function audit(fact) {
  return calling("audit", () => writer.write(entry(fact)));
}

/** @param {Fact} fact */
function entry({ action, kind, id, summary, denied, failed, attributes = {} }) {
  /** @type {Outcome} */
  let outcome = { tag: "success" };
  if (denied !== undefined) outcome = { tag: "denied", val: denied };
  else if (failed !== undefined) outcome = { tag: "failed", val: failed };
  return { action, subject: { kind, id }, outcome, summary, changes: [], attributes: Object.entries(attributes) };
}

/** One value of the plugin's configuration as text. @param {string} key @returns {string | undefined} */
export function config(key) {
  return calling("config", () => store.get(key)) ?? undefined;
}

/** @param {string} name @param {number} [delta] @param {Record<string, string>} [labels] */
export function count(name, delta = 1, labels = {}) {
  instruments.counterAdd(name, delta, Object.entries(labels));
}

/** @param {import("plinth:log/log@1.0.0").Level} level @param {string} message @param {Record<string, string>} [fields] */
export function log(level, message, fields = {}) {
  hostLog.write(level, message, Object.entries(fields));
}

export { nowMs as now, bytes as randomBytes, unit as random };
