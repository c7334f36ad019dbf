"""Passphrases of Wi-Fi networks that this device offers, in files of hostapd and of NetworkManager.

Everything flashed from one image offers the same passphrase to everybody within reach, and it cannot be told from a
private one. So, as with host keys, until the device was provisioned once every access point's passphrase is taken for
the image's, unless the profile says `shipped = "known"` (for a device that its owner has set up already); afterwards
one on the list of known ones, or one that was retired and is back. Networks that the device joins are never touched.
PARAMS are none; optional: `shipped`, `factory` (more `network:passphrase` pairs), `unit` and `pidfile` of hostapd.

One network has one passphrase, so old and new cannot stand side by side: one durable write takes the place of the
other, and the file becomes readable to root alone. What stands is compared as the key that both programs derive (PBKDF2
of passphrase and network name). A running NetworkManager is asked which passphrase it goes by; a running hostapd is
told to read its file again, but no program here can join the network to try it.

Networks without a passphrase are for a setting, not for this kind; so are WEP and RADIUS. A `wpa_psk_file` was made for
single stations and is left alone.
"""

import hashlib
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, OTHER, Found, Memory
from agent.core.errors import Failed, Missing, PrivetError, Unreachable
from agent.core.record import Record
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
    settle,
    takes_all,
    text,
    until,
)
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "access_point"
PARAMS: tuple[str, ...] = ()
HOSTAPD, DEFAULTS = "/etc/hostapd", "/etc/default/hostapd"
CONNECTIONS = ("/etc/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections")
PASSPHRASES = ("wpa_passphrase", "wpa_psk", "sae_password")  # of hostapd; one line each, several of the last
WIFI, SECURITY = ("wifi", "802-11-wireless"), ("wifi-security", "802-11-wireless-security")
ESCAPES = (("\\s", " "), ("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r"), ("\\\\", "\\"))
ROUNDS, KEY = 4096, 64  # of IEEE 802.11; hexadecimal digits of the key itself
REASON = "its passphrase is on the list of known factory passphrases"


class Network(Record):
    """One network that is offered: its file, the place in it, its name, the secrets that open it."""

    __slots__ = ("managed", "name", "path", "place", "secrets")
    path: str
    place: int
    name: bytes
    secrets: tuple[str, ...]
    managed: bool  # by NetworkManager

    def label(self) -> str:
        """Return what the owner knows it by."""
        shown = "".join(c if c.isprintable() else "?" for c in self.name.decode("utf-8", "replace"))
        return f"{shown} in {self.path}" + (f" ({self.place})" if self.place else "")

    def mark(self) -> bytes:
        """Return a digest of what stands."""
        return digest(*(secret.encode("utf-8", "surrogateescape") for secret in self.secrets))

    def takes(self, passphrase: str) -> bool:
        """Say whether a passphrase opens it."""
        return any(same(passphrase, secret, self.name) for secret in self.secrets)


def key(secret: str, name: bytes) -> bytes:
    """Return the key that hostapd, NetworkManager and every station derive from a passphrase and a network's name."""
    if len(secret) == KEY and all(c in "0123456789abcdefABCDEF" for c in secret):
        return bytes.fromhex(secret)
    return hashlib.pbkdf2_hmac("sha1", secret.encode("utf-8", "surrogateescape"), name, ROUNDS, KEY // 2)


def same(passphrase: str, secret: str, name: bytes) -> bool:
    """Say whether a passphrase is a secret, which may be a key."""
    if len(secret) != KEY:
        return hmac.compare_digest(*(word.encode("utf-8", "surrogateescape") for word in (passphrase, secret)))
    return hmac.compare_digest(key(passphrase, name), key(secret, name))


def pairs(blob: bytes) -> list[tuple[str, str]]:
    """Split a file into (key, value) of each line, ("", "") for what is none."""
    lines = blob.decode("utf-8", "surrogateescape").split("\n")
    return [("", "") if line.startswith(("#", ";")) or "=" not in line else line.partition("=")[::2] for line in lines]


def read_hostapd(blob: bytes) -> list[tuple[bytes, tuple[str, ...]]]:
    """Read name and secrets of each network of a hostapd file: it begins with one, and each `bss` begins another."""
    found: list[tuple[bytes, list[str]]] = [(b"", [])]
    for word, value in pairs(blob):
        if word == "bss":
            found.append((b"", []))
        elif word in ("ssid", "ssid2"):
            plain = value[1:-1] if word == "ssid2" and value[:1] == '"' else value
            found[-1] = (plain.encode("utf-8", "surrogateescape"), found[-1][1])
        elif word in PASSPHRASES and value:
            found[-1][1].append(value.partition("|")[0] if word == "sae_password" else value)
    return [(name, tuple(secrets)) for name, secrets in found]


def put_hostapd(blob: bytes, place: int, new: str) -> bytes:
    """Return a hostapd file in which one network has one passphrase; every other line stays."""
    made: list[str] = []
    here, done = 0, set()
    for line, (word, value) in zip(blob.decode("utf-8", "surrogateescape").split("\n"), pairs(blob), strict=True):
        here += word == "bss"
        if here != place or word not in PASSPHRASES or not value:
            made.append(line)
            continue
        given = word if word == "sae_password" else "wpa_passphrase"
        if (here, given) not in done:
            done.add((here, given))
            made.append(f"{given}={new}")
    return "\n".join(made).encode("utf-8", "surrogateescape")


def groups(blob: bytes) -> list[tuple[str, str, str]]:
    """Split a key file into (group, key, value) of each line; empty ones for what is no key."""
    group, found = "", []
    for line in blob.decode("utf-8", "surrogateescape").split("\n"):
        header = line.lstrip().startswith("[")
        group = line.strip().strip("[]") if header else group
        word, _, value = ("", "", "") if header else line.partition("=")
        found.append((group, word.strip(), value.strip()))
    return found


def read_connection(blob: bytes) -> tuple[tuple[str, str], bytes, tuple[str, ...]]:
    """Read identity, name and secrets of a connection file; without a secret when it is no access point of ours."""
    held: dict[tuple[str, str], str] = {}
    for group, word, value in groups(blob):
        held[("wifi" if group in WIFI else "security" if group in SECURITY else group, word)] = value
    name = held.get(("wifi", "ssid"), "")
    digits = [part for part in name.split(";") if part]
    if name.endswith(";") and all(part.isdigit() and int(part) < 256 for part in digits):
        shown = bytes(int(part) for part in digits)
    else:
        shown = unescaped(name).encode("utf-8", "surrogateescape")
    psk = unescaped(held.get(("security", "psk"), ""))
    offered = held.get(("wifi", "mode")) == "ap" and psk != ""
    uuid = held.get(("connection", "uuid"), "")
    return ("uuid", uuid) if uuid else ("id", held.get(("connection", "id"), "")), shown, (psk,) if offered else ()


def unescaped(value: str) -> str:
    """Return a value of a key file without its escapes."""
    made, rest = "", value
    while rest:
        pair = next((pair for pair in ESCAPES if rest.startswith(pair[0])), (rest[0], rest[0]))
        made, rest = made + pair[1], rest[len(pair[0]) :]
    return made


def put_connection(blob: bytes, new: str) -> bytes:
    """Return a connection file with another passphrase; every other line stays."""
    lines = blob.decode("utf-8", "surrogateescape").split("\n")
    for place, (group, word, _) in enumerate(groups(blob)):
        if group in SECURITY and word == "psk":
            lines[place] = f"psk={new}"
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def networks(system: System) -> dict[str, Network]:
    """Return every network that this device offers, by label."""
    found = []
    paths = [f"{HOSTAPD}/{name}" for name in names(system, HOSTAPD) if name.endswith(".conf")]
    with suppress(PrivetError):
        paths += [value.strip("\" '") for word, value in pairs(content(system, DEFAULTS)) if word == "DAEMON_CONF"]
    for path in dict.fromkeys(path for path in paths if path.startswith("/")):
        for place, (name, secrets) in enumerate(read_hostapd(content(system, path))):
            found.append(Network(path=path, place=place, name=name, secrets=secrets, managed=False))
    for folder in CONNECTIONS:
        for file in names(system, folder):
            if not (file.startswith((".", "#")) or file.endswith("~") or ".dpkg-" in file):  # it leaves those out too
                _, name, secrets = read_connection(content(system, f"{folder}/{file}"))
                found.append(Network(path=f"{folder}/{file}", place=0, name=name, secrets=secrets, managed=True))
    return {one.label(): one for one in found if one.secrets}


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the networks with a factory passphrase."""
    found, seen = [], listed(KIND, params)
    everything = memory.first and takes_all(KIND, params, "all")
    for label, one in sorted(networks(system).items()):
        ours = digest(one.mark(), one.name, seen)
        if ours in memory.cleared:
            continue
        user = one.name.decode("utf-8", "surrogateescape")
        old, reason = factory(KIND, params, user, "", lambda word, _, one=one: one.takes(word))  # type: ignore[misc]
        if reason:
            reason = REASON
        elif everything or one.mark() in memory.retired:
            reason = BACK if one.mark() in memory.retired else SHIPPED
            old = Secret(one.secrets[0].encode("utf-8", "surrogateescape"))
        if reason:
            found.append(Found(kind=KIND, label=label, reason=reason, owner=True, old=old, trace=one.mark()))
        else:
            memory.cleared.add(ours)
    return tuple(found)


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say which passphrase stands."""
    one = networks(system).get(found.label)
    if one is None:
        return OTHER
    if one.mark() == found.trace:
        return OLD
    return NEW if new is not None and all(same(new.reveal().decode(), s, one.name) for s in one.secrets) else OTHER


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Put the new passphrase into the file, in one durable write, for root's eyes alone."""
    one = networks(system).get(found.label)
    if one is None:
        raise Missing(f"the access point {found.label} is gone; start the device again")
    if new is None:
        raise Failed(f"there is no new passphrase for {found.label}; start the device again")
    old, word = content(system, one.path), new.reveal().decode()
    system.write(one.path, put_connection(old, word) if one.managed else put_hostapd(old, one.place, word), 0o600)


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Compare the keys that both passphrases make with those that stand; then let the running program take it up."""
    one = networks(system).get(found.label)
    if one is None:
        raise Missing(f"the access point {found.label} is gone; start the device again")
    settle(system, one.path)
    word = "" if new is None else new.reveal().decode()
    if not all(same(word, secret, one.name) for secret in one.secrets):
        raise Failed(f"the new passphrase of {found.label} does not open it; start the device again")
    if found.old is not None and one.takes(found.old.reveal().decode("utf-8", "surrogateescape")):
        raise Failed(f"the factory passphrase of {found.label} still opens it; start the device again")
    if one.managed:
        identity = read_connection(content(system, one.path))[0]
        sentence = f"NetworkManager does not go by the new passphrase of {found.label}; see its journal"
        until(system, sentence, lambda: taken_up(system, one.path, identity, word))
    else:
        nudge(system, text(KIND, params, "unit", "hostapd"), text(KIND, params, "pidfile", "/run/hostapd.pid"))


def taken_up(system: System, path: str, identity: tuple[str, str], word: str) -> bool:
    """Let a running NetworkManager read the file, offer the network anew, and say which passphrase it goes by."""

    def asked(*words: str) -> str | None:
        """Ask it; None when it does not run or does not know the connection."""
        try:
            outcome = system.run(("nmcli", "--terse", *words), seconds=60)
        except Unreachable:
            return None
        return outcome.out.decode("utf-8", "replace") if outcome.code == 0 else None

    if asked("connection", "load", path) is None:
        return True  # it does not run
    told = asked("--show-secrets", "--get-values", "802-11-wireless-security.psk", "connection", "show", *identity)
    if told is None or told.strip() != word:
        return False
    field = "UUID" if identity[0] == "uuid" else "NAME"
    if identity[1] in (asked("--fields", field, "connection", "show", "--active") or "").split("\n"):
        asked("connection", "up", *identity)
    return True


def clean(system: System, params: "Params", found: Found) -> None:
    """Remove the copies beside the file that hold the old passphrase."""
    one = networks(system).get(found.label)
    old = None if found.old is None else found.old.reveal()
    derived = (
        b"" if one is None or old is None else key(old.decode("utf-8", "surrogateescape"), one.name).hex().encode()
    )
    for copy in () if one is None else copies(system, one.path):
        with suppress(PrivetError):
            blob = system.read(copy)
            if old is None or old in blob or derived in blob.lower():
                system.remove(copy)


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that what stands there now is no factory passphrase, and that what stood there was one."""
    one = networks(system).get(found.label)
    if one is not None:
        memory.cleared.add(digest(one.mark(), one.name, listed(KIND, params)))
    memory.retired.add(found.trace)
