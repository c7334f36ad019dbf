"""Kinds of factory credentials, one file each: how to find one, replace it, and prove that the old one is dead.

Here stands what the kinds share; a kind asks this package, never another kind.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.core.credential import candidates, read_pairs, recognise
from agent.core.errors import BadInput, Failed, Missing, PrivetError, Unreachable
from agent.core.secret import Secret
from agent.system.door import System
from agent.system.factory import shipped as shipped

if TYPE_CHECKING:
    from agent.core.record import Params

PATIENCE = 50  # looks at a daemon that takes up a new file, a tenth of a second apart

KNOWN = "its password is on the list of known factory passwords"
BLANK = "it has no password"
SHIPPED = "it came with the image"
BACK = "the factory's secret is back"

# What editors, packages and password tools leave beside a file: its name with something before or after it.
ENDS = ("~", "-", ".bak", ".backup", ".new", ".old", ".orig", ".save", ".swp", ".tmp")
PACKAGED = (".dpkg-", ".ucf-")


def known(kind: str, params: "Params") -> tuple[tuple[str, str], ...]:
    """Return the pairs to try: those of this model (`factory`) first, then the shipped ones."""
    more = params.get("factory", ())
    if not isinstance(more, tuple | list):
        raise BadInput(f"{kind}: factory is a list of user:password texts; correct the profile")
    return (*read_pairs("\n".join(str(pair) for pair in more)), *shipped())


def text(kind: str, params: "Params", name: str, default: str) -> str:
    """Return an optional text of the profile."""
    value = params.get(name, default)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{kind}: {name} is a text; correct the profile")
    return value


def number(kind: str, params: "Params", name: str, default: int) -> int:
    """Return an optional port number of the profile."""
    value = params.get(name, default)
    if type(value) is not int or not 0 < value < 65536:
        raise BadInput(f"{kind}: {name} is a port number; correct the profile")
    return value


def takes_all(kind: str, params: "Params", default: str) -> bool:
    """Say whether, until the device was provisioned once, a secret that is on no list is the image's too."""
    value = params.get("shipped", default)
    if value not in ("all", "known"):
        raise BadInput(f'{kind}: shipped is "all" or "known"; correct the profile')
    return value == "all"


def digest(*parts: bytes) -> bytes:
    """Return a digest of what stands somewhere."""
    return hashlib.sha256(b"".join(b"%d:" % len(part) + part for part in parts)).digest()[:16]


def listed(kind: str, params: "Params") -> bytes:
    """Return a digest of the list of known passwords: what a shorter list cleared, a longer one looks at again."""
    return digest(repr(known(kind, params)).encode("utf-8", "surrogateescape"))


def factory(
    kind: str, params: "Params", user: str, hashed: str, check: Callable[[str, str], bool]
) -> tuple[Secret | None, str]:
    """Return the known factory password of a user and why it must go, or (None, "")."""
    old = recognise(hashed, candidates(user, known(kind, params)), check)
    if old is None:
        return None, ""
    return old, KNOWN if old.reveal() else BLANK


def present(system: System, path: str) -> bool:
    """Say whether a path is there."""
    try:
        system.stat(path)
    except PrivetError:
        return False
    return True


def names(system: System, directory: str) -> tuple[str, ...]:
    """Return the names in a directory, none when it is not there."""
    try:
        return system.entries(directory)
    except PrivetError:
        return ()


def content(system: System, path: str) -> bytes:
    """Return a file's bytes, none when it is not there."""
    try:
        return system.read(path)
    except Missing:
        return b""


def homes(system: System) -> tuple[str, ...]:
    """Return the home directories of all accounts."""
    rows = [line.split(":") for line in content(system, "/etc/passwd").decode("utf-8", "surrogateescape").split("\n")]
    found = dict.fromkeys(row[5].rstrip("/") for row in rows if len(row) > 6 and row[5].startswith("/"))
    return tuple(home for home in found if home)


def copies(system: System, path: str) -> tuple[str, ...]:
    """Return the paths of the copies that editors, packages and tools leave beside a file."""
    directory, _, name = path.rpartition("/")
    hidden = (f".{name}", f"#{name}", f".#{name}")
    return tuple(
        f"{directory}/{one}"
        for one in names(system, directory)
        if one != name
        and (
            (one.startswith(name) and (one[len(name) :] in ENDS or one[len(name) :].startswith(PACKAGED)))
            or (one.startswith(hidden) and one.endswith((".swp", ".swo", "#", name)))
        )
    )


def settle(system: System, path: str) -> None:
    """Make durable what stands at a path: whoever put it there may have died before it was, and left half of it."""
    directory = path.rpartition("/")[0]
    system.sweep([directory])
    with suppress(Missing):
        system.sync(path)
    system.sync(directory)


def replaced(system: System, path: str, made: bytes) -> None:
    """Put new content into a file, which keeps its rights and its owner."""
    stat = system.stat(path)
    system.write(path, made, stat.mode, stat.uid, stat.gid)


def nudge(system: System, unit: str, pidfile: str) -> None:
    """Let a daemon read its files again, where one runs; whether it did, the proof will see."""
    with suppress(Unreachable):
        system.reload(unit, pidfile)


def until(system: System, sentence: str, tried: Callable[[], bool]) -> None:
    """Try until it holds; Failed with this sentence when it never does."""
    for _ in range(PATIENCE):
        if tried():
            return
        system.run(("sleep", "0.1"))
    raise Failed(sentence)
