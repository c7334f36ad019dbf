"""What ends is started again; what hangs is too, because only progress feeds the watchdog."""

import pytest

from tests.boot.lab import Booted
from tests.boot.shipped import active, findings

SOON = 4  # seconds, instead of the minutes of the shipped unit


@pytest.fixture
def carried(shipped: Booted) -> Booted:
    """Give a running device whose courier is watched closely; its broker is never there, so it rests between tries."""
    line = f"WatchdogSec={SOON}\n"
    shipped.lay("/etc/systemd/system/privet-courier.service.d/soon.conf", f"[Service]\n{line}TimeoutStopSec=5\n")
    shipped.start()
    active(shipped, "privet-courier.service")
    return shipped


@pytest.fixture
def guarded(shipped: Booted, request: pytest.FixtureRequest) -> Booted:
    """Give a running device whose guard is watched as the test asks."""
    line = f"WatchdogSec={request.param}\n"
    shipped.lay("/etc/systemd/system/privet-guard.service.d/soon.conf", f"[Service]\n{line}TimeoutStopSec=5\n")
    shipped.start()
    active(shipped)
    return shipped


def pid(device: Booted, unit: str = "privet-guard.service") -> str:
    """Return the pid of the guard, or of another unit."""
    return device.property(unit, "MainPID")


@pytest.mark.parametrize("guarded", [SOON], indirect=True)
def test_a_guard_that_hangs_is_started_again(guarded: Booted):
    """Stopped like a process that waits for ever, it is replaced and answers again; before, it was left in peace."""
    before = pid(guarded)
    guarded.until(lambda: guarded.uptime_of("privet-guard.service") > 2 * SOON, 60, "it to outlive its watchdog")
    assert pid(guarded) == before
    guarded.must(["kill", "-STOP", before])
    guarded.until(lambda: pid(guarded) not in {before, "0"}, 60, "the watchdog")
    active(guarded)
    assert "watchdog" in guarded.journal("-u", "privet-guard.service").lower()
    guarded.until(lambda: findings(guarded), 30, "it to answer")


def test_a_courier_that_hangs_is_started_again(carried: Booted):
    """The same for the courier: it lives through rests between two tries at a broker, and not through a standstill."""
    unit = "privet-courier.service"
    before = pid(carried, unit)
    carried.until(lambda: carried.uptime_of(unit) > 2 * SOON, 60, "it to outlive its watchdog")
    assert pid(carried, unit) == before
    carried.must(["kill", "-STOP", before])
    carried.until(lambda: pid(carried, unit) not in {before, "0"}, 60, "the watchdog")
    active(carried, unit)
    assert "watchdog" in carried.journal("-u", unit).lower()


@pytest.mark.parametrize("guarded", [0], indirect=True)
def test_twin_without_a_watchdog_it_hangs_for_ever(guarded: Booted):
    """The known-bad twin: three times as long as the other took, and nobody has noticed."""
    before = pid(guarded)
    guarded.must(["kill", "-STOP", before])
    with pytest.raises(AssertionError, match="waited"):
        guarded.until(lambda: pid(guarded) != before, 3 * SOON, "nobody")
    assert guarded.must(["cut", "-d ", "-f3", f"/proc/{before}/stat"]).strip() == "T"


@pytest.mark.parametrize("unit", ["privet-guard.service", "privet-courier.service"])
def test_what_ends_is_started_again(shipped: Booted, unit: str):
    """Killed, it is back within seconds."""
    shipped.start()
    active(shipped, unit)
    before = shipped.property(unit, "MainPID")
    shipped.must(["kill", "-KILL", before])
    shipped.until(lambda: shipped.property(unit, "MainPID") not in {before, "0"}, 30, "it to be back")
    active(shipped, unit)
