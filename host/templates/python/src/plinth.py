"""A thin layer over what the host offers."""

import functools
import json

from componentize_py_types import Err
from wit_world.imports import hook_types, instruments, log as host_log, store


class Retry(Exception):
    """Raised by a hook: call it again, no earlier than `after_ms` if given."""

    def __init__(self, message, after_ms=None):
        super().__init__(message)
        self.after_ms = after_ms


class Reject(Exception):
    """Raised by a hook: trying again cannot help. An event becomes a dead letter."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def hook(function):
    """Turns what a hook raises into the WIT's error. Any other exception is a bug: logged, and the call traps."""

    @functools.wraps(function)
    def call(*arguments):
        try:
            return function(*arguments)
        except Retry as retry:
            raise Err(hook_types.HookError_Retry(hook_types.Retry(str(retry), retry.after_ms))) from None
        except Reject as reject:
            raise Err(hook_types.HookError_Reject(hook_types.Failure(reject.code, str(reject)))) from None
        except Exception as bug:
            log("error", "uncaught exception", type=type(bug).__name__, text=str(bug))
            raise

    return call


def parse(payload):
    """A payload's JSON."""
    try:
        return json.loads(payload.data)
    except ValueError as error:
        raise Reject("not-json", str(error)) from None


def config(key):
    """One value of the plugin's configuration as text, or None."""
    return store.get(key)


def count(name, delta=1.0, **labels):
    instruments.counter_add(name, delta, list(labels.items()))


def log(level, message, **fields):
    host_log.write(host_log.Level[level.upper()], message, [(name, str(value)) for name, value in fields.items()])
