"""Before the network comes up: a change on trial is set back, a recovery file is judged, the firewall is loaded.

The firewall is as the guard left it, or shut: when there is none that can be trusted, and after a recovery file.

Runs once per start and has to be quick: no store, no key, nothing but Python's own library. Whatever fails here leaves
the device shut in; the boot goes on, the console says why, and the guard repairs it. What the owner must be told is
left in SAID for the guard, who journals and delivers it.
"""

import json
import sys

from agent.core.errors import BadInput, Failed, PrivetError
from agent.core.order import ANY
from agent.guard import glass, plants, trial
from agent.providers.linux import nft
from agent.system.beneath import walked
from agent.system.door import System
from agent.system.real import RealSystem
from agent.system.seen import there

DIRECTIONS = ("inbound", "outbound")
SHUT = "/usr/lib/privet/shut.nft"
SAID = "/run/privet/early"
MARKER = "/var/lib/privet/provisioned"
DEVICE = "/etc/privet/device.cbor"
CONTINUES = "nothing reaches this device from outside until the guard has written the firewall anew"


def main() -> None:
    """Do it all on this machine; the exit code says whether the firewall is in place."""
    system = RealSystem(announce=walked)
    try:
        said = prepare(system)
        code = 0
    except PrivetError as error:
        said, code = (f"The firewall could not be loaded at the start: {error}",), error.exit_code
    for sentence in said:
        print(f"privet-early: {sentence}", file=sys.stderr)  # noqa: T201 - the service's log and the console
    sys.exit(code)


def prepare(system: System) -> tuple[str, ...]:
    """Do all of it; return what the owner must be told, which is also left for the guard unless it has it on record."""
    if not ours(system):
        return ()
    cleared = plants.cleared(system)
    undone = trial.revert_armed(system)
    reset = glass.requested(system)
    said = (*cleared, *(() if on_record(system) else undone), *reset, *firewall(system))
    if said:
        system.write(SAID, json.dumps(said).encode(), 0o600)
    return (*undone, *said) if on_record(system) else said


def ours(system: System) -> bool:
    """Say whether this device is Privet's to shut; until it is set up, only if that will happen by itself."""
    if there(system, DEVICE):
        return True
    from agent.guard import setup

    try:
        return setup.read_wishes(system).automatic
    except BadInput:
        return True  # the first boot says what is wrong; until then the factory's secrets are not shown to anybody


def on_record(system: System) -> bool:
    """Say whether the guard will find what became of a change on trial."""
    try:
        return trial.recorded(system) is not None
    except PrivetError:
        return False


def firewall(system: System) -> tuple[str, ...]:
    """Load what is kept for both directions, or shut; before the first boot is over that goes without a word."""
    if glass.pending(system):
        shut(system)
        return ()
    said = {direction: load(system, direction) for direction in DIRECTIONS}
    bad = tuple(sentence for sentence in said.values() if sentence)
    if not bad:
        return ()
    shut(system)
    for direction in DIRECTIONS:
        # The guard writes anew what is not as it was left, and only that: the other one would stay shut.
        if not said[direction]:
            load(system, direction)
    return (*bad, f"So it started shut: {CONTINUES}.") if there(system, MARKER) else ()


def shut(system: System) -> None:
    """Load the firewall that lets nothing in."""
    outcome = system.run(("nft", "-f", SHUT))
    if outcome.code != 0:
        raise Failed(f"nft did not load {SHUT} ({last(outcome.err)}); look at journalctl -u privet-early")


def load(system: System, direction: str) -> str:
    """Load one direction as it is kept; return why that was not possible."""
    path = nft.file_of(direction)
    try:
        if nft.in_file(system, direction) == ANY:
            return f"The firewall in {path} is missing or was changed by somebody else, and was not loaded."
        outcome = system.run(("nft", "-j", "-f", path))
    except PrivetError as error:
        return f"The firewall in {path} was not loaded: {error}."
    return "" if outcome.code == 0 else f"The firewall in {path} was not loaded: nft says {last(outcome.err)}."


def last(err: bytes) -> str:
    """Return the last line that a program said."""
    lines = err.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:160] if lines else "nothing"


def told(system: System) -> tuple[str, ...]:
    """Return what was left for the guard, and take it away."""
    try:
        left = json.loads(system.read(SAID))
        system.remove(SAID)
    except (PrivetError, ValueError):
        return ()
    return tuple(str(sentence) for sentence in left) if isinstance(left, list) else ()
