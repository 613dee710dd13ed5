"""What reproduces which symbols of the original implementations, for `tests/train/test_oracles.py`."""

from tests.train.oracle_checks import heads, msn, optimisers, queues, ranks, rob, schedules, self_supervised, views
from tests.train.oracle_checks.entry import EXPECTED, Entry, check_for, read

__all__ = [
    "EXPECTED",
    "Entry",
    "check_for",
    "heads",
    "msn",
    "optimisers",
    "queues",
    "ranks",
    "read",
    "rob",
    "schedules",
    "self_supervised",
    "views",
]
