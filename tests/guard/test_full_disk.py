"""A disk that is full or read-only: what needs no disk is set back and told all the same, the rest comes later."""

from collections.abc import Callable

import pytest

from agent.core.errors import Unreadable
from agent.core.trial import WINDOW
from agent.guard import trial as kept_trial
from agent.guard.guard import SWEEP
from agent.guard.late import AGAIN, ENTRIES, LateStore
from agent.system.store import Store
from tests.guard.conftest import Kept
from tests.guard.test_late_originals import RIGHTS
from tests.guard.test_proving import OPEN, SSH, entries, give_key, loose_from_the_start, new_policy, there

DMESG = "/proc/sys/kernel/dmesg_restrict"
DROP_IN = "/etc/sysctl.d/zz-privet-dmesg.conf"
TITLE = "Nothing can be written on this device now"
Fault = Callable[[Kept], None]


def full(kept: Kept) -> None:
    """Fill the disk to its last byte, beneath the files and beneath the state."""
    assert kept.store is not None
    kept.system.disk.capacity = kept.system.disk.used()
    kept.store._rows.execute("PRAGMA max_page_count=1")  # SQLite makes it as many as there are now
    for size in (2000, 200, 1):
        with pytest.raises(Unreadable, match="the disk is full"):
            fill(kept.store, size)


def fill(store: Store, size: int) -> None:
    """Append for as long as there is room."""
    for _ in range(2000):
        store.append("filling", {"with": "x" * size})


def read_only(kept: Kept) -> None:
    """Let the disk be read-only, as the kernel makes it after errors."""
    assert kept.store is not None
    kept.system.disk.read_only = True
    kept.store._rows.execute("PRAGMA query_only=1")
    with pytest.raises(Unreadable, match="read-only"):
        kept.store.append("filling", {})


def free(kept: Kept) -> None:
    """Let there be room again, and time go on until the guard looks."""
    assert kept.store is not None
    kept.system.disk.capacity, kept.system.disk.read_only = None, False
    kept.store._rows.execute("PRAGMA max_page_count=1000000")
    kept.store._rows.execute("PRAGMA query_only=0")
    kept.system.tick(AGAIN + 1)
    kept.turn()


FAULTS = pytest.mark.parametrize("fault", [full, read_only])


def loosen_live(kept: Kept) -> None:
    """Loosen a value of the running kernel by hand."""
    kept.system.run(("sysctl", "-w", "kernel.dmesg_restrict=0"))
    assert kept.system.read(DMESG) == b"0\n"


def shown(kept: Kept) -> str:
    """Return the greeting at a login."""
    return kept.system.read("/run/motd.d/50-privet").decode()


class Unbending(LateStore):
    """Known bad: the store as it was, where nothing waits."""

    def put(self, changes, notes=()):
        """Write at once or not at all."""
        return self.store.put(changes, notes)


@FAULTS
def test_what_needs_no_disk_is_set_back_and_told_and_journaled_later(kept: Kept, fault: Fault) -> None:
    """The kernel's value is back and the owner warned; the journal gets all of it in order once there is room."""
    fault(kept)
    loosen_live(kept)
    kept.ask("enforce")
    assert kept.system.read(DMESG) == b"1\n" and kept.status("kernel.dmesg") == "ok"
    assert "Privet has set it back" in shown(kept) and TITLE in shown(kept)
    assert kept.told() == [], "it cannot have been written"
    for _ in range(4):
        kept.system.tick(AGAIN + 1)
        kept.turn()
    assert len([w for w in kept.warnings("failed") if w.title.startswith(TITLE)]) == 1
    free(kept)
    told = kept.told()
    assert [t["setting"] for t in told] == ["kernel.dmesg", ""] and all("late" in t for t in told)
    kinds = [e.kind for e in kept.store.entries(0, 9999)] if kept.store else []
    assert kinds.index("intent", kinds.index("started")) < kinds.index("warned") < kinds.index("late")
    late = entries(kept, "late")[0]
    assert late["entries"] >= 3 and late["lost"] == 0 and ("full" in late["why"] or "read-only" in late["why"])
    assert kept.ask("journal", verify=True)["sound"] is True
    assert kept.house.store.cause == ""


@FAULTS
def test_twin_whose_journal_does_not_wait_sets_nothing_back(kept: Kept, fault: Fault) -> None:
    """Known bad: with the store as it was, the entry that cannot be written keeps the value from being set back."""
    assert kept.store is not None
    kept.house.books.store = kept.house.guard.late = Unbending(kept.store, kept.system)
    fault(kept)
    loosen_live(kept)
    with pytest.raises(Unreadable):
        kept.ask("enforce")
    assert kept.system.read(DMESG) == b"0\n"


@FAULTS
def test_a_file_that_cannot_be_written_does_not_keep_the_kernel_loose(kept: Kept, fault: Fault) -> None:
    """Both the file and the kernel were loosened: the kernel at once, the file when there is room; nobody is blamed."""
    kept.system.edit(DROP_IN, b"kernel.dmesg_restrict = 0\n")
    loosen_live(kept)
    fault(kept)
    for _ in range(7):
        kept.turn()
        kept.ask("enforce")
    assert kept.system.read(DMESG) == b"1\n" and kept.status("kernel.dmesg") == "loosened"
    assert kept.system.read(DROP_IN) == b"kernel.dmesg_restrict = 0\n"
    assert not kept.warnings("contested")
    free(kept)
    assert kept.status("kernel.dmesg") == "ok" and b"kernel/dmesg_restrict = 1" in kept.system.read(DROP_IN)


@FAULTS
def test_a_trial_without_room_for_its_record_is_not_begun(kept: Kept, fault: Fault) -> None:
    """A way of signing in is not changed while no record of it can be kept: told, nothing left behind, done later."""
    give_key(kept)
    kept.system.edit(SSH, OPEN)
    fault(kept)
    kept.turn()
    assert kept.status("ssh.password") == "loosened" and kept_trial.recorded(kept.system) is None
    assert "the trial is not begun, because no record of it can be kept" in shown(kept)
    assert kept.ask("status")["trial"] is None
    free(kept)
    assert kept.status("ssh.password") == "ok"


@FAULTS
def test_a_disk_that_fills_up_during_a_trial(fresh: Kept, fault: Fault) -> None:
    """Nobody confirms and nothing can be written at the deadline: the guard stays, tells it, and ends it later."""
    loose_from_the_start(fresh)
    new_policy(fresh, ssh_password="no")
    fault(fresh)
    for _ in range(3):
        fresh.system.tick(WINDOW)
        fresh.turn()
    free(fresh)
    fresh.system.tick(61)
    fresh.turn()
    assert fresh.ask("status")["trial"] is None and kept_trial.recorded(fresh.system) is None
    assert not there(fresh) and fresh.status("ssh.password") == "loosened"
    assert [t for t in fresh.told() if t["text"].startswith("Set back to what it was before")]


@FAULTS
def test_a_start_with_such_a_disk(kept: Kept, fault: Fault) -> None:
    """The guard starts, counts the start in memory, sets back; with room the count is on the disk before all else."""
    before = kept.house.system.boot
    kept.stop()
    kept.system.reboot()
    kept.opened = lambda _store: fault(kept)
    kept.start()
    loosen_live(kept)
    kept.ask("enforce")
    assert kept.system.boot == before + 1 and kept.system.read(DMESG) == b"1\n" and TITLE in shown(kept)
    assert kept.store is not None
    assert kept.store.get("boot") == before or not kept.system.disk.read_only  # one number finds room in a full one
    free(kept)
    assert kept.store.get("boot") == before + 1


@FAULTS
def test_nobody_gets_more_than_before_without_a_record(kept: Kept, fault: Fault) -> None:
    """A waiver and a consent are refused; a consent withdrawn counts at once and is written later."""
    kept.agree("warnings")
    fault(kept)
    with pytest.raises(Unreadable):
        kept.loosen("kernel.dmesg", "0")
    assert kept.house.books.waivers == () and kept.system.read(DMESG) == b"1\n"
    kept.ask("consent", purpose="warnings", state="withdrawn", seen="")
    with pytest.raises(Unreadable):
        kept.agree("warnings")
    assert kept.house.books.consents["warnings", "collector"].state == "withdrawn"
    free(kept)
    assert kept.store is not None
    assert [row["state"] for row in kept.store.get("consents")] == ["withdrawn"]


@FAULTS
def test_the_receiver_is_told_later(kept: Kept, fault: Fault) -> None:
    """A warning for the owner's own receiver cannot be queued: it waits, and goes out once, or never if withdrawn."""
    kept.agree("warnings")
    kept.turn()
    lane = kept.house.outbox.lanes["warnings"]
    before = lane.accepted
    fault(kept)
    loosen_live(kept)
    kept.ask("enforce")
    for _ in range(3):
        kept.system.tick(SWEEP + 1)
        kept.turn()
    waiting = kept.house.outbox.late["warnings"]
    assert lane.accepted == before and [name for name, _, _ in waiting] == ["warning/kernel.dmesg", "warning/failed"]
    free(kept)
    kept.system.tick(SWEEP + 1)
    kept.turn()
    assert lane.accepted == before + 2 and not kept.house.outbox.late
    kept.house.outbox.late["warnings"] = waiting
    kept.ask("consent", purpose="warnings", state="withdrawn", seen="")
    assert not kept.house.outbox.late


def test_originals_are_written_by_the_next_turn(kept: Kept) -> None:
    """Only the files had no room, the state had: what waits is written without anybody asking, and without noise."""
    guard = kept.house.guard
    kept.system.edit("/etc/foreign.conf", b"theirs\n", mode=0o644)
    kept.turn()
    kept.system.disk.capacity = kept.system.disk.used()
    guard.originals.record(kept.system, (RIGHTS,))
    assert guard.originals.held
    for _ in range(5):
        kept.system.tick(AGAIN + 1)
        kept.turn()
    assert guard.originals.held and not entries(kept, "late")
    free(kept)
    assert not guard.originals.held and not entries(kept, "late")


def test_what_waits_is_written_when_the_guard_is_stopped(kept: Kept) -> None:
    """There was room again and nobody had looked yet: the end of the guard does; and without room it still ends."""
    full(kept)
    kept.house.store.append("filling", {"number": 1})
    kept.house.store.finish()
    assert kept.store is not None and kept.house.store.notes
    kept.store._rows.execute("PRAGMA max_page_count=1000000")
    kept.house.store.finish()
    assert entries(kept, "late")[0]["entries"] == 1


def test_what_waits_is_bounded(kept: Kept) -> None:
    """So many entries and no more; how many were lost is said; the same thing said twice is one entry."""
    full(kept)
    late = kept.house.store
    for number in range(ENTRIES * 2):
        assert late.append("filling", {"number": number}) == 0 == late.append("filling", {"number": 0})
    assert len(late.notes) == ENTRIES
    free(kept)
    assert entries(kept, "late")[0]["lost"] >= ENTRIES
    assert not late.notes
