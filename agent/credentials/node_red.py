"""Passwords of Node-RED's editor and pages that are known to the world, in the settings.js of each user's home.

That file is a program, so it is never rewritten: a password stands in it as a bcrypt hash in quotes, and a new hash has
the same length and the same letters. Exactly those 60 characters are replaced, whatever they are part of; every other
byte stays. Comments are left out of the search (the file that ships shows an example in one). Passwords that the file
computes, and accounts of other services, are not found.

A private password is left alone, and one that is found gets a new one for the owner. PARAMS are none; optional:
`shipped` ("all": until the device was provisioned once, every one is the image's), `factory` (more `user:password`
pairs), `files` (more settings files), `port` (1880), `root` (its httpAdminRoot, /) and `unit` (nodered). Logins that
were open are forgotten with the old password. Node-RED reads its settings when it starts, so a running one is started
again by systemd; then it is asked for a token over loopback, with the old password and with the new one.
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from agent.core.credential import NEW, OLD, OTHER, Found, Memory
from agent.core.errors import BadInput, Failed, Missing, PrivetError, Unreachable
from agent.core.record import Record
from agent.core.secret import Secret
from agent.credentials import (
    BACK,
    SHIPPED,
    content,
    copies,
    digest,
    factory,
    homes,
    listed,
    names,
    nudge,
    number,
    replaced,
    settle,
    takes_all,
    text,
    until,
)
from agent.system import crypt
from agent.system.door import System
from agent.system.talk import post

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "node_red"
PARAMS: tuple[str, ...] = ()
OWN, SESSIONS = ".node-red/settings.js", ".sessions.json"
SCHEME, COST = "$2b$", 8  # as Node-RED's own hash-pw makes them; a profile may say another `cost`
EDITOR = "adminAuth"

# What may hide a quote or a slash of another: comments, strings, and what can only be a regular expression.
PIECE = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`"""
    r"""|(?<=[(,=:\[!&|?{};])\s*/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/""",
    re.DOTALL,
)
HASH = re.compile(r"""(?<=["'`])\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}(?=["'`])""")
NAME = re.compile(r"""\buser(?:name)?["']?\s*:\s*["']([^"'\\\n]{1,64})["']""")
SECTION = re.compile(r"\b(adminAuth|httpNodeAuth|httpStaticAuth)\b")


class Entry(Record):
    """One hash in a settings file: where it stands, whose it is, and which door it is for."""

    __slots__ = ("field", "path", "place", "section", "user")
    path: str
    place: int
    field: str
    user: str
    section: str

    def mark(self) -> bytes:
        """Return a digest of what stands."""
        return digest(self.path.encode("utf-8", "surrogateescape"), self.field.encode())


def bare(program: str) -> str:
    """Return a program with blanks in place of its comments, every other character where it was."""

    def blanked(piece: re.Match[str]) -> str:
        """Blank a comment."""
        return " " * len(piece[0]) if piece["comment"] else piece[0]

    return PIECE.sub(blanked, program)


def read_entries(path: str, program: str) -> list[Entry]:
    """Find the hashes outside comments: with the user's name inside the same braces, and the section before them."""
    found, plain = [], bare(program)
    for hashed in HASH.finditer(plain):
        start, end = plain.rfind("{", 0, hashed.start()) + 1, plain.find("}", hashed.end())
        name = NAME.search(plain, start, end if end >= 0 else len(plain))
        sections = SECTION.findall(plain, 0, hashed.start())
        section = sections[-1] if sections else ""
        found.append(
            Entry(path=path, place=hashed.start(), field=hashed[0], user=name[1] if name else "", section=section)
        )
    return found


def put(program: str, old: str, new: str) -> str:
    """Return a program in which a hash outside comments is another; nothing else moves, nor does the hash."""
    if len(new) != len(old) or HASH.findall(f'"{new}"') != [new]:
        raise Failed("libcrypt made no bcrypt hash of the usual form; update libcrypt1")
    for entry in read_entries("", program):
        if entry.field == old:
            program = program[: entry.place] + new + program[entry.place + len(new) :]
    return program


def read(system: System, path: str) -> str:
    """Return a settings file, none when it is not there."""
    directory, _, name = path.rpartition("/")
    found = content(system, path) if name in names(system, directory) else b""
    return found.decode("utf-8", "surrogateescape")


def entries(system: System, params: "Params") -> dict[str, Entry]:
    """Return every password by label: the user, the section unless it is the editor's, and the file."""
    more = params.get("files", ())
    if not isinstance(more, tuple | list) or not all(str(path).startswith("/") for path in more):
        raise BadInput("node_red: files is a list of absolute paths; correct the profile")
    found: dict[str, Entry] = {}
    for path in dict.fromkeys((*(str(path) for path in more), *(f"{home}/{OWN}" for home in homes(system)))):
        for one in read_entries(path, read(system, path)):
            label = (one.user or "-") + ("" if one.section in ("", EDITOR) else f" ({one.section})") + f" in {path}"
            while label in found:
                label += " again"
            found[label] = one
    return found


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the passwords that are the factory's; bcrypt takes its time, so at low priority."""
    seen = listed(KIND, params)
    everything = memory.first and takes_all(KIND, params, "known")
    todo = {
        label: one
        for label, one in sorted(entries(system, params).items())
        if digest(one.mark(), seen) not in memory.cleared
    }
    found: list[Found] = []

    def search() -> None:
        """Look at those that were not looked at before."""
        for label, one in todo.items():
            old, reason = factory(KIND, params, one.user, one.field, crypt.matches)
            if not reason and (everything or one.mark() in memory.retired):
                reason = BACK if one.mark() in memory.retired else SHIPPED
            if reason:
                found.append(Found(kind=KIND, label=label, reason=reason, owner=True, old=old, trace=one.mark()))
            else:
                memory.cleared.add(digest(one.mark(), seen))

    if todo:
        crypt.patiently(search)
    return tuple(found)


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say whose password stands."""
    one = entries(system, params).get(found.label)
    if one is None:
        return OTHER
    if one.mark() == found.trace:
        return OLD
    return NEW if new is not None and crypt.matches(new.reveal().decode(), one.field) else OTHER


def located(system: System, params: "Params", found: Found) -> Entry:
    """Return where a password that was found stands."""
    one = entries(system, params).get(found.label)
    if one is None:
        raise Missing(f"the Node-RED password of {found.label} is gone; start the device again")
    return one


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Forget open logins, then put the new hash exactly where the old one is, in one durable write."""
    one = located(system, params, found)
    if new is None:
        raise Failed(f"there is no new password for {found.label}; start the device again")
    cost = params.get("cost", COST)
    if type(cost) is not int or not 4 <= cost <= 15:
        raise BadInput("node_red: cost is a number from 4 to 15; correct the profile")
    made = crypt.hashed(new.reveal().decode(), crypt.salt(SCHEME, system.entropy(16), cost))
    system.remove(f"{one.path.rpartition('/')[0]}/{SESSIONS}")
    replaced(system, one.path, put(read(system, one.path), one.field, made).encode("utf-8", "surrogateescape"))


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Try both passwords on the hash that stands, and where Node-RED runs at its editor's door."""
    one = located(system, params, found)
    settle(system, one.path)
    if new is None or not crypt.matches(new.reveal().decode(), one.field):
        raise Failed(f"the new password of {found.label} does not fit; start the device again")
    old = None if found.old is None else found.old.reveal().decode("utf-8", "surrogateescape")
    if old is not None and crypt.matches(old, one.field):
        raise Failed(f"the factory password of {found.label} still fits; start the device again")
    if one.section != EDITOR or not one.user:
        return
    word = new.reveal().decode()

    def holds() -> bool:
        """Say whether it goes by the new password. The old one first: six refusals in a row shut its door to all."""
        if old is not None and knock(system, params, one.user, old) is True:
            return False
        return knock(system, params, one.user, word) is not False

    if not holds():
        nudge(system, text(KIND, params, "unit", "nodered"), "/run/nodered.pid")
        until(system, f"Node-RED does not go by the new password of {found.label}; start it again", holds)


def knock(system: System, params: "Params", user: str, password: str) -> bool | None:
    """Ask for a token; None when Node-RED does not run, or asks nobody for a password."""
    words = {
        "client_id": "node-red-admin",
        "grant_type": "password",
        "scope": "",
        "username": user,
        "password": password,
    }
    path = text(KIND, params, "root", "/").rstrip("/") + "/auth/token"
    try:
        status = system.talk(
            number(KIND, params, "port", 1880),
            post(path, "application/x-www-form-urlencoded", urlencode(words).encode("utf-8", "surrogateescape")),
        )
    except Unreachable:
        return None
    return {200: True, 400: False, 401: False, 403: False, 500: False}.get(status or 0)  # 500: too many refusals


def clean(system: System, params: "Params", found: Found) -> None:
    """Put the new hash in place of the old one in every copy beside the file too."""
    one = entries(system, params).get(found.label)
    for copy in () if one is None else copies(system, one.path):
        try:
            program = system.read(copy).decode("utf-8", "surrogateescape")
        except PrivetError:
            continue
        made = program
        for held in set(HASH.findall(program)):
            if one is not None and held != one.field and digest(one.path.encode(), held.encode()) == found.trace:
                made = made.replace(held, one.field)
        if made != program:
            replaced(system, copy, made.encode("utf-8", "surrogateescape"))


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that what stands there now is no factory password, and that what stood there was one."""
    one = entries(system, params).get(found.label)
    if one is not None:
        memory.cleared.add(digest(one.mark(), listed(KIND, params)))
    memory.retired.add(found.trace)
