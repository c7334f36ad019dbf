"""What cannot be restored, or told, is not restored again and again: our own writes wake us, and change nothing."""

from types import SimpleNamespace

import pytest

from agent.core.contest import LIMIT
from agent.guard.enforcing import Enforcing
from agent.system.door import Outcome
from agent.system.simulated import SimulatedSystem
from tests.guard.conftest import Kept

OURS = "/etc/sysctl.d/zz-privet-redirects.conf"
VALUE = "/proc/sys/net/ipv4/conf/all/accept_redirects"
SSH = "/etc/ssh/sshd_config.d"
LOOSE = b"PasswordAuthentication yes\nMatch all\nPasswordAuthentication yes\n"
NAME = "net.redirects"


class Forgetful(Enforcing):
    """The known-bad twin: whatever moved, by its own hand too, it tries as if it never had."""

    def moved(self, events: set[tuple[str, str]]) -> None:
        """Forget everything."""
        self.forget()
        self.guard.tried.difference_update(self.guard.posture.touched(events))


def forgetful(kept: Kept) -> None:
    """Put the twin in place."""
    kept.house.guard.enforcing = Forgetful(kept.house.guard)


def journaled(kept: Kept, kind: str, setting: str) -> int:
    """Count the entries of a kind about a setting."""
    assert kept.store is not None
    return sum(e.kind == kind and e.body.get("setting") == setting for e in kept.store.entries(0, 100_000))


def writes(kept: Kept, place: str, seconds: int = 600) -> int:
    """Let time pass, five seconds a turn; count what happened to names in a place."""
    watch = kept.system.watch([place])
    seen = 0
    for _ in range(seconds // 5):
        kept.turn()
        seen += len(watch.events())
        kept.system.tick(5)
    watch.close()
    return seen


def unreadable(kept: Kept) -> None:
    """Make what runs unknown: the kernel's value is none that can be read."""
    kept.system.hand.discard(VALUE)
    kept.system.hand.directory(VALUE)


def busy(kept: Kept) -> None:
    """Have the program of a step write in a directory that is watched, each time it runs, and do nothing else."""
    runs: list[bytes] = []

    def run(device: SimulatedSystem, argv: tuple[str, ...], stdin: bytes) -> Outcome:
        runs.append(stdin)
        device.edit("/etc/sysctl.d/state", b"%d" % len(runs))
        return Outcome(code=0, out=b"", err=b"")

    kept.system.programs["sysctl"] = SimpleNamespace(run=run)


def quiet_sshd(kept: Kept) -> None:
    """Loosen the SSH server while none runs, so that every trial ends with what was before."""
    for server in kept.system.running("sshd"):
        kept.system.stop(server.pid)
    kept.system.hand.discard("/run/systemd/system")
    kept.system.edit(f"{SSH}/000-a-mine.conf", LOOSE)


def test_a_trial_that_was_set_back_is_not_armed_by_its_own_events(kept: Kept) -> None:
    """No server runs: armed and set back once, then by the sweeps alone; nobody is called another writer."""
    first = journaled(kept, "trial_armed", "ssh.password")  # of the first boot
    quiet_sshd(kept)
    assert 0 < writes(kept, SSH) < 40
    assert 1 <= journaled(kept, "trial_armed", "ssh.password") - first <= 2
    assert journaled(kept, "trial_reverted", "ssh.password") == journaled(kept, "trial_armed", "ssh.password") - first
    assert "contested" not in [t["kind"] for t in kept.told()]
    assert kept.status("ssh.password") == "loosened"


def test_the_twin_arms_it_until_it_blames_somebody(kept: Kept) -> None:
    """Without memory its own events arm it again, and it tells of a program that does not exist."""
    first = journaled(kept, "trial_armed", "ssh.password")
    quiet_sshd(kept)
    forgetful(kept)
    writes(kept, SSH)
    assert journaled(kept, "trial_armed", "ssh.password") - first == LIMIT
    assert "contested" in [t["kind"] for t in kept.told()]


def test_what_a_step_sets_off_does_not_set_off_the_step_for_ever(kept: Kept) -> None:
    """Unknown before and after, and the step's own program writes where we watch: a handful in ten minutes."""
    unreadable(kept)
    busy(kept)
    kept.system.edit(OURS, b"")
    assert writes(kept, "/etc/sysctl.d") < 40
    assert 1 <= journaled(kept, "intent", NAME) <= LIMIT + 2
    before = journaled(kept, "intent", NAME)
    writes(kept, "/etc/sysctl.d", 3600)
    assert journaled(kept, "intent", NAME) - before < 2 * LIMIT


def test_the_twin_never_ends(kept: Kept) -> None:
    """Without memory there is no end: once a turn at least."""
    unreadable(kept)
    busy(kept)
    forgetful(kept)
    kept.system.edit(OURS, b"")
    assert writes(kept, "/etc/sysctl.d") >= 120
    assert journaled(kept, "intent", NAME) >= 120


def test_what_another_hand_changes_is_restored_in_the_same_second(kept: Kept) -> None:
    """What runs stays unknown, so the finding tells nothing new; the file by another hand does."""
    unreadable(kept)
    private = kept.system.read(OURS)
    for made in range(1, LIMIT):
        kept.system.edit(OURS, b"net.ipv4.conf.all.accept_redirects = 1\n")
        kept.turn()
        assert kept.system.read(OURS) == private
        assert journaled(kept, "intent", NAME) >= made


def test_a_hand_that_is_faster_than_our_look_is_seen(kept: Kept) -> None:
    """It writes between our step and our look, the very bytes that were there before: restored all the same."""
    private, loose = kept.system.read(OURS), b"net.ipv4.conf.all.accept_redirects = 1\n"
    left = [loose, loose]

    def run(device: SimulatedSystem, argv: tuple[str, ...], stdin: bytes) -> Outcome:
        if left:
            device.edit(OURS, left.pop())
        return Outcome(code=0, out=b"", err=b"")

    kept.system.programs["sysctl"] = SimpleNamespace(run=run)
    kept.system.edit(OURS, loose)
    for _ in range(4):
        kept.turn()
    assert left == [] and kept.system.read(OURS) == private


@pytest.mark.parametrize("asked", ["enforce", "tighten"])
def test_a_person_who_asks_is_not_put_off(kept: Kept, asked: str) -> None:
    """Both commands try again at once."""
    quiet_sshd(kept)
    kept.turn()
    before = journaled(kept, "trial_armed", "ssh.password")
    kept.turn()
    assert before == journaled(kept, "trial_armed", "ssh.password")
    kept.ask(asked, **({"setting": "ssh.password"} if asked == "tighten" else {}))
    assert journaled(kept, "trial_armed", "ssh.password") == before + 1


def test_a_server_that_comes_is_something_new(kept: Kept) -> None:
    """What failed for want of a server is made as soon as there is one, without waiting for a sweep."""
    quiet_sshd(kept)
    kept.turn()
    assert kept.status("ssh.password") == "loosened"
    kept.system.hand.directory("/run/systemd/system")
    kept.system._program("sshd").boot(kept.system)
    kept.turn()
    kept.turn()
    assert kept.status("ssh.password") == "ok"


def undoing(kept: Kept) -> None:
    """Have what runs undone before we look, by a hand that leaves a trace near by each time, and our file alone."""
    runs: list[bytes] = []

    def run(device: SimulatedSystem, argv: tuple[str, ...], stdin: bytes) -> Outcome:
        runs.append(stdin)
        device.edit("/etc/sysctl.d/tuned.state", b"%d" % len(runs))
        return Outcome(code=0, out=b"", err=b"")

    kept.system.programs["sysctl"] = SimpleNamespace(run=run)
    kept.system.hand.edit(VALUE, b"1\n")
    kept.system.edit("/etc/sysctl.d/tuned.state", b"")


@pytest.mark.parametrize("writer", ["tuned (process 7)", ""])
def test_a_hand_that_is_always_faster_is_named_and_nobody_is_without_one(kept: Kept, writer: str) -> None:
    """Restored each time it shows, five times, then it is told which program it was; without one nobody is."""
    if writer:
        kept.system.writing = [("/etc/sysctl.d", writer)]
    undoing(kept)
    writes(kept, "/etc/sysctl.d", 120)
    assert journaled(kept, "intent", NAME) >= LIMIT
    assert kept.status(NAME) == "loosened"
    told = [t for t in kept.told() if t["kind"] == "contested"]
    assert bool(told) == bool(writer)
    assert all(writer in str(t) for t in told)


def test_what_was_well_in_between_is_restored_at_once(kept: Kept) -> None:
    """Loose in vain, then well by another hand, then loose again in the same way: tried again without waiting."""
    undoing(kept)
    writes(kept, "/etc/sysctl.d", 120)
    kept.system.hand.edit(VALUE, b"0\n")
    kept.system.edit("/etc/sysctl.d/other.conf", b"")
    kept.turn()
    assert kept.status(NAME) == "ok"
    before = journaled(kept, "intent", NAME)
    kept.system.hand.edit(VALUE, b"1\n")
    kept.system.edit("/etc/sysctl.d/other.conf", b"#")
    kept.turn()
    assert journaled(kept, "intent", NAME) > before


def test_what_cannot_be_written_is_nobodys_doing(kept: Kept) -> None:
    """A directory in place of our file, and the value loose: tried when something moves near by, nobody blamed."""
    kept.system.hand.discard(OURS)
    kept.system.hand.directory(OURS)
    kept.system.programs["sysctl"] = SimpleNamespace(run=lambda *_: Outcome(code=0, out=b"", err=b""))
    kept.system.hand.edit(VALUE, b"1\n")
    first = journaled(kept, "intent", NAME)
    for number in range(4 * LIMIT):
        kept.system.edit("/etc/sysctl.d/other.conf", b"#%d" % number)
        kept.turn()
        kept.system.tick(5)
    assert 1 <= journaled(kept, "intent", NAME) - first <= LIMIT + 1
    assert kept.status(NAME) == "loosened"
    assert "contested" not in [t["kind"] for t in kept.told()]
