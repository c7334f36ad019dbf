"""One restart for all that ask for it in one look: each setting proven by its own probe after it."""

from types import SimpleNamespace

from agent.guard.enforcing import Enforcing
from agent.guard.executor import apply
from agent.system.door import Outcome
from agent.system.parts import Step
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.programs import systemctl
from tests.guard.conftest import Kept

PLACE = "/etc/systemd/journald.conf.d"
LOG = ("log.least", "log.retention", "log.storage")
OURS = tuple(f"{PLACE}/zz-privet-{name[4:]}.conf" for name in LOG)
JOURNALD = ("systemctl", "try-restart", "systemd-journald.service")


class Eager(Enforcing):
    """The known-bad twin: every setting starts the program anew for itself."""

    def apply(self, name: str, steps: tuple[Step, ...]) -> None:
        """Make all steps at once."""
        apply(self.guard.system, steps)


def listening(kept: Kept, fails: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Note what systemctl is told from now on; it fails at `fails`."""
    said: list[tuple[str, ...]] = []

    def run(device: SimulatedSystem, argv: tuple[str, ...], stdin: bytes) -> Outcome:
        said.append(argv)
        return Outcome(code=1, out=b"", err=b"no") if argv == fails else systemctl.run(device, argv, stdin)

    kept.system.programs["systemctl"] = SimpleNamespace(run=run)
    return said


def emptied(kept: Kept) -> None:
    """Have a hand empty all three files of ours."""
    for path in OURS:
        kept.system.edit(path, b"")


def test_three_settings_start_journald_once(kept: Kept) -> None:
    """All three are written, journald starts anew once, and each is proven."""
    said = listening(kept)
    emptied(kept)
    kept.house.turn(0)
    assert said.count(JOURNALD) == 1
    assert [kept.status(name) for name in LOG] == ["ok"] * 3
    assert all(kept.system.read(path) for path in OURS)


def test_the_twin_starts_it_for_each(kept: Kept) -> None:
    """Without this it is as many times as there are settings."""
    kept.house.guard.enforcing = Eager(kept.house.guard)
    said = listening(kept)
    emptied(kept)
    kept.house.turn(0)
    assert said.count(JOURNALD) == len(LOG)


def test_a_restart_that_fails_is_told_for_each(kept: Kept) -> None:
    """None of them is called private, and all three say why."""
    listening(kept, fails=JOURNALD)
    emptied(kept)
    kept.house.turn(0)
    assert "ok" not in [kept.status(name) for name in LOG]
    assert kept.store is not None
    failed = [e.body for e in kept.store.entries(0, 100_000) if e.kind == "failed"]
    assert {row["setting"] for row in failed} >= set(LOG)
    assert all("systemctl failed" in row["why"] for row in failed if row["setting"] in LOG)


def test_what_fails_after_the_restart_is_told_for_its_own_setting(kept: Kept) -> None:
    """Letting go of what is old fails for retention; the two that share the restart with it know nothing of that."""
    said = listening(kept)
    kept.system.programs["journalctl"] = SimpleNamespace(run=lambda *_: Outcome(code=1, out=b"", err=b"no"))
    emptied(kept)
    kept.house.turn(0)
    assert said.count(JOURNALD) == 1
    assert kept.store is not None
    failed = {e.body["setting"] for e in kept.store.entries(0, 100_000) if e.kind == "failed"}
    assert failed & set(LOG) == {"log.retention"}


def test_nothing_is_owed_while_a_change_is_on_trial(kept: Kept) -> None:
    """What was asked for before is done before the trial is armed; the trial reloads by itself, and is not shared."""
    said = listening(kept)
    emptied(kept)
    kept.system.edit("/etc/ssh/sshd_config.d/000-a-mine.conf", b"PasswordAuthentication yes\n")
    kept.house.turn(0)
    reload = next(place for place, argv in enumerate(said) if argv[1] == "try-reload-or-restart")
    assert said.index(JOURNALD) < reload
