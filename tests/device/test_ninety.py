"""Ninety days without a network, a batch each minute: the long form of tests/chaos/test_ninety.py."""

from tests.chaos.ninety import DAYS, PAGE
from tests.chaos.test_ninety import SHIPPED, bounded, ninety


def test_two_readings_each_minute_for_ninety_days():
    """All 259,200 come, once, out of the queue as it ships; 20 MB a day for the files.

    What ext4's journal writes beside them is not in that: three blocks for each sync, 18 MB a day at one a minute.
    """
    told = ninety(60, SHIPPED)
    bounded(told, SHIPPED)
    assert told["read"] == told["readings"] == DAYS * 1440 * 2
    assert told["gaps"] == 0
    assert told["sent"] < 1.01 * told["records"]
    assert told["blocks"] * PAGE / DAYS < 20_000_000
