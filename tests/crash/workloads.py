"""What works on the card while it is recorded, and what must be true of every state that a cut may leave.

Each workload does one numbered act after the other and reports each when the product says that it is durable. Its
judge gets a mounted card and the last number that was reported: everything up to it is there, whole; the one in
progress is old or new; nothing else lies about. A judge returns "" or what is amiss.
"""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.core.clock import Clock
from agent.core.errors import Missing, PrivetError
from agent.core.secret import Secret
from agent.system.calls import Calls
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.segment import Row
from agent.system.simulated.faults import NoSync
from agent.system.store import Store
from agent.system.vault import DirectVault

SECTOR = 512
SIZE = 32 << 20  # of a card; its file system ends before MARKS
MARKS = 31 << 20  # beyond the file system: a sector that says how much was reported as done
CHANGES = 6
RECORD = b"record %08d\n"
MODES = (0o640, 0o600)


class Workload(NamedTuple):
    """`work(place, calls, careless)` yields the number of each reported act; `judge(place, reported)` looks."""

    work: Callable[[str, Callable[[], Calls], bool], Iterator[int]]
    judge: Callable[[str, int], str]
    acts: int


TWINS: dict[str, Callable[[], Calls]] = {
    "": Calls,
    "no directory fsync": lambda: NoSync(Calls(), directories=True),
    "no fsync": lambda: NoSync(Calls(), directories=True, files=True),
}


# -- files: each kind of change that the door makes, in turn


def changes(place: str, calls: Callable[[], Calls], careless: bool) -> Iterator[int]:
    """Make one change after the other."""
    system = RealSystem(place, calls())
    number = 0
    while True:
        number += 1
        change(system, number)
        yield number


def change(system: RealSystem, number: int) -> None:
    """Make the change of this number."""
    kind = number % CHANGES
    if kind == 0:
        system.write("/state/file", RECORD % number * 50, 0o600)
    elif kind == 1:
        system.append("/state/log", RECORD % number)
    elif kind == 2:
        system.write(f"/new/{number}/deep/file", RECORD % number, 0o600)
    elif kind == 3:
        system.make_directory(f"/made/{number}", 0o711)
    elif kind == 4:
        system.write("/state/owned", RECORD % number, MODES[0])
        system.own("/state/owned", MODES[1], 0, 0)
    else:
        system.write("/state/victim", RECORD % number, 0o600)
        system.remove("/state/victim")


def changes_hold(place: str, reported: int) -> str:
    """Judge the files."""
    system = RealSystem(place)
    system.sweep(["/state", "/made", "/new"])
    last = {kind: max((n for n in range(1, reported + 1) if n % CHANGES == kind), default=0) for kind in range(CHANGES)}
    amiss = [
        "replaced" if not replaced(content(system, "/state/file"), last[0], reported) else "",
        "appended" if not appended(content(system, "/state/log") or b"", last[1], reported) else "",
        "created" if last[2] and content(system, f"/new/{last[2]}/deep/file") != RECORD % last[2] else "",
        "made" if last[3] and mode(system, f"/made/{last[3]}") != 0o711 else "",
        "owned" if last[4] and reported % CHANGES == 4 and mode(system, "/state/owned") != MODES[1] else "",
        "removed" if reported % CHANGES == 5 and mode(system, "/state/victim") else "",
        "left over" if any(name.startswith(".privet") for name in names(system, "/state")) else "",
    ]
    return ", ".join(word for word in amiss if word)


def replaced(found: bytes | None, last: int, reported: int) -> bool:
    """Say whether the replaced file is whole, and the one last reported or the one in progress."""
    wanted = [RECORD % last * 50] if last else [None]
    if (reported + 1) % CHANGES == 0:
        wanted.append(RECORD % (reported + 1) * 50)
    return found in wanted


def appended(found: bytes, last: int, reported: int) -> bool:
    """Say whether the log holds every reported line, and after them at most a part of the one in progress."""
    lines = b"".join(RECORD % n for n in range(1, last + 1) if n % CHANGES == 1)
    rest = found.removeprefix(lines)
    # An unwritten tail of a longer file is a part too, as zeros; whoever appends frames what it appends.
    more = RECORD % (reported + 1) if (reported + 1) % CHANGES == 1 else b""
    return found.startswith(lines) and len(rest) <= len(more) and more.startswith(rest.rstrip(b"\0"))


def content(system: RealSystem, path: str) -> bytes | None:
    """Return a file's bytes, None when there is none."""
    try:
        return system.read(path)
    except Missing:
        return None


def mode(system: RealSystem, path: str) -> int:
    """Return permission bits, 0 when there is nothing."""
    try:
        return system.stat(path).mode
    except Missing:
        return 0


def names(system: RealSystem, path: str) -> tuple[str, ...]:
    """Return what is in a directory, nothing when there is none."""
    try:
        return system.entries(path)
    except Missing:
        return ()


# -- the sealed store: a value and its journal entry in one transaction


def store_at(place: str) -> Store:
    """Open the store on the card."""
    return Store(place + "/state.db", DirectVault(Secret(bytes(32))), lambda: Clock(boot=1, uptime=1, wall=1))


def puts(place: str, calls: Callable[[], Calls], careless: bool) -> Iterator[int]:
    """Put one value with one entry after the other."""
    store = store_at(place)
    if careless:
        store._rows.execute("PRAGMA synchronous=NORMAL")
    number = 0
    while True:
        number += 1
        store.put({"number": number, "text": "x" * 400}, [("counted", {"number": number})])
        yield number


def puts_hold(place: str, reported: int) -> str:
    """Judge the store: whole, its chain sound, nothing reported is missing."""
    if not os.path.exists(place + "/state.db"):
        return "gone" if reported else ""
    store = store_at(place)
    number = store.get("number") or 0
    verdict = store.verify()
    store.close()
    if verdict.damage or verdict.count != number:
        return f"damaged: {verdict.damage or 'value and journal disagree'}"
    return "lost" if number < reported else ""


# -- the queue: batches of three records


def appends(place: str, calls: Callable[[], Calls], careless: bool) -> Iterator[int]:
    """Append one batch after the other."""
    queue = Queue(RealSystem(place, calls()), "/queue", 64 << 20, 4096)
    last = 0
    while True:
        queue.append([Row(boot=1, seq=last + n, body=b"%d" % (last + n) * 90) for n in (1, 2, 3)])
        last += 3
        yield last


def appends_hold(place: str, reported: int) -> str:
    """Judge the queue: every reported record, whole, in order."""
    queue = Queue(RealSystem(place), "/queue", 64 << 20, 4096)
    rows = queue.pending(limit=1 << 20)
    if [row.seq for row in rows] != list(range(1, len(rows) + 1)) or queue.lost:
        return "a hole"
    if any(row.body != b"%d" % row.seq * 90 for row in rows):
        return "torn"
    return "lost" if len(rows) < reported else ""


WORKLOADS = {
    "files": Workload(changes, changes_hold, 72),
    "store": Workload(puts, puts_hold, 50),
    "queue": Workload(appends, appends_hold, 60),
}


def judged(workload: Workload, place: str, reported: int) -> str:
    """Judge a card; that something of ours refuses to open is amiss too."""
    try:
        return workload.judge(place, reported)
    except PrivetError as error:
        return f"unreadable: {error}"
