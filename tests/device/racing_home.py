"""Runs on the device under test: the setting files.home set as root and taken back, while pi swaps a home for a link.

Arguments: who sets it (openat2, walk, or the known bad by-path) and how often. Prints one JSON object. The home is that
of the account kid, in the home of pi, who may rename it; the link leads to a directory of root's. Both have an access
list: that of kid's home is taken by the setting and given back by `privet restore`, in which pi would like to stand.
"""

import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from agent.core import cbor
from agent.core.errors import PrivetError
from agent.core.original import LISTED, SAME, state, thing
from agent.guard import restore
from agent.guard.executor import apply
from agent.guard.originals import Kept
from agent.providers.linux import file_mode
from agent.system.calls import Calls
from agent.system.real import RealSystem
from tests.device.racing import PI, OldKernel, Swapper

KID, TRAP, VICTIM = "/home/pi/kid", "/home/pi/trap", "/home/outside/kid"
PARAMS = {"each_home": "yes"}
LIST, NOBODY = "system.posix_acl_access", 0xFFFFFFFF


def listed(person: int) -> bytes:
    """Return an access list that lets one more person read and enter, as the kernel keeps it."""
    rows = ((1, 7, NOBODY), (2, 5, person), (4, 5, NOBODY), (16, 5, NOBODY), (32, 5, NOBODY))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)


HOMES, ROOTS = listed(PI.pw_uid), listed(1234)


def lay() -> None:
    """Put home, trap and victim in their places; nothing is swapped meanwhile."""
    for path in (KID, TRAP, KID + "-aside", VICTIM):
        if os.path.islink(path):
            os.unlink(path)
        shutil.rmtree(path, ignore_errors=True)
    for path in (KID, VICTIM):
        os.makedirs(path)
        os.chmod(path, 0o755)
        os.setxattr(path, LIST, HOMES if path == KID else ROOTS)
    os.symlink(VICTIM, TRAP)
    os.chown("/home/pi", PI.pw_uid, PI.pw_gid)


def acts(system: RealSystem, by_path: bool) -> list[Callable[[], None]]:
    """Return what is done: the steps of the setting and the way back, or the known bad way, by the path."""
    steps = file_mode.steps({**file_mode.prepare(system, PARAMS), "listed": (KID,)}, "self:self:0700")
    mine = [step for step in steps if step.path == KID]
    assert len(mine) == 2, steps
    before = state(LISTED, cbor.encode([HOMES, b""]))
    item = restore.Item(kept=Kept(thing=thing(LISTED, KID), before=before, ours=()), now=before, act=SAME)
    if not by_path:
        made: list[Callable[[], None]] = [
            partial(apply, system, (step,), lambda _system, _steps: None) for step in mine
        ]
        return [*made, partial(restore.put_back, system, item)]
    changed = [partial(os.chmod, KID, 0o700), partial(os.chown, KID, 1001, 1001)]
    return [*changed, partial(os.removexattr, KID, LIST), partial(os.setxattr, KID, LIST, HOMES)]


def main() -> None:
    """Run the race."""
    who, rounds = sys.argv[1], int(sys.argv[2])
    system = RealSystem(calls=OldKernel() if who == "walk" else Calls(), announce=lambda _: None)
    tally: dict[str, Any] = {"done": 0, "refused": 0, "swapped": 0, "escaped": 0, "lists": 0}
    lay()
    swapper = Swapper(KID, TRAP)
    for _ in range(rounds):
        swapper.hold()
        if os.path.islink(KID) == os.path.islink(TRAP):
            lay()
        todo = acts(system, who == "by-path")
        swapper.go()
        begun = swapper.count()
        for act in todo:
            try:
                act()
                tally["done"] += 1
            except (PrivetError, OSError):
                tally["refused"] += 1
        tally["swapped"] += swapper.count() > begun
        found = os.stat(VICTIM)
        same = os.listxattr(VICTIM) == [LIST] and os.getxattr(VICTIM, LIST) == ROOTS
        tally["lists"] += not same
        if not same or (found.st_mode & 0o7777, found.st_uid) != (0o755, 0):
            tally["escaped"] += 1
            swapper.hold()
            lay()
    swapper.end()
    print(json.dumps(tally))


if __name__ == "__main__":
    main()
