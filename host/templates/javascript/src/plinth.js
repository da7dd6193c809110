// A thin layer over what the host offers. Whole numbers are plain numbers, exact up to 2^53.
// `Math.random()` gives the same numbers in every call: import `plinth:context/random@1.0.0` instead.

import * as instruments from "plinth:metrics/instruments@1.0.0";
import * as hostLog from "plinth:log/log@1.0.0";
import * as store from "wasi:config/store@0.2.0-rc.1";
import { textOf } from "./utf8.js";

/** Thrown by a hook: call it again, no earlier than `afterMs` if given. */
export class Retry extends Error {
  constructor(message, afterMs) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** Thrown by a hook: trying again cannot help. An event becomes a dead letter. */
export class Reject extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Turns what a hook throws into the WIT's error. Any other exception is a bug: logged, and the call traps. */
export function hook(call) {
  return (argument) => {
    try {
      return call(argument);
    } catch (error) {
      if (error instanceof Retry) throw { tag: "retry", val: { message: error.message, afterMs: error.afterMs } };
      if (error instanceof Reject) throw { tag: "reject", val: { code: error.code, message: error.message } };
      log("error", "uncaught exception", { text: String(error) });
      throw error;
    }
  };
}

/** A payload's JSON. */
export function parse(payload) {
  try {
    return JSON.parse(textOf(payload.data));
  } catch (error) {
    throw new Reject("not-json", String(error));
  }
}

/** One value of the plugin's configuration as text. */
export function config(key) {
  return store.get(key) ?? undefined;
}

export function count(name, delta = 1, labels = {}) {
  instruments.counterAdd(name, delta, Object.entries(labels));
}

export function log(level, message, fields = {}) {
  hostLog.write(level, message, Object.entries(fields));
}
