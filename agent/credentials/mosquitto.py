"""Passwords of MQTT users that are known to the world, in the password files of a mosquitto broker.

An MQTT user is a machine that somebody set up, so one whose password is on no list is left alone, and one found gets a
new password for the owner to type where that machine is configured. A maker whose image brings users of its own says
`shipped = "all"`: then, until the device was provisioned once, every user is the image's. PARAMS are none; optional:
`shipped`, `factory` (more `user:password` pairs of this model), `configuration` (/etc/mosquitto/mosquitto.conf) and
`unit`.

A user has one line, so old and new cannot stand side by side: one durable write takes the place of the other. Then a
running broker reads its files again and is asked over loopback, by an MQTT CONNECT with the new password and with the
old one. Where only TLS or no listener is within reach, the lines are what is tried, by the broker's own arithmetic.
Users of the dynamic security plugin stand elsewhere and are not looked at.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, OTHER, Found, Memory
from agent.core.errors import Failed, Missing, PrivetError, Unreachable
from agent.core.secret import Secret
from agent.credentials import (
    BACK,
    SHIPPED,
    content,
    copies,
    digest,
    factory,
    listed,
    names,
    nudge,
    present,
    replaced,
    settle,
    takes_all,
    text,
    until,
)
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "mosquitto"
PARAMS: tuple[str, ...] = ()
SALT, ROUNDS = 12, 101  # as mosquitto_passwd makes them; what a new password is made of needs no slow hash
SLOWEST = 10_000_000  # rounds; a hash that claims more is damage
NEAR = ("0.0.0.0", "127.0.0.1", "::", "::1", "localhost")  # noqa: S104 — where others bound, not we
ENCRYPTED = ({"certfile", "keyfile"}, {"psk_hint"})  # one of the two, and the broker takes nothing in the clear
CONNACK, REFUSALS = 2, (4, 5)  # bad user name or password, not authorised

Users = dict[bytes, list[bytes]]


def matches(password: str, field: str) -> bool:
    """Say whether a password belongs to a field of a password file, by the broker's own arithmetic."""
    words = field.split("$")
    plain = password.encode("utf-8", "surrogateescape")
    try:
        if words[:2] == ["", "6"] and len(words) == 4:
            salt, stored = (base64.b64decode(word, validate=True) for word in words[2:])
            made = hashlib.sha512(plain + salt).digest()
        elif words[:2] == ["", "7"] and len(words) == 5 and 0 < int(words[2]) <= SLOWEST:
            salt, stored = (base64.b64decode(word, validate=True) for word in words[3:])
            made = hashlib.pbkdf2_hmac("sha512", plain, salt, int(words[2]))
        else:
            return False
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(made, stored)


def hashed(password: bytes, salt: bytes) -> bytes:
    """Make the field that mosquitto 2 reads: PBKDF2 of SHA-512."""
    made = base64.b64encode(hashlib.pbkdf2_hmac("sha512", password, salt, ROUNDS))
    return b"$7$%d$%s$%s" % (ROUNDS, base64.b64encode(salt), made)


def read_users(blob: bytes) -> Users:
    """Read a password file: the fields of each user, in the order of the file."""
    users: Users = {}
    for line in blob.split(b"\n"):
        name, colon, field = line.rstrip(b"\r").partition(b":")
        if colon and name and not name.startswith(b"#"):
            users.setdefault(name, []).append(field.strip())
    return users


def changed(blob: bytes, user: bytes, field: bytes) -> bytes:
    """Return a password file in which each line of a user has this field; every other byte stays."""
    lines = blob.split(b"\n")
    for place, line in enumerate(lines):
        name, colon, _ = line.partition(b":")
        if colon and name == user and not name.startswith(b"#"):
            lines[place] = user + b":" + field
    return b"\n".join(lines)


def read_lines(system: System, path: str, within: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Read a configuration into (key, value) pairs, with the files it includes; none when there is none."""
    found: list[tuple[str, str]] = []
    for line in content(system, path).decode("utf-8", "surrogateescape").splitlines():
        key, _, value = line.strip().partition(" ")
        value = value.strip()
        if key == "include_dir" and value not in within:
            for name in names(system, value):
                if name.endswith(".conf"):
                    found += read_lines(system, f"{value}/{name}", (*within, value))
        elif key and not key.startswith("#"):
            found.append((key, value))
    return found


def configured(system: System, params: "Params") -> list[tuple[str, str]]:
    """Return what the broker is configured with."""
    return read_lines(system, text(KIND, params, "configuration", "/etc/mosquitto/mosquitto.conf"))


def doors(lines: list[tuple[str, str]]) -> tuple[int, ...]:
    """Return the ports where the broker takes plain MQTT on the loopback."""
    listeners: list[list[tuple[str, str]]] = [[]]
    for key, value in lines:
        if key == "listener":
            listeners.append([])
        listeners[-1].append((key, value))
    ports = []
    for own in listeners:
        given = dict(own)
        words = (
            given.get("listener") or f"{given.get('port', '1883')} {given.get('bind_address', 'localhost')}"
        ).split()
        implied = "listener" not in given and "port" not in given and len(listeners) > 1
        near = len(words) < 2 or words[1] in NEAR
        plain = given.get("protocol", "mqtt") == "mqtt" and not any(keys <= given.keys() for keys in ENCRYPTED)
        if words and words[0].isdigit() and int(words[0]) and near and plain and not implied:
            ports.append(int(words[0]))
    return tuple(dict.fromkeys(ports))


def everybody(system: System, params: "Params") -> dict[str, tuple[str, bytes]]:
    """Return (file, user) of every user by label: the name, for files after the first with the file's path."""
    files = tuple(dict.fromkeys(value for key, value in configured(system, params) if key == "password_file"))
    found: dict[str, tuple[str, bytes]] = {}
    for path in files:
        for user in read_users(content(system, path)):
            name = user.decode("utf-8", "backslashreplace")
            found[name if path == files[0] else f"{name} in {path}"] = (path, user)
    return found


def fields(system: System, place: tuple[str, bytes]) -> list[bytes]:
    """Return the fields of a user, none when there is no such user."""
    return read_users(content(system, place[0])).get(place[1], [])


def mark(place: tuple[str, bytes], standing: list[bytes]) -> bytes:
    """Return a digest of what stands for a user."""
    return digest(place[1], *standing)


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the users with a factory password."""
    found, seen = [], listed(KIND, params)
    everything = memory.first and takes_all(KIND, params, "known")
    for label, place in sorted(everybody(system, params).items()):
        standing = fields(system, place)
        trace = mark(place, standing)
        ours = digest(trace, seen)
        if ours in memory.cleared:
            continue
        old, reason = None, ""
        for field in standing:
            if old is None:
                old, reason = factory(KIND, params, place[1].decode("utf-8", "surrogateescape"), str(field, "latin-1"),
                                      matches)  # fmt: skip
        if not reason and (everything or trace in memory.retired):
            reason = BACK if trace in memory.retired else SHIPPED
        if reason:
            found.append(Found(kind=KIND, label=label, reason=reason, owner=True, old=old, trace=trace))
        else:
            memory.cleared.add(ours)
    return tuple(found)


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say whose password stands for the user."""
    place = everybody(system, params).get(found.label)
    if place is None:
        return OTHER
    now = fields(system, place)
    if mark(place, now) == found.trace:
        return OLD
    return NEW if new is not None and all(matches(new.reveal().decode(), str(one, "latin-1")) for one in now) else OTHER


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Put the new password's hash in the place of the old one, in one durable write."""
    path, user = located(system, params, found)
    if new is None:
        raise Failed(f"there is no new password for the MQTT user {found.label}; start the device again")
    replaced(system, path, changed(content(system, path), user, hashed(new.reveal(), system.entropy(SALT))))


def located(system: System, params: "Params", found: Found) -> tuple[str, bytes]:
    """Return where a user that was found stands."""
    place = everybody(system, params).get(found.label)
    if place is None:
        raise Missing(f"the MQTT user {found.label} is gone; start the device again")
    return place


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Try both passwords by the broker's arithmetic, and where one runs by its own answer."""
    path, user = located(system, params, found)
    settle(system, path)
    now = [str(field, "latin-1") for field in fields(system, (path, user))]
    if new is None or not now or not all(matches(new.reveal().decode(), field) for field in now):
        raise Failed(f"the new password of the MQTT user {found.label} does not fit; start the device again")
    old = None if found.old is None else found.old.reveal()
    if old is not None and any(matches(old.decode("utf-8", "surrogateescape"), field) for field in now):
        raise Failed(f"the factory password of the MQTT user {found.label} still fits; start the device again")
    lines = configured(system, params)
    pidfile = dict(lines).get("pid_file", "/run/mosquitto/mosquitto.pid")
    nudge(system, text(KIND, params, "unit", "mosquitto"), pidfile)

    chance = system.entropy(16).hex().encode()
    asking = [port for port in doors(lines) if knock(system, port, user, chance) is False]  # others take anything

    def holds() -> bool:
        """Say whether every door that asks for passwords takes the new one and not the old one."""
        for port in asking:
            if knock(system, port, user, new.reveal()) is False:
                return False
            if old is not None and knock(system, port, user, old) is True:
                return False
        return True

    until(system, f"mosquitto does not go by the new password of {found.label}; see its journal", holds)


def knock(system: System, port: int, user: bytes, password: bytes) -> bool | None:
    """Say whether the broker lets a user in; None when nobody listens there or the answer is about something else."""
    try:
        code = system.talk(port, connect(user, password))
    except Unreachable:
        return None
    return True if code == 0 else False if code in REFUSALS else None


def connect(user: bytes, password: bytes) -> Generator[bytes, bytes, int | None]:
    """Speak MQTT 3.1.1: CONNECT with an empty client id and a clean session, hear CONNACK; return its code."""
    body = b"\0\4MQTT\4\xc2\0\x0a\0\0" + b"".join(len(part).to_bytes(2, "big") + part for part in (user, password))
    size, rest = b"", len(body)
    while rest or not size:
        size, rest = size + bytes((rest % 128 | (128 if rest > 127 else 0),)), rest // 128
    heard = yield b"\x10" + size + body
    while 0 < len(heard) < 4:
        more = yield b""
        heard = heard + more if more else b""
    if len(heard) < 4 or heard[0] >> 4 != CONNACK:
        return None
    return heard[3]


def clean(system: System, params: "Params", found: Found) -> None:
    """Take the old line out of every copy beside the password file: the user has there the line that he has now."""
    place = everybody(system, params).get(found.label)
    if place is None:
        return
    path, user = place
    now = fields(system, place)
    for copy in copies(system, path):
        try:
            blob = system.read(copy)
        except PrivetError:
            continue
        kept = read_users(blob).get(user, [])
        if kept and kept != now:
            replaced(system, copy, changed(blob, user, now[0]))
        elif user in blob and not kept:  # no password file that we can read: an editor's own form
            system.remove(copy)


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that what stands there now is no factory password, and that what stood there was one."""
    place = everybody(system, params).get(found.label)
    if place is not None and present(system, place[0]):
        memory.cleared.add(digest(mark(place, fields(system, place)), listed(KIND, params)))
    memory.retired.add(found.trace)
