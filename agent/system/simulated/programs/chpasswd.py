"""chpasswd of Debian 12, as strace shows it: it changes a password and does not make that durable.

Without options it goes through PAM: takes /etc/.pwd.lock, writes /etc/nshadow, fsyncs it, renames it over /etc/shadow
and does *not* fsync /etc; no backup is kept. With `-e` (a hash, not a password) it does not ask PAM: lock files
with process numbers, the old content into /etc/shadow-, the new one by way of /etc/shadow+, again without that fsync.
The scheme is the one that /etc/pam.d/common-password names, DES where that names none; without the file yescrypt.
"""

from typing import TYPE_CHECKING

from agent.core.errors import Missing
from agent.system import crypt
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

PASSWD, SHADOW = "/etc/passwd", "/etc/shadow"
LOCKS = ("/etc/passwd.lock", "/etc/shadow.lock")
SCHEMES = {
    "yescrypt": "$y$", "gost_yescrypt": "$gy$", "sha512": "$6$", "sha256": "$5$", "blowfish": "$2b$", "md5": "$1$",
}  # fmt: skip
SHADOW_GROUP = 42


def install(device: "SimulatedSystem") -> None:
    """Lay down the accounts that every Debian has, none of them with a password."""
    device.edit(
        PASSWD, b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )
    device.edit(SHADOW, b"root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n", mode=0o640, gid=SHADOW_GROUP)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Change the password of each `user:password` line."""
    encrypted = argv[1:] == ("-e",)
    if argv[1:] and not encrypted:
        return failed(b"unrecognized option", 2)
    lines = [line.partition(b":") for line in stdin.splitlines()]
    if not all(colon for _, colon, _ in lines):
        return failed(b"missing new password", 1)
    if any(user not in names(device.read(PASSWD)) for user, _, _ in lines):
        return failed(b"a user does not exist", 1)
    device.edit("/etc/.pwd.lock", b"", mode=0o600, in_place=True)
    if encrypted:
        return directly(device, [(user, field) for user, _, field in lines])
    scheme, cost = configured(device)
    for user, _, password in lines:
        setting = crypt.salt(scheme, device.entropy(32), cost)
        put(device, user, crypt.hashed(password.decode(), setting).encode())
    return Outcome(code=0, out=b"", err=b"")


def failed(why: bytes, code: int) -> Outcome:
    """Return the outcome of a refusal."""
    return Outcome(code=code, out=b"", err=b"chpasswd: %s\n" % why)


def configured(device: "SimulatedSystem") -> tuple[str, int]:
    """Return the scheme and cost that PAM is configured with."""
    try:
        words = device.read("/etc/pam.d/common-password").decode().split()
    except Missing:
        return SCHEMES["yescrypt"], 0
    scheme = next((SCHEMES[word] for word in words if word in SCHEMES), "")
    return scheme, next((int(word[7:]) for word in words if word.startswith("rounds=")), 0)


def names(content: bytes) -> list[bytes]:
    """Return the user names of a passwd file."""
    return [line.split(b":")[0] for line in content.split(b"\n") if b":" in line]


def changed(content: bytes, user: bytes, field: bytes) -> bytes:
    """Return a passwd or shadow file with another password field for a user."""
    lines = content.split(b"\n")
    for place, line in enumerate(lines):
        parts = line.split(b":")
        if parts[0] == user and len(parts) > 1:
            lines[place] = b":".join([user, field, *parts[2:]])
            break
    return b"\n".join(lines)


def put(device: "SimulatedSystem", user: bytes, field: bytes) -> None:
    """Do as pam_unix does: beside the file, fsync, rename, and no more."""
    entry = next(line for line in device.read(PASSWD).split(b"\n") if line.startswith(user + b":"))
    path, beside = (SHADOW, "/etc/nshadow") if entry.split(b":")[1] == b"x" else (PASSWD, "/etc/npasswd")
    replaced(device, path, beside, changed(device.read(path), user, field))


def replaced(device: "SimulatedSystem", path: str, beside: str, content: bytes) -> None:
    """Write a file beside another with the same rights, fsync it, give it the other's name."""
    stat = device.stat(path)
    device.edit(beside, content, mode=stat.mode, uid=stat.uid, gid=stat.gid, in_place=True, synced=True)
    device.hand.move(beside, path.rpartition("/")[2])


def locked(device: "SimulatedSystem") -> bytes:
    """Take the lock files, or say why not: one without a process number, or with that of a live process."""
    for path in LOCKS:
        try:
            number = device.read(path).strip(b"\0\n ")
        except Missing:
            number = b""
        else:
            if not number.isdigit():
                return b"existing lock file %s without a PID" % path.encode()
            if device.process(int(number)) is not None:
                return b"lock %s already used by PID %s" % (path.encode(), number)
        device.edit(path, b"299\0", mode=0o600, in_place=True)
    return b""


def unlocked(device: "SimulatedSystem") -> None:
    """Give the lock files back."""
    for path in reversed(LOCKS):
        device.hand.discard(path)


def backed_up(device: "SimulatedSystem", path: str) -> None:
    """Keep what a file holds now in its backup, overwritten in place."""
    stat = device.stat(path)
    old = device.read(path)
    device.edit(path + "-", old, mode=stat.mode, uid=stat.uid, gid=stat.gid, in_place=True, synced=True)


def directly(device: "SimulatedSystem", fields: list[tuple[bytes, bytes]]) -> Outcome:
    """Do as the shadow tools do by themselves."""
    why = locked(device)
    if why:
        return failed(why, 1)
    content = device.read(SHADOW)
    for user, field in fields:
        content = changed(content, user, field)
    backed_up(device, SHADOW)
    replaced(device, SHADOW, "/etc/shadow+", content)
    unlocked(device)
    return Outcome(code=0, out=b"", err=b"")
