"""Never locked out: all ordered pairs of what touches access, proofs broken, power cut; the owner gets in afterwards.

Each device has exactly one way in from afar and one way to all rights. A cut is made where the disk differs from the
cuts before; by default at a few places of each pair, all of them together at every kind of place, and at every place of
every pair with PRIVET_LOCKOUT_CUTS=all (an hour).
"""

import itertools
import os

import pytest

from agent.core.errors import LockOut
from agent.core.trial import CONFIRM
from agent.guard import trial as kept
from agent.guard.proving import Proving
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.faults import NoSync
from tests.guard import lockouts
from tests.guard.lockouts import ACCESS, ACCOUNT, Marks, gets_in, guard, has_rights, later, looser, pair

CUTS = os.environ.get("PRIVET_LOCKOUT_CUTS", "1")
LOSE = ("all", "none", "torn")
WAYS = {"key": ACCESS, "password": (*ACCESS, ACCOUNT)}


def safe(system, by):
    """Say whether the owner gets in, can do everything, and nothing is looser than it was."""
    return gets_in(system, by) and has_rights(system) and not looser(system)


def broken(first, second):
    """Return which of two changes break the way in: none, the first, the second. A password is no part that breaks."""
    return [(), *((name,) for name in (first, second) if name != ACCOUNT)]


@pytest.fixture(scope="module", params=WAYS)
def fleet(request):
    """How the owner gets in, and how to make such devices."""
    return request.param, lockouts.factory(request.param)


def test_the_devices_are_what_they_are_said_to_be(fleet):
    """The owner gets in and all is loose; each defect alone would lock them out: else nothing here proves anything."""
    by, made = fleet
    assert safe(made(), by)
    for name in ACCESS:
        system = made()
        lockouts.apply(system, lockouts.defect(name, system))
        assert not (gets_in(system, by) and has_rights(system)), name


def test_all_pairs_with_the_proof_broken_by_either(fleet):
    """Whatever breaks the way in is undone at once or at the deadline, and told; what is sound and provable stays."""
    by, made = fleet
    stayed = undone = 0
    for first, second in itertools.permutations(WAYS[by], 2):
        for breaks in broken(first, second):
            system = made()
            pair(system, first, second, breaks)
            at_once = gets_in(system, by) and has_rights(system)
            told = later(system, account=ACCOUNT in (first, second))
            assert safe(system, by), (first, second, breaks)
            ends = [(kind, body["setting"]) for kind, body in lockouts.DiskStore(system).journal if "setting" in body]
            if breaks and ("trial_armed", breaks[0]) in ends:  # sudo itself may refuse before anything is made
                assert ("trial_reverted", breaks[0]) in ends, (first, second)
                undone += 1
            elif breaks:
                assert breaks[0] == "sudo.nopasswd" or by == "password", (first, second, breaks)
            elif by == "key":
                assert at_once and not told, (first, second)
                stayed += 1
    assert undone > len(ACCESS) * (len(ACCESS) - 1)
    assert stayed == (len(ACCESS) * (len(ACCESS) - 1) if by == "key" else 0)


def places(made, first, second, breaks):
    """Return the numbers of the calls before which the disk has changed, from the second change on for most pairs."""
    marks = []

    def marked(inner):
        """Note them."""
        marks.append(Marks(inner))
        return marks[-1]

    system = made(calls=marked)
    begun = system.kernel_calls.made
    pair(system, first, second, breaks)
    return [place - begun for place in marks[-1].places if place > begun]


def test_power_cut_in_all_pairs(fleet):
    """At whichever place power goes, the next start and the deadline leave the owner a way in and nothing looser."""
    by, made = fleet
    fired = 0
    for number, (first, second) in enumerate(itertools.permutations(WAYS[by], 2)):
        choices = broken(first, second)
        for breaks in choices if CUTS == "all" else (choices[number % len(choices)],):
            found = places(made, first, second, breaks)
            step = 1 if CUTS == "all" else max(1, len(found) // int(CUTS))
            for place in found[number % step :: step]:
                system = made()
                lose = LOSE[(number + place) % 3]
                assert system.kill_at(place, lambda one, f=first, s=second, b=breaks: pair(one, f, s, b), lose)
                fired += 1
                later(system, account=ACCOUNT in (first, second))
                assert safe(system, by), (first, second, breaks, place, lose)
    assert fired >= len(ACCESS) * (len(ACCESS) - 1)


class Forgetful(SimulatedSystem):
    """A twin whose record of a trial is never written."""

    def write(self, path, content, mode, uid=0, gid=0):
        """Write all but the record."""
        if path not in (kept.FIRST, kept.SECOND):
            super().write(path, content, mode, uid, gid)


class Trusting(Proving):
    """A twin that confirms before it has proven anything."""

    def judged(self, trial):
        """Take it for proven."""
        return CONFIRM


def locked_out(made, by, system=SimulatedSystem, proving=Proving, calls=None):
    """Count the defects after which a cut right behind the last step leaves the owner locked out."""
    count = stopped = 0
    for name in ACCESS:
        twins = []

        def wrapped(inner, twins=twins):
            """Wrap the calls."""
            twins.append(calls(inner))
            return twins[0]

        device = made(system, **({"calls": wrapped} if calls else {}))
        one = guard(device, Stopping if proving is Proving else proving)
        try:
            lockouts.change(device, one, name, broken=True)
        except LockOut:
            continue  # sudo itself refuses this one
        except Halt:
            stopped += 1
        for twin in twins:
            assert twin.fired
        device.crash()
        later(device, proving)
        count += not (gets_in(device, by) and has_rights(device))
    assert stopped or proving is not Proving
    return count


class Halt(BaseException):
    """The moment right behind the last step."""


class Stopping(Proving):
    """The guard, ended right behind the last step."""

    def judged(self, trial):
        """End here."""
        if self.trial is trial and not self.system.uptime:
            raise Halt
        return super().judged(trial)


class Unsynced(SimulatedSystem):
    """A twin that writes the record of a trial without its fsyncs, and all else with them."""

    def write(self, path, content, mode, uid=0, gid=0):
        """Write; the calls beneath leave out what they are told."""
        left_out = path in (kept.FIRST, kept.SECOND)
        self.calls.left_out = {"directory": left_out, "file": left_out}
        super().write(path, content, mode, uid, gid)
        self.calls.left_out = {"directory": False, "file": False}


def test_twins_lock_the_owner_out(fleet):
    """Known bad: without the record, without its fsync, with the confirmation before the proof; the product: never."""
    by, made = fleet
    all_of_them = len(ACCESS) - (by == "key")
    assert locked_out(made, by) == 0
    assert locked_out(made, by, system=Forgetful) == all_of_them
    assert locked_out(made, by, proving=Trusting) == all_of_them
    assert locked_out(made, by, system=Unsynced, calls=NoSync) == all_of_them
