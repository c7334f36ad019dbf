"""A leak that stays within every day's margin: told in the sum of many days; ninety honest days tell nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agent.guard.books import Journal
from agent.guard.traffic import DAYS, SNMP, Traffic
from tests.guard.test_traffic import RESENT, Counted, counter

DAY = 86400
PING = 168  # bytes of a keep-alive over IPv6 with time stamps, and of the receipt of its answer
GREETING = 9000  # names, the handshake with our chain, CONNECT
SEGMENT, HEADERS = 1208, 72  # of the smallest packets of IPv6


class Days(Counted):
    """A courier through many days; what is kept of its count stays through starts of the device."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        super().__init__()

    def get(self, name: str) -> Any:
        """Return what is kept."""
        return self.state.get(name)

    def put(self, changes: Mapping[str, Any], notes: Sequence[Journal] = ()) -> Any:
        """Keep it."""
        self.state.update(changes)

    def publishes(self, size: int) -> None:
        """Give the courier a message; it leaves in packets, each with its headers, and is answered."""
        self.tell(["publish", 1, "up/climate", bytes(size)])
        self.sends(size + HEADERS * (size // SEGMENT + 2) + 160)
        self.heard("sent", 1)

    def day(self, leak: int = 0, size: int = 2000, count: int = 144) -> None:
        """Let a day pass, at six looks: one connection, messages, a keep-alive in each minute, and what leaks."""
        self.heard("state", "connected", "")
        self.sends(GREETING)
        for _ in range(6):
            self.sends(leak // 6)
            for _ in range(count // 6):
                self.publishes(size)
            self.sends(PING * 240)
            self.sweep(DAY // 6)

    def again(self) -> None:
        """Start the device anew, in order."""
        self.traffic.keep()
        self.system.reboot()
        self.system.edit(SNMP, RESENT.format(0).encode())
        self.begin()

    def slow(self) -> tuple[int, int]:
        """Return what is too much in the long run."""
        days, more = self.traffic.slow
        return days, more


class Daily(Traffic):
    """The known-bad twin: each day by itself, as if none had been before."""

    def sum_up(self) -> None:
        """Forget the day."""


@pytest.fixture(name="days")
def _days() -> Days:
    """A guard that counts."""
    return Days()


@pytest.mark.parametrize(
    ("size", "count", "restarts"),
    [(0, 0, False), (2000, 144, False), (60_000, 1440, False), (0, 0, True)],
    ids=["idle", "some", "much", "idle, starts again"],
)
def test_ninety_honest_days_tell_nothing(days: Days, size: int, count: int, restarts: bool) -> None:
    """Idle, busy, or started anew every few days: no warning, and thirty days and a bit are all that is kept."""
    for day in range(90):
        days.day(size=size, count=count)
        if restarts and day % 4 == 0:
            days.again()
    assert days.warned == []
    assert days.traffic.standing()["state"] == "explained"
    assert 29 <= len(days.state[DAYS]) <= 32
    assert sum(row[0] for row in days.state[DAYS]) >= 30 * DAY


@pytest.mark.parametrize("restarts", [False, True], ids=["runs on", "starts again each day"])
def test_a_leak_within_every_margin_is_told_in_a_week(days: Days, restarts: bool) -> None:
    """600 kB a day beside an idle courier: no day stands out, the week does; told once, and well again afterwards."""
    for day in range(30):
        days.day(600_000, count=0)
        if restarts:
            days.again()
        assert bool(days.warned) == (day >= 7) or day == 6
    assert len(days.warned) == 1 and "more than can be explained in 7 days" in days.warned[0]
    assert days.traffic.standing()["state"] == "unexplained"
    for _ in range(31):
        days.day(count=0)
    assert days.slow() == (0, 0) and len(days.warned) == 1


def test_the_twin_never_tells_it(days: Days) -> None:
    """Day by day alone, ninety days of it pass as explained."""
    days.traffic = Daily(days.system, days, days.traffic.uid, days.traffic.announce)
    days.tell = days.traffic.telling(lambda message: None)
    for _ in range(90):
        days.day(600_000, count=0)
    assert days.warned == []


def test_a_slower_leak_takes_thirty_days(days: Days) -> None:
    """200 kB a day are within the week's margin, and not within that of thirty days."""
    for _ in range(25):
        days.day(200_000, count=0)
    assert days.warned == []
    for _ in range(8):
        days.day(200_000, count=0)
    assert len(days.warned) == 1 and "in 30 days" in days.warned[0]


def test_what_was_told_of_a_day_is_not_told_of_its_week(days: Days) -> None:
    """Five megabytes once: one warning, that day."""
    for leak in (0, 0, 5_000_000, *[0] * 40):
        days.day(leak, count=0)
    assert len(days.warned) == 1 and "since" in days.warned[0]


def test_meddled_sums_count_as_none(days: Days) -> None:
    """Rows that are none are left out; nothing breaks."""
    days.state[DAYS] = [[1, 2], ["a", 1, 2], 7, [DAY, 5, 5]]
    days.begin()
    assert days.traffic.days == ((DAY, 5, 5),)
    assert counter(days.system)["bytes"] >= 0
