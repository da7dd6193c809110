import unittest

from src.rules import LIMIT_CENTS, judge


class Rules(unittest.TestCase):
    def test_large_orders_are_for_people_and_empty_ones_for_nobody(self):
        for amount, says in [(-1, "deny"), (0, "deny"), (1, "allow"), (99_999, "allow"), (100_000, "hold")]:
            self.assertEqual(judge(amount, LIMIT_CENTS), says, amount)
