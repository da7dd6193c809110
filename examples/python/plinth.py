"""A thin layer over the generated bindings: what makes them feel like Python.

Copy it into your plugin. A capability that says no raises `HostError`, whose `code` is the
error's name in the WIT (`constraint-violation`). A hook is wrapped in `@hook`: it raises
`Retry` or `Reject`, and a `HostError` it does not catch becomes the one of the two that fits.
"""

import functools
import json
import re
from contextlib import contextmanager

from componentize_py_types import Err
from wit_world.imports import (
    audit_types, buckets, clock, hook_types, instruments, log as host_log,
    outbox, queue_types, random as host_random, sql, sql_types, store, writer,
)


class HostError(Exception):
    """A capability said no. Branch on `code` and, of a broken constraint, on `kind`; never on the text."""

    def __init__(self, capability, error):
        self.capability, self.code = capability, _case(error)
        self.value = getattr(error, "value", None)
        kind = getattr(self.value, "kind", None)
        self.kind = _case(kind) if kind is not None else None
        super().__init__(f"{self.code}: {getattr(self.value, 'message', self.value)}")

    @property
    def passing(self):
        """Whether it may go away by itself, so that trying again makes sense."""
        if self.code == "limit-exceeded":
            return self.capability == "cache"
        return self.code in _PASSING or bool(getattr(self.value, "retryable", False))


class Retry(Exception):
    """Try again, no earlier than `after_ms` if given."""

    def __init__(self, message, after_ms=None):
        super().__init__(message)
        self.after_ms = after_ms


class Reject(Exception):
    """Trying again cannot help: make it a dead letter."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


_PASSING = {"conflict", "transaction-closed", "timeout", "unavailable", "outcome-unknown"}


def _case(variant):
    """`Error_ConstraintViolation` is the case `constraint-violation`."""
    name = type(variant).__name__.split("_", 1)[-1]
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


@contextmanager
def _calling(capability):
    try:
        yield
    except Err as error:
        raise HostError(capability, error.value) from None


def hook(function):
    """For the functions of event-listener, task-handler, decision and scheduled-job."""

    @functools.wraps(function)
    def call(*arguments):
        try:
            return function(*arguments)
        except Retry as retry:
            raise Err(hook_types.HookError_Retry(hook_types.Retry(str(retry), retry.after_ms))) from None
        except Reject as reject:
            raise Err(hook_types.HookError_Reject(hook_types.Failure(reject.code, str(reject)))) from None
        except HostError as error:
            text = f"{error.capability}: {error}"
            if error.passing:
                raise Err(hook_types.HookError_Retry(hook_types.Retry(text, None))) from None
            raise Err(hook_types.HookError_Reject(hook_types.Failure(error.capability, text))) from None
        except Exception as bug:
            # The call traps with it. Nobody sees a plugin's stderr, but the log.
            log("error", "uncaught exception", type=type(bug).__name__, text=str(bug))
            raise

    return call


def activation(function):
    """For `Lifecycle.activate`: what it raises keeps the version that is running."""

    @functools.wraps(function)
    def call(*arguments):
        try:
            function(*arguments)
        except (HostError, Reject) as error:
            raise Err(hook_types.Failure(getattr(error, "capability", error.code), str(error))) from None

    return call


def parse(payload):
    """A payload's JSON."""
    return json.loads(payload.data)


class Database:
    """SQL with `$1`, `$2`, ...; parameters are plain Python values."""

    def __init__(self, name):
        with _calling("database"):
            self._raw = sql.Database.open(name)

    def query(self, statement, *params):
        return _rows(self._raw, statement, params)

    def execute(self, statement, *params):
        return _execute(self._raw, statement, params)

    @contextmanager
    def transaction(self):
        """Commits at the end of the block; an exception rolls back."""
        with _calling("database"):
            raw = self._raw.begin(None)
        with raw:
            try:
                yield Transaction(raw)
            except BaseException:
                with _calling("database"):
                    raw.rollback()
                raise
            with _calling("database"):
                raw.commit()


class Transaction:
    """A unit of work: rows, messages and audit records appear together or not at all."""

    def __init__(self, raw):
        self._raw = raw

    def query(self, statement, *params):
        return _rows(self._raw, statement, params)

    def execute(self, statement, *params):
        return _execute(self._raw, statement, params)

    def publish(self, destination, value, about=None):
        """`value` as JSON, with the commit; answers the message id."""
        message = queue_types.Message(_json(value), "application/json", [])
        options = queue_types.PublishOptions(about, None, None, None, None, None, [])
        with _calling("outbox"):
            return outbox.publish(self._raw, destination, message, options)

    def audit(self, *arguments, **facts):
        with _calling("outbox"):
            return outbox.audit(self._raw, _entry(*arguments, **facts))


def _json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _execute(raw, statement, params):
    with _calling("database"):
        return raw.execute(statement, [_value(param) for param in params]).rows_affected


def _rows(raw, statement, params):
    with _calling("database"):
        found = raw.query(statement, [_value(param) for param in params])
    names = [column.name for column in found.columns]
    return [dict(zip(names, (getattr(value, "value", None) for value in row))) for row in found.rows]


def _value(plain):
    match plain:
        case None:
            return sql_types.Value_Null()
        case bool():
            return sql_types.Value_Boolean(plain)
        case int():
            return sql_types.Value_Integer(plain)
        case float():
            return sql_types.Value_Real(plain)
        case str():
            return sql_types.Value_Text(plain)
        case bytes():
            return sql_types.Value_Blob(plain)
        case _:
            return plain  # already one of sql_types


class Bucket:
    """Bytes under keys that may vanish."""

    def __init__(self, name):
        with _calling("cache"):
            self._raw = buckets.Bucket.open(name)

    def get(self, key):
        with _calling("cache"):
            return self._raw.get(key)

    def set(self, key, value, ttl_ms=None):
        with _calling("cache"):
            self._raw.set(key, value, ttl_ms)

    def increment(self, key, delta=1, ttl_ms=None):
        with _calling("cache"):
            return self._raw.increment(key, delta, ttl_ms)


def audit(*arguments, **facts):
    """As `Transaction.audit`, at once."""
    with _calling("audit"):
        return writer.write(_entry(*arguments, **facts))


def _entry(action, kind, id, summary, denied=None, failed=None, **attributes):
    outcome = audit_types.Outcome_Success()
    if denied is not None:
        outcome = audit_types.Outcome_Denied(denied)
    elif failed is not None:
        outcome = audit_types.Outcome_Failed(failed)
    facts = [(name.replace("_", "-"), str(value)) for name, value in attributes.items()]
    return audit_types.Entry(action, audit_types.Subject(kind, id), outcome, summary, [], facts)


def config(key):
    """One value of the plugin's configuration as text, or None."""
    with _calling("config"):
        return store.get(key)


def count(name, delta=1.0, **labels):
    instruments.counter_add(name, delta, list(labels.items()))


def log(level, message, **fields):
    facts = [(name, str(value)) for name, value in fields.items()]
    host_log.write(host_log.Level[level.upper()], message, facts)


# The interpreter's own clock and generator work too; with `--stub-wasi` only these do.
now_ms = clock.now_ms
random_bytes = host_random.bytes
