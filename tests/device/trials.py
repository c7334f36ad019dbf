"""Changes on trial inside a light device: real sshd, nft and files, the guard's own code, a small store.

Run there as `python -m tests.device.trials ACT [SETTING VALUE]`; prints one JSON object.
"""

import json
import sys
import time

from agent import registry
from agent.core.plan import Change
from agent.core.record import replace
from agent.guard import trial as kept
from agent.guard.posture import Posture
from agent.guard.proving import Proving
from agent.system.real import RealSystem
from tests.guard.disk_store import DiskStore


def guard(system: RealSystem) -> Proving:
    """Start the part of the guard that changes access."""
    settings = registry.settings()
    made = Proving(system, DiskStore(system), settings)
    made.posture = Posture(system, settings, {name: one.strictest() for name, one in settings.items()})
    made.take_up()
    return made


def main(act: str, name: str = "", value: str = "null") -> None:
    """Do one act."""
    system = RealSystem()
    answer: dict[str, object] = {}
    if act == "early":
        answer["said"] = kept.revert_armed(system)
    elif act == "over":  # as if the deadline had passed
        trial = kept.recorded(system)
        assert trial is not None
        kept.record(system, replace(trial, deadline=system.clock().uptime))
    elif act == "another":  # as if the device had been started again
        trial = kept.recorded(system)
        assert trial is not None
        kept.record(system, replace(trial, start="another"))
    else:
        made = guard(system)
        if act in ("change", "hang"):
            wanted = json.loads(value)
            wanted = tuple(wanted) if isinstance(wanted, list) else wanted
            steps = made.posture.steps(name, wanted)
            answer["said"] = made.run(Change(setting=name, wanted=wanted, found="", held=""), steps)
        made.tick()
        answer["trial"] = made.standing()
        answer["told"] = [warning.outcome for warning in made.news]
        answer["ways"] = {way.name: [way.state, way.cause] for way in made.ways()}
        answer["journal"] = [kind for kind, _ in DiskStore(system).journal]
    print(json.dumps(answer), flush=True)
    while act == "hang":
        time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
