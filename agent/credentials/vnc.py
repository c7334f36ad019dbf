"""VNC passwords: the files with which TigerVNC, x11vnc and others of classic VNC authentication go.

All that was flashed from one image shares the password in such a file, and whoever can read the file knows it. So, as
with host keys, until the device was provisioned once every one counts as the image's, unless the profile says
`shipped = "known"`; afterwards one on the list of known passwords, or one that was retired and is back.
PARAMS are none; optional: `shipped`, `factory` (more `user:password` pairs), `files` (more password files) and `ports`
(where servers may listen).

Classic VNC looks at the first 8 characters of a password alone and checks them by DES: whoever listens to one login
can find them out in hours. So the new password is 8 characters of 42 (43 bits), made here, and what the owner reads
says to come through SSH. A second, view-only password in a file is not made anew: that way in is closed.
Servers that ask Linux accounts (RealVNC and wayvnc of Raspberry Pi OS) have no file here; linux_account covers them.
"""

import hmac
from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, OTHER, Found, Memory
from agent.core.errors import BadInput, Failed, Missing, PrivetError, Unreachable
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
    replaced,
    settle,
    takes_all,
)
from agent.system import crypt
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "vnc"
PARAMS: tuple[str, ...] = ()
OWN = (".vnc/passwd", ".config/tigervnc/passwd")  # in each home
SHARED = ("/etc/vncpasswd", "/etc/vnc/passwd", "/etc/x11vnc.pass")
PORTS = tuple(range(5900, 5910))
LENGTH = 8
OBFUSCATION = bytes((23, 82, 107, 6, 35, 78, 88, 7))  # published with the protocol: files hide nothing
LETTERS = "bcdefghjknprstuvxBCDEFGHJKNPRSTUVX23456789"
KNOWN = "its password is on the list of known factory passwords"
ADVICE = "; VNC takes no more than 8 characters: open it through SSH only"

VERSION, VNC = b"RFB 003.008\n", 2


def mirrored(key: bytes) -> bytes:
    """Return a key with the bits of each byte the other way round, as VNC hands it to DES."""
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)


def cut(password: bytes) -> bytes:
    """Return what VNC looks at of a password."""
    return password[:LENGTH].ljust(LENGTH, b"\0")


def hidden(password: bytes) -> bytes:
    """Return a password as a file holds it."""
    return crypt.des(mirrored(OBFUSCATION), cut(password))


def shown(block: bytes) -> bytes:
    """Return the password that a file holds."""
    return crypt.des(mirrored(OBFUSCATION), block, back=True).rstrip(b"\0")


def generate(entropy: bytes) -> Secret:
    """Make a secret of 8 characters without modulo bias."""
    limit = 256 - 256 % len(LETTERS)
    letters = [LETTERS[byte % len(LETTERS)] for byte in entropy if byte < limit]
    if len(letters) < LENGTH:
        raise BadInput(f"{len(entropy)} bytes are too few for a secret; give more")
    return Secret("".join(letters[:LENGTH]).encode())


def files(system: System, params: "Params") -> dict[str, bytes]:
    """Return the password files that are here, by path; what is not 8 or 16 bytes long is none."""
    more = params.get("files", ())
    if not isinstance(more, tuple | list) or not all(str(path).startswith("/") for path in more):
        raise BadInput("vnc: files is a list of absolute paths; correct the profile")
    places = [f"{home}/{own}" for home in homes(system) for own in OWN]
    found = {}
    for path in dict.fromkeys((*(str(path) for path in more), *places, *SHARED)):
        directory, _, name = path.rpartition("/")
        blob = content(system, path) if name in names(system, directory) else b""
        if len(blob) in (LENGTH, 2 * LENGTH):
            found[path] = blob
    return found


def passwords(blob: bytes) -> tuple[bytes, ...]:
    """Return the passwords in a file: the one for everything, then the one for looking, where there is one."""
    return tuple(shown(blob[place : place + LENGTH]) for place in range(0, len(blob), LENGTH))


def ports(params: "Params") -> tuple[int, ...]:
    """Return where VNC servers may listen."""
    value = params.get("ports", PORTS)
    if not isinstance(value, tuple | list) or not all(type(one) is int and 0 < one < 65536 for one in value):
        raise BadInput("vnc: ports is a list of port numbers; correct the profile")
    return tuple(int(str(one)) for one in value)


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the files with a factory password."""
    found, seen = [], listed(KIND, params)
    everything = memory.first and takes_all(KIND, params, "all")
    for path, blob in sorted(files(system, params).items()):
        trace, held = digest(path.encode(), blob), passwords(blob)
        if digest(trace, seen) in memory.cleared:
            continue
        old, reason = None, ""
        for one in held:
            if old is None:
                old, reason = factory(KIND, params, "", one.decode("latin-1"), same)
        if not reason and (everything or trace in memory.retired):
            old, reason = Secret(held[0]), BACK if trace in memory.retired else SHIPPED
        if reason:
            found.append(Found(kind=KIND, label=path, reason=reason + ADVICE, owner=True, old=old, trace=trace))
        else:
            memory.cleared.add(digest(trace, seen))
    return tuple(found)


def same(password: str, held: str) -> bool:
    """Say whether VNC cannot tell a password from the one that a file holds."""
    return hmac.compare_digest(cut(password.encode("utf-8", "surrogateescape")), cut(held.encode("latin-1")))


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say whose password stands in the file."""
    blob = files(system, params).get(found.label)
    if blob is None:
        return OTHER
    if digest(found.label.encode(), blob) == found.trace:
        return OLD
    return NEW if new is not None and hmac.compare_digest(blob, hidden(new.reveal())) else OTHER


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Put the new password into the file, which keeps its owner; nobody else may read it."""
    if new is None:
        raise Failed(f"there is no new VNC password for {found.label}; start the device again")
    replaced(system, found.label, hidden(new.reveal()))
    stat = system.stat(found.label)
    system.own(found.label, stat.mode & 0o600, stat.uid, stat.gid)


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Look at the file, then try both passwords at every VNC server that runs here."""
    settle(system, found.label)
    held = files(system, params)
    blob = held.get(found.label)
    if blob is None:
        raise Missing(f"the VNC password file {found.label} is gone; start the device again")
    if new is None or not hmac.compare_digest(blob, hidden(new.reveal())):
        raise Failed(f"the new VNC password in {found.label} does not fit; start the device again")
    if found.old is None:
        return
    old, chance = found.old.reveal(), system.entropy(LENGTH // 2).hex().encode()
    if hidden(old) in held.values():
        return  # another file has the same factory password, and its turn comes: its server is not ours to judge
    for port in ports(params):
        if knock(system, port, new.reveal()) is False and knock(system, port, old) and not knock(system, port, chance):
            raise Failed(f"a VNC server on port {port} goes by the factory password of {found.label}; start it again")


def knock(system: System, port: int, password: bytes) -> bool | None:
    """Say whether the VNC server on a port takes a password; None when there is none, or it asks for something else."""
    try:
        return system.talk(port, login(password))
    except Unreachable:
        return None


def some(heard: bytes, count: int) -> Generator[bytes, bytes, bytes]:
    """Listen until so many bytes were heard; fewer when the other end hangs up."""
    while len(heard) < count:
        more = yield b""
        if not more:
            return heard
        heard += more
    return heard


def login(password: bytes) -> Generator[bytes, bytes, bool | None]:
    """Speak RFB 3.3, 3.7 or 3.8 to the point where classic authentication is answered."""
    heard = yield from some(b"", len(VERSION))
    if not heard.startswith(b"RFB 003.") or len(heard) < len(VERSION):
        return None
    version = min(heard[: len(VERSION)], VERSION)
    if version < b"RFB 003.007\n":
        heard = yield from some((yield b"RFB 003.003\n"), 4)
        if heard[:4] != VNC.to_bytes(4, "big"):
            return None
        heard = heard[4:]
    else:
        heard = yield version
        heard = yield from some(heard, 1 + (heard[0] if heard else 0))
        if VNC not in heard[1 : 1 + (heard[0] if heard else 0)]:
            return None
        heard = yield bytes((VNC,))
    challenge = yield from some(heard, 16)
    if len(challenge) < 16:
        return None
    key = mirrored(cut(password))
    verdict = yield from some((yield crypt.des(key, challenge[:8]) + crypt.des(key, challenge[8:16])), 4)
    return int.from_bytes(verdict[:4], "big") == 0 if len(verdict) >= 4 else None


def clean(system: System, params: "Params", found: Found) -> None:
    """Remove the copies of the file that hold the old password."""
    old = None if found.old is None else hidden(found.old.reveal())
    for copy in copies(system, found.label):
        try:
            blob = system.read(copy, 64)
        except PrivetError:
            continue
        if old is None or old in blob or digest(found.label.encode(), blob) == found.trace:
            system.remove(copy)


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that what stands there now is no factory password, and that what stood there was one."""
    blob = files(system, params).get(found.label)
    if blob is not None:
        memory.cleared.add(digest(digest(found.label.encode(), blob), listed(KIND, params)))
    memory.retired.add(found.trace)
