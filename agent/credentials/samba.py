"""Passwords of Samba users that are known to the world.

Samba keeps passwords of its own beside those of Linux, so an account whose Linux password is new may still be open to
the factory's over the network. As with Linux accounts a private password is left alone, and one that is found gets a
new one for the owner; a user whom Samba has disabled, or who is no Linux account any more, is taken out of Samba: the
old password would be back with `smbpasswd -e`. PARAMS are none; optional: `shipped` ("all": until the device was
provisioned once, every user is the image's), `factory` (more `user:password` pairs of this model), `passdb` (the file
that Samba keeps them in) and `port` (445).

What stands is what pdbedit tells: NT hashes, compared by libcrypt. Samba asks its database at each login and commits
each change with fdatasync; a running server is asked by smbclient where that is installed.
"""

from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, OTHER, Found, Memory
from agent.core.errors import Failed, PrivetError, Unreachable
from agent.core.record import Record
from agent.core.secret import Secret
from agent.credentials import (
    BACK,
    BLANK,
    SHIPPED,
    copies,
    digest,
    factory,
    listed,
    number,
    present,
    settle,
    takes_all,
    text,
)
from agent.system import crypt
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "samba"
PARAMS: tuple[str, ...] = ()
CONFIGURATION = "/etc/samba/smb.conf"
PASSDB = "/var/lib/samba/private/passdb.tdb"
BACKUPS = ("/var/backups/smbpasswd.bak", "/var/backups/samba/smbpasswd.bak")  # of Debian's cron job, old and older
SCHEME = "$3$$"  # libcrypt's name for the NT hash
NOBODY = "4294967295"  # the user number of one who is no Linux account
HEXADECIMAL = frozenset("0123456789ABCDEF")

UNDER_LOCK = "it is disabled, but over a known factory password"
REFUSED = (b"NT_STATUS_LOGON_FAILURE", b"NT_STATUS_WRONG_PASSWORD", b"NT_STATUS_NO_SUCH_USER", b"NT_STATUS_ACCOUNT_")


class User(Record):
    """One user: name, the NT hash as libcrypt takes it ("" for none), and whether Samba would let the user in."""

    __slots__ = ("active", "field", "name", "unlocked")
    name: str
    field: str
    active: bool
    unlocked: bool

    def mark(self) -> bytes:
        """Return a digest of what stands for the user."""
        return digest(self.name.encode("utf-8", "surrogateescape"), self.field.encode(), b"%d" % self.active)


def read_users(told: bytes) -> dict[str, User]:
    """Read what `pdbedit -L -w` prints: name:uid:LM:NT:[flags]:LCT-…: a line; other lines are left out."""
    users: dict[str, User] = {}
    for line in told.decode("utf-8", "surrogateescape").split("\n"):
        words = line.rsplit(":", 6)
        if len(words) != 7 or not words[0] or not words[4].startswith("["):
            continue
        name, uid, _, hashed, flags = words[:5]
        blank = "N" in flags
        field = "" if blank or len(hashed) != 32 or not set(hashed) <= HEXADECIMAL else SCHEME + hashed.lower()
        users[name] = User(
            name=name, field=field, active="D" not in flags and uid != NOBODY, unlocked=blank and field == ""
        )
    return users


def users(system: System) -> dict[str, User]:
    """Return the users of Samba by name, none where it is not installed."""
    if not present(system, CONFIGURATION):
        return {}
    try:
        outcome = system.run(("pdbedit", "-L", "-w"))
    except Unreachable:
        return {}  # the configuration is left of a Samba that is gone
    if outcome.code != 0:
        raise Failed(f"pdbedit ended with {outcome.code}; see the system journal, then start the device again")
    return read_users(outcome.out)


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the users with a factory password."""
    found, seen = [], listed(KIND, params)
    everything = memory.first and takes_all(KIND, params, "known")
    for name, one in sorted(users(system).items()):
        ours = digest(one.mark(), seen)
        if ours in memory.cleared:
            continue
        old, reason = factory(KIND, params, name, one.field, crypt.matches) if one.field else (None, "")
        if one.unlocked:
            old, reason = Secret(b""), BLANK
        if not reason and (everything or one.mark() in memory.retired):
            reason = BACK if one.mark() in memory.retired else SHIPPED
        if not reason:
            memory.cleared.add(ours)
            continue
        reason = reason if one.active or old is None else UNDER_LOCK
        found.append(Found(kind=KIND, label=name, reason=reason, owner=one.active, old=old, trace=one.mark()))
    return tuple(found)


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say whose password stands for the user; one who was to go is gone, or is another."""
    one = users(system).get(found.label)
    if one is None:
        return OTHER if found.owner else NEW
    if one.mark() == found.trace:
        return OLD
    return NEW if found.owner and new is not None and fits(one, new) else OTHER


def fits(one: User, secret: Secret) -> bool:
    """Say whether a password is the user's."""
    return crypt.matches(secret.reveal().decode("utf-8", "surrogateescape"), one.field)


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Give the user the new password, or take the user out."""
    if not found.owner:
        ran(system, ("smbpasswd", "-L", "-x", found.label), b"")
    elif new is None:
        raise Failed(f"there is no new password for the Samba user {found.label}; start the device again")
    else:
        ran(system, ("smbpasswd", "-L", "-s", found.label), b"%s\n%s\n" % (new.reveal(), new.reveal()))
    settle(system, kept(system, params))


def kept(system: System, params: "Params") -> str:
    """Return the file that Samba keeps its passwords in, which must be there: it is what has to be durable."""
    path = text(KIND, params, "passdb", PASSDB)
    if not present(system, path):
        raise Failed(f"Samba does not keep its passwords in {path}; name the file as passdb in the profile")
    return path


def ran(system: System, argv: tuple[str, ...], stdin: bytes) -> None:
    """Run a password tool; of its error output nothing is repeated."""
    outcome = system.run(argv, stdin)
    if outcome.code != 0:
        raise Failed(f"smbpasswd ended with {outcome.code}; see the system journal, then start the device again")


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Try both passwords on the hash that stands, and on the server where one runs."""
    settle(system, kept(system, params))
    one = users(system).get(found.label)
    if not found.owner:
        if one is not None:
            raise Failed(f"the Samba user {found.label} is still there; start the device again")
        return
    if one is None or new is None or not fits(one, new) or enters(system, params, one.name, new) is False:
        raise Failed(f"the new password of the Samba user {found.label} does not open it; start the device again")
    if found.old is None:
        return
    chance = Secret(system.entropy(16).hex().encode())  # a server that takes any password for a guest proves nothing
    entered = enters(system, params, one.name, found.old) and not enters(system, params, one.name, chance)
    if fits(one, found.old) or entered:
        raise Failed(f"the factory password of the Samba user {found.label} still opens it; start the device again")


def enters(system: System, params: "Params", name: str, secret: Secret) -> bool | None:
    """Try a login at the running server over loopback; None when there is none, or no client to try with."""
    port = str(number(KIND, params, "port", 445))
    told = b"username=%s\npassword=%s\n" % (name.encode("utf-8", "surrogateescape"), secret.reveal())
    try:
        outcome = system.run(("smbclient", "-p", port, "-L", "127.0.0.1", "-A", "/dev/stdin"), told)
    except Unreachable:
        return None
    if outcome.code == 0:
        return True
    return False if any(word in outcome.out + outcome.err for word in REFUSED) else None


def clean(system: System, params: "Params", found: Found) -> None:
    """Remove the copies of the database that hold the old hash, and the lists that cron jobs keep."""
    path = text(KIND, params, "passdb", PASSDB)
    old = b"" if found.old is None else found.old.reveal()
    hashed = bytes.fromhex((crypt.compute(old, SCHEME.encode()) or b"")[len(SCHEME) :].decode())
    for copy in (*copies(system, path), *BACKUPS):
        try:
            blob = system.read(copy, 8 << 20)
        except PrivetError:
            continue
        if found.old is None or hashed in blob or hashed.hex().upper().encode() in blob:
            system.remove(copy)


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that what stands there now is no factory password, and that what stood there was one."""
    one = users(system).get(found.label)
    if one is not None:
        memory.cleared.add(digest(one.mark(), listed(KIND, params)))
    memory.retired.add(found.trace)
