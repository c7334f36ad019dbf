"""The changes a door can make, each with what was there before, so that faults can be tried at every call of each."""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress

from agent.core.errors import Missing
from agent.core.record import Record
from agent.system.door import System
from agent.system.durable import temporary
from agent.system.simulated import SimulatedSystem

HOME = "/srv/privet"
OLD, NEW = b"old content\n", b"new content, of another length\n"

Tree = tuple[tuple[str, str, int, int, bytes], ...]
"""(path, kind, permission bits, owner, content) of all that is there."""

Work = Callable[[System, int, int], None]
"""Something done through a door, as a user and group."""

Judge = Callable[[Tree, Tree, Tree], bool]
"""Says whether a tree is fine, given the old and the new one."""


def old_or_new(found: Tree, old: Tree, new: Tree) -> bool:
    """All or nothing."""
    return found in (old, new)


def old_and_a_part(found: Tree, old: Tree, new: Tree) -> bool:
    """What an append may leave: all of the old content and a beginning of the rest, rights no looser than the new."""
    before = {entry[0]: entry[4] for entry in old}
    return found == old or (
        [entry[:2] for entry in found] == [entry[:2] for entry in new]
        and all(
            entry[4].startswith(before.get(entry[0], b""))
            and after[4].startswith(entry[4])
            and not entry[2] & ~after[2]
            for entry, after in zip(found, new, strict=True)
        )
    )


def zeros_from_the_start(found: Tree, old: Tree, new: Tree) -> bool:
    """What a shred may leave: the file with its rights and length, zeros up to some place, the old rest; or none."""
    if found in (old, new):
        return True
    return [(*entry[:4], len(entry[4])) for entry in found] == [(*entry[:4], len(entry[4])) for entry in old] and all(
        before[4].endswith(entry[4].lstrip(b"\0")) for entry, before in zip(found, old, strict=True)
    )


def never_looser(found: Tree, old: Tree, new: Tree) -> bool:
    """What setting rights may leave: for each path bits that are the old or new ones, or within both."""
    if found in (old, new):
        return True
    before = {entry[0]: entry[2] for entry in old}
    after = {entry[0]: entry[2] for entry in new}
    return all(
        (entry[0] in after and entry[2] & ~(before.get(entry[0], after[entry[0]]) & after[entry[0]]) == 0)
        or entry[2] == before.get(entry[0])
        for entry in found
    )


def new_parents(found: Tree, old: Tree, new: Tree) -> bool:
    """What making parents may leave: some of the empty directories on the way, or all of the new."""
    return found == new or all(entry in old or (entry in new and entry[1] == "directory") for entry in found)


class Operation(Record):
    """One change: name, what was before, what is done, and what a fault may leave."""

    __slots__ = ("judge", "name", "prepare", "work")
    name: str
    prepare: Work
    work: Work
    judge: Judge


def nothing(system: System, uid: int, gid: int) -> None:
    """Leave the empty home."""


def a_file(system: System, uid: int, gid: int) -> None:
    """Have a file."""
    system.write(HOME + "/file", OLD, 0o666, uid, gid)


def shredded(system: System, path: str) -> None:
    """Shred a file; that it is gone already is fine here, so that it can be done again."""
    with suppress(Missing):
        system.shred(path)


def a_secret(system: System, uid: int, gid: int) -> None:
    """Have a file of some length."""
    system.write(HOME + "/file", OLD * 4, 0o644, uid, gid)


def operations() -> tuple[Operation, ...]:
    """List the changes."""
    file, deep, new = HOME + "/file", HOME + "/a/b/file", HOME + "/new"
    listed: tuple[tuple[str, Work, Judge, Work], ...] = (
        ("replace", a_file, old_or_new, lambda system, uid, gid: system.write(file, NEW, 0o600, uid, gid)),
        ("create", nothing, old_or_new, lambda system, uid, gid: system.write(file, NEW, 0o600, uid, gid)),
        (
            "create with parents",
            nothing,
            new_parents,
            lambda system, uid, gid: system.write(deep, NEW, 0o600, uid, gid),
        ),
        ("append", a_file, old_and_a_part, lambda system, uid, gid: system.append(file, NEW, 0o666, uid, gid)),
        ("append to none", nothing, old_and_a_part, lambda system, uid, gid: system.append(file, NEW, 0o600, uid, gid)),
        ("remove", a_file, old_or_new, lambda system, uid, gid: system.remove(file)),
        ("shred", a_secret, zeros_from_the_start, lambda system, uid, gid: shredded(system, file)),
        ("own", a_file, never_looser, lambda system, uid, gid: system.own(file, 0o640, uid, gid)),
        (
            "make a directory",
            nothing,
            never_looser,
            lambda system, uid, gid: system.make_directory(new, 0o711, uid, gid),
        ),
    )
    return tuple(Operation(name=name, prepare=prepare, work=work, judge=judge) for name, prepare, judge, work in listed)


def fork() -> int:
    """Fork; later Pythons warn when pytest's workers have threads, none of which our children use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_child(work: Callable[[], object]) -> int:
    """Do work in a forked process and return its exit code; 1 when it failed by itself."""
    child = fork()
    if not child:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def tree(system: System, path: str = HOME) -> Tree:
    """Look at all that is there; unfinished files of ours included."""
    try:
        found = system.stat(path)
    except Missing:
        return ()
    if found.kind != "directory":
        return ((path, found.kind, found.mode, found.uid, system.read(path)),)
    here = ((path, found.kind, found.mode, found.uid, b""),)
    return sum([tree(system, path + "/" + name) for name in system.entries(path)], here)


def unfinished(found: Tree) -> list[str]:
    """Return the unfinished files of ours."""
    return [entry[0] for entry in found if temporary(entry[0].rpartition("/")[2])]


def prepared(operation: Operation, openat2: bool = True) -> SimulatedSystem:
    """Return a simulated device on which all is as before, and on the disk."""

    def image(device: SimulatedSystem) -> None:
        device.hand.directory(HOME)
        operation.prepare(device, 0, 0)

    return SimulatedSystem(image=image, openat2=openat2, shipped=False)
