"""How a policy goes out, decided without a broker: stages, halts, what is heard, and a record that outlives us."""

import json
from pathlib import Path

import cbor2
import pytest

from agent.core.errors import BadInput, Missing
from provisioning.fleet.rollout import DONE, HALTED, HAS, LEFT, OPEN, REFUSED, RUNNING, SENT, Plan, Rollout, Said
from provisioning.fleet.rollout import read_answer as read

SIGNED = b"a signed policy"
NAMES = tuple(f"d{number}" for number in range(40))


def begun(tmp_path: Path, stages: tuple[int, ...] = (5, 25, 100), failures: int = 0, enough: int = 90) -> Rollout:
    """Begin one for forty devices."""
    plan = Plan(stages=stages, failures=failures, enough=enough)
    made = Rollout.begin(tmp_path / "base.json", "base", 7, SIGNED, plan)
    made.aim(NAMES)
    return made


def has(rollout: Rollout, waiting: int = 0) -> Said:
    """Return what a device says that has it."""
    return Said(sequence=rollout.sequence, digest=rollout.digest, waiting=waiting, refused=b"", why=0)


def old(rollout: Rollout, refused: bool = False) -> Said:
    """Return what a device says that has the policy before, and perhaps refused this one."""
    digest = rollout.digest if refused else b""
    return Said(sequence=rollout.sequence - 1, digest=b"o" * 16, waiting=0, refused=digest, why=14 if refused else 0)


def send(rollout: Rollout) -> list[str]:
    """Send what is due."""
    due = rollout.due()
    for name in due:
        rollout.sent(name, 1)
    return due


def test_stage_follows_stage_when_enough_have_it(tmp_path: Path):
    """Two, ten, forty: the next stage opens with nine in ten of this one, and not before."""
    rollout = begun(tmp_path)
    first = send(rollout)
    assert len(first) == 2
    rollout.hear(first[0], has(rollout), 2)
    assert rollout.due() == [first[1]]  # one of two is not enough; the other is asked again
    rollout.hear(first[1], has(rollout), 2)
    second = send(rollout)
    assert len(second) == 8
    for name in second[:7]:
        rollout.hear(name, has(rollout), 3)
    third = send(rollout)  # nine of ten have it; the silent one is asked with the rest
    assert len(third) == 31
    for name in third:
        rollout.hear(name, has(rollout), 4)
    assert rollout.verdict() == DONE
    assert rollout.due() == []


def test_who_is_first_is_drawn_anew_for_each_policy(tmp_path: Path):
    """Neither by name nor always the same ones."""
    one, other = begun(tmp_path), begun(tmp_path)
    other.digest = b"x" * 16
    assert one.order() != other.order()
    assert sorted(one.order()) == sorted(NAMES)
    assert one.order() == begun(tmp_path).order()


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_more_refusals_than_allowed_halt_it(tmp_path: Path, failures: int):
    """Up to so many are borne; one more, and nobody else is sent it."""
    rollout = begun(tmp_path, (50, 100), failures)
    names = send(rollout)
    for name in names[:failures]:
        assert rollout.hear(name, old(rollout, refused=True), 2)
    assert rollout.verdict() == RUNNING
    rollout.hear(names[failures], old(rollout, refused=True), 2)
    assert rollout.verdict() == HALTED
    assert rollout.due() == []
    assert rollout.devices[names[0]].state == REFUSED
    assert rollout.devices[names[0]].why == 14


def test_a_device_that_goes_back_counts_as_a_failure(tmp_path: Path):
    """It had the policy, could not start with it and fell back to the one before: that halts the rest."""
    rollout = begun(tmp_path)
    name = send(rollout)[0]
    rollout.hear(name, has(rollout), 2)
    assert rollout.hear(name, old(rollout), 3)
    assert rollout.devices[name].state == LEFT
    assert rollout.verdict() == HALTED


def test_who_says_that_it_never_came_is_sent_it_again(tmp_path: Path):
    """A device that connects for the first time has no queue at the broker: what was sent before is lost."""
    rollout = begun(tmp_path)
    name = send(rollout)[0]
    assert not rollout.hear(name, old(rollout), 2)
    assert rollout.behind == {name}
    rollout.hear(name, has(rollout), 3)
    assert rollout.behind == set()


def test_what_waits_for_owners_is_counted_and_strangers_are_not(tmp_path: Path):
    """Each device is counted once, however much waits; one that the rollout is not for changes nothing."""
    rollout = begun(tmp_path)
    names = send(rollout)
    rollout.hear(names[0], has(rollout, 3), 2)
    assert rollout.count()["waiting"] == 1
    assert rollout.hear(names[0], has(rollout, 0), 3)
    assert rollout.count()["waiting"] == 0
    assert not rollout.hear("stranger", has(rollout), 3)
    assert rollout.count() == {OPEN: 38, SENT: 1, HAS: 1, REFUSED: 0, LEFT: 0, "waiting": 0}


def test_the_record_outlives_us(tmp_path: Path):
    """Written and read again it decides the same; taking devices in again leaves them where they stand."""
    rollout = begun(tmp_path)
    name = send(rollout)[0]
    rollout.hear(name, has(rollout, 2), 9)
    rollout.save()
    again = Rollout.load(rollout.path)
    again.aim(NAMES)
    assert (again.devices, again.plan, again.digest) == (rollout.devices, rollout.plan, rollout.digest)
    assert again.due() == rollout.due()
    assert rollout.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"class": 1}', '{"stages": 3}'])
def test_a_damaged_record_is_told(tmp_path: Path, text: str):
    """Not taken for an empty one, with which everything would begin anew."""
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BadInput, match="damaged"):
        Rollout.load(path)
    with pytest.raises(Missing):
        Rollout.load(tmp_path / "none.json")


def test_a_record_with_one_fact_missing_is_damaged(tmp_path: Path):
    """A device's row that lacks a field is not guessed at."""
    rollout = begun(tmp_path)
    rollout.save()
    table = json.loads(rollout.path.read_text())
    del table["devices"]["d1"]["waiting"]
    rollout.path.write_text(json.dumps(table))
    with pytest.raises(BadInput, match="damaged"):
        Rollout.load(rollout.path)


@pytest.mark.parametrize("stages", [(), (0, 100), (50,), (100, 50), (5, 5, 100), (5, 101)])
def test_stages_rise_to_all(tmp_path: Path, stages: tuple[int, ...]):
    """Anything else is refused."""
    with pytest.raises(BadInput, match="rising"):
        begun(tmp_path, stages)


def test_answers_are_read_strictly():
    """What FORMAT.md says, and nothing else; bytes of others never raise anything but one sentence."""
    good = [1, 7, b"d" * 16, 2, b"", 0]
    assert read(cbor2.dumps(good)) == Said(sequence=7, digest=b"d" * 16, waiting=2, refused=b"", why=0)
    bad: list[object] = [[], {}, None, good[:5], [*good, 0], [2, *good[1:]], [1, -1, *good[2:]], [True, *good[1:]]]
    bad += [[1, 7, digest, 2, b"", 0] for digest in ("d" * 16, b"d", b"d" * 300)]
    bad.append([1, 7, b"d" * 16, 2.0, b"", 0])
    for row in bad:
        with pytest.raises(BadInput, match="cannot be read"):
            read(cbor2.dumps(row))
    for payload in (b"", b"\xff", b"\x9f" * 100, b"\xd8\x1c" * 100):
        with pytest.raises(BadInput, match="cannot be read"):
            read(payload)
