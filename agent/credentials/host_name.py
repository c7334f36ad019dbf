"""A host name that is the image's, or that tells strangers what the device is: it is said to every network it joins.

Replaced are names that images come with, and names that hold the serial number, a network card's address or the model,
by a neutral one (`device-` and six letters). A name that the owner chose stays. PARAMS are none. Optional: `factory`,
more names of this model (a `*` at the end stands for anything), and `prefix` ("device").

It holds at once, for every program that asks from now on; first boot comes before DHCP, mDNS and the like, which
therefore say the new one. Where the system does not let us set it live, it holds from the next start on.
"""

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.core.credential import LETTERS, NEW, OLD, OTHER, Found, Memory
from agent.core.errors import BadInput, Failed, Missing, PrivetError, Unreadable
from agent.core.secret import Secret
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "host_name"
PARAMS: tuple[str, ...] = ()
NAME, HOSTS, LIVE = "/etc/hostname", "/etc/hosts", "/proc/sys/kernel/hostname"
OWN = "127.0.1.1"
SHIPPED = (
    "raspberrypi*", "raspberry*", "raspbian", "raspberry-pi*", "rpi*", "debian", "localhost*", "linux", "unknown",
    "factory", "default", "device", "raspios", "ubuntu", "armbian", "dietpi", "volumio", "osmc", "libreelec",
    "recalbox", "retropie", "octopi", "hassio", "homeassistant", "pi-star", "moode", "kali", "beaglebone",
    "bananapi*", "orangepi*", "rock*", "odroid*", "nanopi*", "openwrt", "buildroot", "alarm",
)  # fmt: skip
LETTERS_WANTED = 6
LEAST = 6  # hex digits of a serial number or an address that are taken for one
MODEL_WORDS = ("model", "rev", "plus", "compute", "module", "board", "with", "for", "the")

IMAGE = "it is the name that images come with"
SERIAL = "it holds the device's serial number"
ADDRESS = "it holds the address of a network card"
MODEL = "it tells what device this is"
BACK = "the factory's name is back"


def text(system: System, path: str) -> str:
    """Return a file as text, "" when it is missing."""
    try:
        return system.read(path, 1 << 16).decode("utf-8", "replace")
    except PrivetError:
        return ""


def current(system: System) -> str:
    """Return the name the device has: the first line of its file that is no comment."""
    lines = [line.strip() for line in text(system, NAME).splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "")


def digest(name: str) -> bytes:
    """Return a digest of a name."""
    return hashlib.sha256(b"host name\0" + name.lower().encode("utf-8", "replace")).digest()[:16]


def factory(params: "Params") -> tuple[str, ...]:
    """Return the names of images and of this model."""
    more = params.get("factory", ())
    if not isinstance(more, tuple | list) or any(not str(name).strip("*") for name in more):
        raise BadInput("host_name: factory is a list of names; correct the profile")
    return (*SHIPPED, *(str(name).lower() for name in more))


def serials(system: System) -> tuple[str, ...]:
    """Return the device's serial numbers, in lower case."""
    listed = [text(system, "/proc/device-tree/serial-number").strip("\0 \n")]
    listed += re.findall(r"(?m)^Serial\s*:\s*(\S+)", text(system, "/proc/cpuinfo"))
    return tuple(one.lower() for one in listed if one.strip("0"))


def addresses(system: System) -> tuple[str, ...]:
    """Return the addresses of the network cards as hex digits."""
    try:
        cards = system.entries("/sys/class/net")
    except Missing:
        return ()
    listed = [text(system, f"/sys/class/net/{card}/address").strip().replace(":", "").lower() for card in cards]
    return tuple(one for one in listed if one.strip("0"))


def models(system: System) -> tuple[str, ...]:
    """Return the words of the model's name that would tell it."""
    words = re.split(r"[^a-z0-9]+", text(system, "/proc/device-tree/model").lower())
    return tuple(word for word in words if len(word) > 4 and word not in MODEL_WORDS and not word.isdigit())


def holds(name: str, number: str) -> bool:
    """Say whether a name holds a number, or the end of it, which is how names are made from one."""
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    ending = number.lstrip("0")[-LEAST:]
    return len(ending) >= LEAST and ending in bare


def reason_for(system: System, params: "Params", name: str) -> str:
    """Say why a name must go, "" when it may stay."""
    lower = name.lower().rstrip(".").removesuffix(".local")
    for known in factory(params):
        rest = "[-_]?[0-9]*" if known in SHIPPED else ".*"
        if re.fullmatch(re.escape(known.removesuffix("*")) + (rest if known.endswith("*") else ""), lower):
            return IMAGE
    if any(holds(lower, one) for one in serials(system)):
        return SERIAL
    if any(holds(lower, one) for one in addresses(system)):
        return ADDRESS
    if any(word in lower for word in models(system)):
        return MODEL
    return ""


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the name, when it is the factory's or tells too much."""
    name = current(system)
    if not name:
        return ()
    mark = digest(name)
    reason = BACK if mark in memory.retired else reason_for(system, params, name) if memory.first else ""
    if not reason:
        return ()
    return (Found(kind=KIND, label=NAME, reason=reason, owner=False, old=Secret(name.encode()), trace=mark),)


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say whether the old name is there, a neutral one, or one that somebody else gave."""
    name = current(system)
    if digest(name) == found.trace or not name:
        return OLD
    return NEW if re.fullmatch(pattern(params), name) else OTHER


def prefix(params: "Params") -> str:
    """Return what the new name begins with."""
    word = params.get("prefix", "device")
    if not isinstance(word, str) or not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", word):
        raise BadInput("host_name: prefix is a word of small letters; correct the profile")
    return word


def pattern(params: "Params") -> str:
    """Return what a name of ours looks like."""
    return re.escape(prefix(params)) + "-[" + LETTERS + "]{%d}" % LETTERS_WANTED


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Give a neutral name: in the list of hosts first, so that it is never unknown, then in its file, then live."""
    limit = 256 - 256 % len(LETTERS)
    letters = [LETTERS[byte % len(LETTERS)] for byte in system.entropy(64) if byte < limit]
    name = f"{prefix(params)}-{''.join(letters[:LETTERS_WANTED])}"
    old = "" if found.old is None else found.old.reveal().decode("utf-8", "replace")
    gone = re.compile(f"{re.escape(old.lower().partition('.')[0])}|{pattern(params)}")  # also one that a cut left
    put(system, HOSTS, hosts(text(system, HOSTS), gone, name).encode())
    put(system, NAME, name.encode() + b"\n")
    live(system, name)


def put(system: System, path: str, content: bytes) -> None:
    """Replace a file, with the rights it has."""
    try:
        found = system.stat(path)
        mode, uid, gid = found.mode, found.uid, found.gid
    except Missing:
        mode, uid, gid = 0o644, 0, 0
    system.write(path, content, mode, uid, gid)


def hosts(listed: str, gone: "re.Pattern[str]", name: str) -> str:
    """Return the list of hosts with the new name beside the device's own address, and without those that must go."""
    lines, done = [], False
    for line in listed.splitlines():
        words, mark, rest = line.partition("#")
        parts = words.split()
        kept = [part for part in parts[1:] if not gone.fullmatch(part.lower().partition(".")[0])]
        if parts and parts[0] == OWN:
            kept, done = [name, *(part for part in kept if part != name)], True
        if kept == parts[1:]:
            lines.append(line)
        elif kept:
            lines.append("\t".join([parts[0], *kept]) + (f" {mark}{rest}" if mark else ""))
    if not done:
        lines.append(f"{OWN}\t{name}")
    return "\n".join(lines) + "\n"


def live(system: System, name: str) -> None:
    """Set the name that running programs see, where that is allowed."""
    with suppress(Missing, Unreadable):
        system.kernel(LIVE, name.encode() + b"\n")


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Make durable what stands; the new name is in force, resolves, and the old one is in neither file."""
    for path in (HOSTS, NAME):
        system.sync(path)
    name = current(system)
    if digest(name) == found.trace or not name:
        raise Failed("the device still has the factory's name; start the device again")
    if text(system, LIVE).strip() != name:
        live(system, name)
    old = "" if found.old is None else found.old.reveal().decode("utf-8", "replace")
    listed = [line.partition("#")[0].split() for line in text(system, HOSTS).splitlines()]
    words = {word.lower() for line in listed for word in line[1:]}
    if name.lower() not in words or old.lower() in words:
        raise Failed(f"{HOSTS} does not know the device's new name; start the device again")


def clean(system: System, params: "Params", found: Found) -> None:
    """Nothing keeps copies of it."""


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that the old name was the factory's."""
    memory.retired.add(found.trace)
