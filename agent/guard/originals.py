"""What the guard finds before it first changes something, kept so that `privet restore` can put it back.

One small file for each thing in /var/lib/privet/originals (root alone), durable before the change itself: so whatever
was changed has its original, whenever power goes. The first state found counts; later ones are ours, or come from
somebody else, who is told apart by the fingerprints of what we wrote. Passwords and keys are never among them.
"""

import hashlib
from contextlib import suppress
from typing import Any

from agent.core import cbor, original
from agent.core.errors import BadInput, Missing, PrivetError, Unreadable
from agent.core.original import (
    ABSENT,
    DAEMON,
    FILE,
    KERNEL,
    LINK,
    LISTED,
    OTHER,
    PLACE,
    RIGHTS,
    UNIT,
    State,
    Thing,
    state,
    thing,
    things,
)
from agent.core.plan import Append, Overwrite, Own, Write
from agent.core.record import Record, replace
from agent.system.door import System
from agent.system.parts import Step

FOLDER = "/var/lib/privet/originals"
OURS = "privet"  # stands in the path of every file that is ours from its beginning
KEPT = 1 << 20  # bytes of a file that are kept
PROC = "/proc/sys/"


class Kept(Record):
    """One record: the thing, how it was before us, and the fingerprints of what we made of it."""

    __slots__ = ("before", "ours", "thing")
    thing: Thing
    before: State
    ours: tuple[bytes, ...]


def record(system: System, steps: tuple[Step, ...]) -> None:
    """Keep the original of everything that these steps are about to change for the first time; durable on return."""
    for one in things(steps):
        for found in spread(system, one):
            keep(system, found, marks(found, steps))


def keep(system: System, found: Thing, made: tuple[bytes, ...]) -> None:
    """Keep one original, or add what we are about to make to the record that is there."""
    known = load(system, path_of(found))
    before = known.before if known else first(system, found)
    ours = known.ours if known else ()
    for mark in made:
        ours = original.remembered(ours, mark)
    if before is None or (known and ours == known.ours):
        return
    put_down(system, Kept(thing=found, before=before, ours=ours))


def put_down(system: System, kept: Kept) -> None:
    """Write a record, durable on return."""
    system.make_directory(FOLDER, 0o700)
    row = [list(part) for part in (values(kept.thing), values(kept.before), kept.ours)]
    system.write(path_of(kept.thing), cbor.encode(row), 0o600)


def values(bundle: Record) -> tuple[Any, ...]:
    """Return the fields of a record in their declared order."""
    names: tuple[str, ...] = type(bundle).__slots__
    return tuple(getattr(bundle, name) for name in names)


def first(system: System, found: Thing) -> State | None:
    """Return how a thing is before us; None when there is nothing to put back.

    A file of ours that is already there comes from a version of Privet that kept no originals: before it was none.
    """
    if found.kind == FILE and OURS in found.name:
        return state(ABSENT)
    now = look(system, found)
    other = {FILE: RIGHTS, RIGHTS: FILE}.get(found.kind)
    earlier = load(system, path_of(thing(other, found.name))) if other else None
    if earlier is None or now is None:
        return now
    if found.kind == RIGHTS:  # the record of the file has its rights
        return None
    before = earlier.before
    return replace(now, mode=before.mode, uid=before.uid, gid=before.gid) if now.form == FILE else now


def look(system: System, found: Thing) -> State | None:
    """Return how a thing is now; None when it cannot be told (a kernel value that is gone, no systemd)."""
    if found.kind in (FILE, PLACE):
        return file_state(system, found.name)
    if found.kind == DAEMON:
        return state(DAEMON)
    with suppress(Missing):
        if found.kind == RIGHTS:
            stat = system.stat(found.name)
            return state(RIGHTS, mode=stat.mode, uid=stat.uid, gid=stat.gid)
        if found.kind == KERNEL:
            return state(KERNEL, system.read(PROC + found.name))
        if found.kind == UNIT:
            return unit_state(system, found.name)
        if found.kind == LISTED:
            return list_state(system, found.name)
    return None


def file_state(system: System, path: str) -> State:
    """Look at a file: its rights and all of its content; a link is known by its target."""
    try:
        stat = system.stat(path)
    except Missing:
        return state(ABSENT)
    if stat.kind == "link":
        return state(LINK, system.target(path).encode("utf-8", "surrogateescape"))
    if stat.kind != FILE:
        return state(OTHER)
    return state(FILE, system.read(path, KEPT), stat.mode, stat.uid, stat.gid)


def unit_state(system: System, unit: str) -> State | None:
    """Ask systemd whether a unit is active; None without systemd, or for a unit that does not exist."""
    system.stat("/run/systemd/system")
    shown = system.run(("systemctl", "show", "--property=LoadState,ActiveState", "--", unit))
    rows = dict(line.split("=", 1) for line in shown.out.decode("utf-8", "replace").splitlines() if "=" in line)
    if shown.code != 0 or rows.get("LoadState") == "not-found":
        return None
    return state("active" if rows.get("ActiveState") in ("active", "activating", "reloading") else "inactive")


def list_state(system: System, path: str) -> State | None:
    """Return the access lists of a file as the kernel keeps them; one that cannot be read would be lost."""
    return state(LISTED, cbor.encode(list(system.access_lists(path))))


def spread(system: System, one: Thing) -> list[Thing]:
    """Return one thing for each interface that a kernel key with a * stands for."""
    head, star, tail = one.name.partition("/*/")
    if one.kind != KERNEL or not star:
        return [one]
    try:
        names = system.entries(PROC + head)
    except Missing:
        return []
    return [thing(KERNEL, f"{head}/{name}/{tail}") for name in names]


def marks(found: Thing, steps: tuple[Step, ...]) -> tuple[bytes, ...]:
    """Return the fingerprints of what these steps make of a file or of its rights."""
    made = []
    for step in steps:
        if found.kind == FILE and isinstance(step, Write) and step.path == found.name:
            made.append(fingerprint(state(FILE, step.content)))
        if found.kind == PLACE and isinstance(step, Overwrite | Append) and step.path == found.name:
            added = step.before if isinstance(step, Append) else b""
            made.append(fingerprint(state(FILE, added + step.content)))
        if found.kind == RIGHTS and isinstance(step, Own) and step.path == found.name:
            made.append(fingerprint(state(RIGHTS, mode=step.mode, uid=step.uid, gid=step.gid)))
    return tuple(made)


def fingerprint(found: State) -> bytes:
    """Return a short digest of a state: of a file's content, of rights where there is no content."""
    rights = b"%d:%d:%d" % (found.mode, found.uid, found.gid)
    return hashlib.sha256(found.content if found.form in (FILE, LINK) else rights).digest()[:16]


def path_of(found: Thing) -> str:
    """Return where the record of a thing is."""
    return f"{FOLDER}/{hashlib.sha256(f'{found.kind} {found.name}'.encode()).hexdigest()[:32]}.cbor"


def load(system: System, path: str) -> Kept | None:
    """Read a record; None when there is none."""
    try:
        raw = system.read(path, KEPT + 65536)
    except Missing:
        return None
    try:
        one, before, ours = cbor.decode(raw, KEPT + 65536)
        return Kept(
            thing=Thing(**dict(zip(Thing.__slots__, one, strict=True))),
            before=State(**dict(zip(State.__slots__, before, strict=True))),
            ours=tuple(ours),
        )
    except (ValueError, TypeError, BadInput) as error:
        raise Unreadable(f"{path} is damaged; keep a copy, then remove it: its thing cannot be put back") from error


def all_kept(system: System) -> tuple[tuple[Kept, ...], tuple[str, ...]]:
    """Return every record, ordered by what it is about, and a sentence for each that cannot be read."""
    try:
        names = system.entries(FOLDER)
    except Missing:
        return (), ()
    found, lost = [], []
    for name in names:
        try:
            one = load(system, f"{FOLDER}/{name}") if name.endswith(".cbor") else None
        except PrivetError as error:
            lost.append(str(error))
            continue
        if one is not None:
            found.append(one)
    return tuple(sorted(found, key=lambda kept: (kept.thing.kind, kept.thing.name))), tuple(lost)
