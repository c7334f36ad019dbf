"""Runs on the device under test: the setting files.home set as root, while pi swaps a home in his own for a link.

Arguments: who sets it (openat2, walk, or the known bad by-path) and how often. Prints one JSON object. The home is that
of the account kid, in the home of pi, who may rename it; the link leads to a directory of root's.
"""

import json
import os
import shutil
import sys
from typing import Any

from agent.core.errors import PrivetError
from agent.core.plan import Own
from agent.guard.executor import apply
from agent.providers.linux import file_mode
from agent.system.calls import Calls
from agent.system.real import RealSystem
from tests.device.racing import PI, OldKernel, Swapper

KID, TRAP, VICTIM = "/home/pi/kid", "/home/pi/trap", "/home/outside/kid"
PARAMS = {"each_home": "yes"}


def lay() -> None:
    """Put home, trap and victim in their places; nothing is swapped meanwhile."""
    for path in (KID, TRAP, KID + "-aside", VICTIM):
        if os.path.islink(path):
            os.unlink(path)
        shutil.rmtree(path, ignore_errors=True)
    for path in (KID, VICTIM):
        os.makedirs(path)
        os.chmod(path, 0o755)
    os.symlink(VICTIM, TRAP)
    os.chown("/home/pi", PI.pw_uid, PI.pw_gid)


def enforced(system: RealSystem, by_path: bool) -> None:
    """Set what the setting asks for, as the guard does; or the known bad way, by the path."""
    steps = file_mode.steps(file_mode.prepare(system, PARAMS), "self:self:0700")
    mine = tuple(step for step in steps if isinstance(step, Own) and step.path == KID)
    if not by_path:
        apply(system, mine, lambda _system, _steps: None)
        return
    for step in mine:
        os.chmod(step.path, step.mode)
        os.chown(step.path, step.uid, step.gid)


def main() -> None:
    """Run the race."""
    who, rounds = sys.argv[1], int(sys.argv[2])
    system = RealSystem(calls=OldKernel() if who == "walk" else Calls(), announce=lambda _: None)
    tally: dict[str, Any] = {"done": 0, "refused": 0, "swapped": 0, "escaped": 0}
    lay()
    swapper = Swapper(KID, TRAP)
    for _ in range(rounds):
        swapper.hold()
        if os.path.islink(KID) == os.path.islink(TRAP):
            lay()
        swapper.go()
        begun = swapper.count()
        try:
            enforced(system, who == "by-path")
            tally["done"] += 1
        except (PrivetError, OSError):
            tally["refused"] += 1
        tally["swapped"] += swapper.count() > begun
        found = os.stat(VICTIM)
        if (found.st_mode & 0o7777, found.st_uid) != (0o755, 0):
            tally["escaped"] += 1
            swapper.hold()
            lay()
    swapper.end()
    print(json.dumps(tally))


if __name__ == "__main__":
    main()
