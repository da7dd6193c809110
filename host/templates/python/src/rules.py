"""The business rule: a function of its arguments, tested natively by `python3 -m unittest`."""

# From here on a person decides, unless the configuration says otherwise.
LIMIT_CENTS = 100_000


def judge(amount_cents, limit_cents):
    """What becomes of an order: "allow", "hold" or "deny"."""
    if amount_cents <= 0:
        return "deny"
    return "allow" if amount_cents < limit_cents else "hold"
