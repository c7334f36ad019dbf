"""What the courier's account sent by the kernel's count, beside what the guard gave it: on a simulated device."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agent.core.warn import told
from agent.guard.books import Journal
from agent.guard.traffic import NOTE, SNMP, Traffic
from agent.system.simulated.programs.nft import KERNELS
from agent.system.simulated.system import SimulatedSystem
from tests.guard.conftest import Kept

UID = 990
RESENT = "Tcp: ActiveOpens RetransSegs InErrs\nTcp: 5 {} 0\n"


class Counted:
    """The guard's count of a courier on a device whose kernel sees what `sends` says; nothing else of a guard."""

    def __init__(self) -> None:
        self.system = SimulatedSystem()
        self.system.edit(SNMP, RESENT.format(0).encode())
        self.warned: list[str] = []
        self.notes: list[str] = []
        self.begin()

    def get(self, name: str) -> Any:
        """As a store: nothing is kept."""

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """As a store: nothing is kept."""
        return ()

    def put(self, changes: Mapping[str, Any], notes: Sequence[Journal] = ()) -> Any:
        """As a store: nothing is kept."""

    def append(self, kind: str, body: Mapping[str, Any]) -> int:
        """As a store: remember that an entry was written."""
        self.notes.append(kind)
        return len(self.notes)

    def begin(self, uid: int = UID) -> None:
        """Start a guard, and connect a courier to it."""
        self.traffic = Traffic(self.system, self, uid, lambda warning: self.warned.append(told(warning)))
        self.tell = self.traffic.telling(lambda message: None)
        self.traffic.turn(-1)

    def heard(self, *message: Any) -> None:
        """Let the courier say something."""
        self.traffic.heard(list(message))

    def sends(self, count: int) -> None:
        """Let bytes leave under the courier's account."""
        counter(self.system)["bytes"] += count

    def sweep(self, seconds: int = 300) -> dict[str, Any]:
        """Let time pass until the next sweep; return how the count stands."""
        self.system.tick(seconds)
        self.traffic.turn(self.system.clock().uptime)
        return self.traffic.standing()


def counter(system: SimulatedSystem) -> dict[str, Any]:
    """Return the kernel's counter of a simulated device."""
    return next(row["counter"] for row in KERNELS[system] if "counter" in row)


@pytest.fixture(name="counted")
def _counted() -> Counted:
    """A guard that counts."""
    return Counted()


def test_what_was_given_is_explained_and_more_is_told_once(counted: Counted):
    """A megabyte that was given to the courier is explained; the same again, given by nobody, is told once."""
    for number in range(100):
        counted.tell(["publish", number, "up/climate", bytes(10_000)])
        counted.heard("sent", number)
    counted.sends(1_100_000)
    assert counted.sweep()["state"] == "explained"
    counted.sends(2_000_000)
    stands = counted.sweep()
    assert stands["state"] == "unexplained"
    assert stands["sent"] == 3_100_000 and stands["sent"] - stands["explained"] == stands["excess"] > 1_500_000
    counted.sends(5_000_000)
    counted.sweep()
    (text,) = counted.warned
    assert "MB more than can be explained" in text or "kB more than can be explained since" in text
    assert counted.sweep(86_400)["state"] == "explained"
    assert counted.notes == ["egress_count"]
    counted.sends(3_000_000)
    counted.sweep()
    assert len(counted.warned) == 2


def test_every_sweep_of_the_guard_compares(kept: Kept):
    """The whole guard: found within one sweep, told to the owner once, in the status; false answers explain nothing."""
    kept.system.edit(SNMP, RESENT.format(0).encode())
    kept.house.reconcile(UID)
    kept.turn()
    counter(kept.system)["bytes"] += 500_000
    for _ in range(20):
        kept.house.heard(["received", "ack", b"no such thing"])
    kept.turn()
    assert kept.ask("egress", counted=True)["counted"]["sent"] == 0
    kept.system.tick(300)
    kept.turn()
    kept.system.tick(300)
    kept.turn()
    warned = [w["text"] for w in kept.ask("status")["warnings"] if w["kind"] == "egress"]
    assert len(warned) == 1 and "496 kB more than can be explained since" in warned[0]
    stands = kept.ask("egress", counted=True)["counted"]
    assert stands["state"] == "unexplained" and stands["parts"]["answers"] == 0


def test_what_is_repeated_after_a_reconnection_is_explained(counted: Counted):
    """What the broker had not answered goes out once more with each connection, and no more than that."""
    for number in range(20):
        counted.tell(["publish", number, "up/climate", bytes(100_000)])
    for _ in range(3):
        counted.heard("state", "connected", "")
        counted.heard("state", "offline", "cut")
    counted.sends(4 * 2_000_000)
    assert counted.sweep()["state"] == "explained"
    for number in range(20):
        counted.heard("sent", number)
    counted.heard("state", "connected", "")
    counted.sends(4_000_000)
    assert counted.sweep()["state"] == "unexplained"


def test_claims_explain_no_more_than_time_allows(counted: Counted):
    """A courier that claims connection after connection, or answers nobody sent, explains nothing with it."""
    for _ in range(5000):
        counted.heard("state", "offline", "again")
        counted.heard("received", "ack", b"no such thing")
    counted.sends(20_000_000)
    assert counted.sweep()["state"] == "unexplained"


def test_what_the_kernel_sent_again_is_explained(counted: Counted):
    """Segments sent again, by the kernel's own number, are no secret message."""
    counted.system.edit(SNMP, RESENT.format(2000).encode())
    counted.sends(2_500_000)
    assert counted.sweep()["state"] == "explained"


def test_a_counter_taken_away_begins_anew(counted: Counted):
    """Somebody flushed all rules: counted anew, said, and what comes after is compared as before."""
    counted.sends(100_000)
    counted.sweep()
    counted.system.run(("nft", "flush", "ruleset"))
    assert counted.sweep()["why"] == "the kernel's count was taken away"
    counted.sends(900_000)
    assert counted.sweep()["state"] == "unexplained"


def test_a_kernel_that_counts_too_little_is_not_believed(counted: Counted):
    """Bytes that the broker answered must have been counted; else it is unknown, with the reason."""
    counted.tell(["publish", 1, "up/climate", bytes(50_000)])
    counted.heard("sent", 1)
    stands = counted.sweep()
    assert (stands["state"], counted.warned) == ("unknown", [])
    assert "less than the broker has answered" in stands["why"]
    assert counted.sweep()["state"] == "explained"


def test_without_a_count_it_is_unknown(counted: Counted):
    """No account of its own, no number of what was sent again: unknown, each with its reason, and no warning."""
    counted.system.remove(SNMP)
    stands = counted.sweep()
    assert stands["state"] == "unknown" and SNMP in stands["why"]
    counted.begin(0)
    stands = counted.sweep()
    assert stands["state"] == "unknown" and "account" in stands["why"]
    assert counted.warned == []


def test_a_restart_goes_on_with_the_numbers(counted: Counted):
    """What left while the guard was away counts; after a guard that died its numbers are begun anew and it is said."""
    counted.sends(50_000)
    counted.sweep()
    counted.traffic.keep()
    counted.sends(900_000)
    counted.begin()
    assert counted.traffic.standing()["state"] == "unexplained"
    assert len(counted.warned) == 1
    counted.begin()  # the note is used once: as if the guard had been killed
    stands = counted.traffic.standing()
    assert (stands["state"], stands["sent"]) == ("explained", 0)
    assert "without leaving its numbers" in stands["why"]


def test_another_start_of_the_device_begins_anew(counted: Counted):
    """Numbers that an earlier start left, on a disk that should have ended with it, are not gone on with."""
    counted.sends(100_000)
    counted.sweep()
    counted.traffic.keep()
    left = counted.system.read(NOTE)
    counted.system.reboot()
    counted.system.edit(SNMP, RESENT.format(0).encode())
    counted.system.write(NOTE, left, 0o600)
    counted.begin()
    assert counted.traffic.standing()["sent"] == 0
