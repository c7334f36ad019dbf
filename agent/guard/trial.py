"""The record of a change on trial, and the way back: usable before the network is up and without the sealed store.

Two equal files beside the state, root's alone. The first counts when it is whole, else the second; each is replaced as
a whole and carries a digest, so a torn one shows. When both are damaged nobody knows what was there before: nothing is
changed then (undoing blindly could open a door), both are set aside, and the owner is told what is left to do.
"""

from collections.abc import Iterable
from contextlib import suppress

from agent.core.errors import Missing, PrivetError, Tampered, Unreadable
from agent.core.frame import LIMIT
from agent.core.plan import Own, Remove, Write
from agent.core.record import replace
from agent.core.trial import ARMED, REVERTED, TRIES, Original, Trial, pack, unpack
from agent.system.door import System
from agent.system.parts import Step

FIRST, SECOND = "/var/lib/privet/trial.cbor", "/var/lib/privet/trial-2.cbor"
START, FIRST_PROCESS = "/proc/sys/kernel/random/boot_id", "/proc/1/stat"
BEFORE_NETWORK = "Privet was trying out {title} when this device lost power or was started again"


def start_of(system: System) -> str:
    """Return a name for this start of the device, empty when it has none: then no trial goes on.

    The kernel's name for it, and when the first process began: a container is started again under the same kernel.
    """
    try:
        name = system.read(START, 100).decode("ascii", "replace").strip()
    except PrivetError:
        return ""
    try:
        return f"{name} {system.read(FIRST_PROCESS, 4096).rpartition(b')')[2].split()[19].decode()}"
    except (PrivetError, IndexError):
        return name


def recorded(system: System) -> Trial | None:
    """Return the trial on record, None when there is none; Tampered when both copies are damaged."""
    failure: Tampered | None = None
    for path in (FIRST, SECOND):
        try:
            return unpack(system.read(path, LIMIT))
        except Missing:
            continue
        except Tampered as error:
            failure = error
        except Unreadable as error:
            failure = Tampered(str(error))
    if failure is not None:
        raise failure
    return None


def record(system: System, trial: Trial) -> None:
    """Keep a trial, twice, durable on return; nothing of the change may be made before."""
    kept = pack(trial)
    system.write(SECOND, kept, 0o600)
    system.write(FIRST, kept, 0o600)


def forget(system: System) -> None:
    """Let go of the record, durably; the copy that counts goes last."""
    system.remove(SECOND)
    system.remove(FIRST)


def settle(system: System, trial: Trial, state: str, left: tuple[str, ...] = ()) -> Trial:
    """Record what became of a trial: from here on no start of the device brings it back."""
    made = replace(trial, state=state, left=left, originals=())
    system.write(FIRST, pack(made), 0o600)
    system.remove(SECOND)
    return made


def snapshot(system: System, steps: Iterable[Step]) -> tuple[Original, ...]:
    """Return what every path that the steps touch is now, in the order they touch it."""
    found: dict[str, Original] = {}
    for step in steps:
        if isinstance(step, Write | Remove | Own) and step.path not in found:
            found[step.path] = original(system, step.path, content=not isinstance(step, Own))
    return tuple(found.values())


def original(system: System, path: str, *, content: bool) -> Original:
    """Look at one path; of a link what is behind it counts, for the link itself is replaced when it is written."""
    try:
        stat = system.stat(path)
        held = system.read(path) if content and stat.kind != "directory" else b""
    except Missing:
        return Original(path=path, kind="absent", content=b"", mode=0, uid=0, gid=0)
    kind = "file" if content and stat.kind != "directory" else "rights"
    mode = 0o644 if stat.kind == "link" else stat.mode
    return Original(path=path, kind=kind, content=held, mode=mode, uid=stat.uid, gid=stat.gid)


def put_back(system: System, originals: tuple[Original, ...]) -> tuple[str, ...]:
    """Bring every path back to what it was, the last one first; name those that could not be, and go on."""
    left = []
    for one in reversed(originals):
        try:
            if one.kind == "absent":
                system.remove(one.path)
            elif one.kind == "file":
                system.write(one.path, one.content, one.mode, one.uid, one.gid)
            else:
                system.own(one.path, one.mode, one.uid, one.gid)
        except Missing:
            continue  # rights of what is no longer there
        except PrivetError as error:
            left.append(f"{one.path} ({error})")
    return tuple(left)


def revert_armed(system: System) -> tuple[str, ...]:
    """Bring back what an earlier start of the device left on trial; return what the owner must be told.

    Called early, before the network: nothing that reads these files runs yet. What became of it is recorded for the
    guard, who journals and tells it. A trial of this very start is left to the guard, who counts on.
    """
    try:
        trial = recorded(system)
    except Tampered:
        return (set_aside(system),)
    except PrivetError as error:
        return (f"Privet could not look for a change on trial: {error}",)
    start = start_of(system)
    if trial is None or trial.state != ARMED or (start and trial.start == start):
        return ()
    try:
        return (bring_back(system, trial),)
    except PrivetError as error:
        return (f"{BEFORE_NETWORK.format(title=trial.title)}, and could not set it back yet: {error}",)


def bring_back(system: System, trial: Trial) -> str:
    """Bring back the files of a trial whose start is over, and record that; after TRIES tries the rest is given up."""
    tries = trial.tries + 1
    left = put_back(system, trial.originals)
    said = BEFORE_NETWORK.format(title=trial.title)
    if left and tries < TRIES:
        record(system, replace(trial, tries=tries))
        return f"{said}, and could not set back {', '.join(left)}; it is tried again at the next start"
    settle(system, trial, REVERTED, left)
    if left:
        return f"{said}; it could not set back {', '.join(left)} and has given up"
    return f"{said}; it is set back to what it was"


def set_aside(system: System) -> str:
    """Take a damaged record out of the way, whatever it is; it is kept."""
    for path in (SECOND, FIRST):
        with suppress(PrivetError):
            system.aside(path)
    return (
        "The record of a change that was on trial is damaged, so it was not undone and stays, stricter than before. If "
        "you cannot sign in any more, put the recovery file on the card"
    )
