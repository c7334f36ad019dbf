"""Linux accounts whose password is known to the world, or that have none.

Every account of /etc/passwd and /etc/shadow is looked at, whatever its scheme (libcrypt does the arithmetic) and its
shell: a password that no shell takes may still open a service. The account of the owner gets a new password, any other
is locked. PARAMS: `owner_account` is required: the name of an account that exists, or "uid:1000" for whoever has that
number now, so that an owner who gives the first account another name stays its owner. Optional: `blank` ("lock", the
default, or "set") says what becomes of another account without a password; `factory` lists more `user:password` pairs
of this model. Which candidate matched is kept sealed until it was tried and refused, and is never logged.

An account that is locked over a known password (`!` before its hash) opens nothing, but `usermod -U` would bring the
password back: its hash is thrown away, it stays locked.
"""

import hashlib
from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, OTHER, Found, Memory, candidates, recognise
from agent.core.errors import BadInput, Failed, Missing, PrivetError
from agent.core.record import Record
from agent.core.secret import Secret
from agent.credentials import BLANK, KNOWN, known
from agent.system import crypt
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "linux_account"
PARAMS = ("owner_account",)
PASSWD, SHADOW = "/etc/passwd", "/etc/shadow"
# Where the tools that change passwords leave the old ones: backups, and files of a run that was cut short.
BACKUPS = ("/etc/passwd-", "/etc/shadow-", "/var/backups/passwd.bak", "/var/backups/shadow.bak")
LEFTOVERS = ("/etc/npasswd", "/etc/nshadow", "/etc/passwd+", "/etc/shadow+")
LOCKS = ("/etc/passwd.lock", "/etc/shadow.lock")
LOCKED = "!"
BY_NUMBER = "uid:"

UNDER_LOCK = "it is locked, but over a known factory password"
NO_WAY_IN = "its owner has no other way in"


class Account(Record):
    """One account: name, number, home, password field in force, and whether that field stands in the shadow file."""

    __slots__ = ("field", "home", "name", "shadowed", "uid")
    name: str
    uid: str
    home: str
    field: str
    shadowed: bool

    def locked(self) -> bool:
        """Say whether no password can open it: locked, or holding something that is no hash."""
        return self.field != "" and crypt.strength(self.field) == crypt.INVALID

    def digest(self, extra: bytes = b"") -> bytes:
        """Return a digest of what stands there; `extra` binds it to something more."""
        parts = (self.name.encode("utf-8", "surrogateescape"), self.field.encode("utf-8", "surrogateescape"))
        return hashlib.sha256(b"\0".join((*parts, extra))).digest()[:16]


def rows(content: bytes) -> list[list[str]]:
    """Split a passwd or shadow file into its fields; lines that are no account (NIS, damage) are left out."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    split = [line.split(":") for line in lines]
    return [row for row in split if len(row) > 1 and row[0] and row[0][0] not in "+-#"]


def accounts(system: System) -> dict[str, Account]:
    """Read every account that the system knows, by name; of two lines with one name the first counts, as in libc."""
    shadow: dict[str, str] = {}
    try:
        for row in rows(system.read(SHADOW)):
            shadow.setdefault(row[0], row[1])
    except Missing:
        pass  # every password stands in /etc/passwd
    found: dict[str, Account] = {}
    for row in rows(system.read(PASSWD)):
        shadowed = row[1] == "x"
        field = shadow.get(row[0], LOCKED) if shadowed else row[1]
        home = row[5] if len(row) > 5 else ""
        uid = row[2] if len(row) > 2 else ""
        found.setdefault(row[0], Account(name=row[0], uid=uid, home=home, field=field, shadowed=shadowed))
    return found


def owner(params: "Params", present: dict[str, Account]) -> str:
    """Return the owner's account, or refuse a profile whose owner could not log in at all."""
    name = params.get("owner_account")
    if not isinstance(name, str) or not name:
        raise BadInput("linux_account: owner_account is missing; name the owner's account in the profile")
    number = name.removeprefix(BY_NUMBER)
    if number != name:
        name = next((one.name for one in present.values() if one.uid == number), name)
    if name not in present:
        raise Missing(f"the owner's account {name} is not on this device; correct owner_account in the profile")
    return name


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the accounts with a factory password; costly schemes are searched last and at low priority."""
    present, pairs = accounts(system), known(KIND, params)
    person = owner(params, present)
    listed = hashlib.sha256(repr(pairs).encode()).digest()
    found: dict[str, Found] = {}
    todo = [one for one in present.values() if one.digest(listed) not in memory.cleared]

    def search(some: list[Account]) -> None:
        """Look at some accounts; what is no factory password is remembered as that."""
        for one in some:
            old, reason = judge(one, pairs)
            if old is None:
                memory.cleared.add(one.digest(listed))
            else:
                given = one.name == person or (reason == BLANK and params.get("blank") == "set")
                found[one.name] = made(one, reason, given and reason != UNDER_LOCK, old)

    search([one for one in todo if not crypt.costly(one.field.lstrip(LOCKED))])
    costly = [one for one in todo if crypt.costly(one.field.lstrip(LOCKED))]
    if costly:
        crypt.patiently(lambda: search(costly))
    closing = any(not f.owner and f.reason != UNDER_LOCK for f in found.values())
    if closing and not (person in found and found[person].owner) and not reachable(system, present[person]):
        found[person] = made(present[person], NO_WAY_IN, True, found[person].old if person in found else None)
    return tuple(found[name] for name in sorted(found))


def judge(one: Account, pairs: tuple[tuple[str, str], ...]) -> tuple[Secret | None, str]:
    """Return the factory password of an account and why it must go, or (None, "")."""
    if one.field == "":
        return Secret(b""), BLANK
    bare = one.field.lstrip(LOCKED)
    if not bare or crypt.strength(bare) == crypt.INVALID:
        return None, ""
    old = recognise(bare, candidates(one.name, pairs), crypt.matches)
    return (old, KNOWN if bare == one.field else UNDER_LOCK) if old is not None else (None, "")


def made(one: Account, reason: str, given: bool, old: Secret | None) -> Found:
    """Make the record of one factory credential."""
    return Found(kind=KIND, label=one.name, reason=reason, owner=given, old=old, trace=one.digest())


def reachable(system: System, one: Account) -> bool:
    """Say whether the account can be entered without a new password: it has a private one, or a key."""
    if not one.locked():
        return True
    try:
        return system.read(f"{one.home}/.ssh/authorized_keys").strip() != b""
    except PrivetError:
        return False


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say what opens the account now: the old password, the new one (nothing, when it is to be locked), or another."""
    one = accounts(system).get(found.label)
    if one is None:
        return OTHER
    if one.digest() == found.trace:
        return OLD
    if found.owner:
        return NEW if new is not None and crypt.matches(new.reveal().decode(), one.field) else OTHER
    return NEW if one.locked() and crypt.strength(one.field.lstrip(LOCKED)) == crypt.INVALID else OTHER


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Give the account its new password, or lock it; durable on return, though the tools themselves are not."""
    unlock(system)
    if not accounts(system)[found.label].shadowed:
        ran(system, ("pwconv",), b"")  # moves what stands in /etc/passwd to the shadow file
    name = found.label.encode("utf-8", "surrogateescape")
    if found.owner:
        if new is None:
            raise Failed(f"there is no new password for {found.label}; start the device again")
        ran(system, ("chpasswd",), b"%s:%s\n" % (name, new.reveal()))
    else:
        ran(system, ("chpasswd", "-e"), b"%s:%s\n" % (name, LOCKED.encode()))
    settle(system)


def settle(system: System) -> None:
    """Make durable what the password tools did; they sync their file, but not the directory that names it."""
    system.sync(PASSWD)
    system.sync(SHADOW)


def ran(system: System, argv: tuple[str, ...], stdin: bytes) -> None:
    """Run a password tool; of its error output nothing is repeated, it may quote what it read."""
    outcome = system.run(argv, stdin)
    if outcome.code != 0:
        raise Failed(f"{' '.join(argv)} ended with {outcome.code}; see the system journal, then start the device again")


def unlock(system: System) -> None:
    """Remove lock files that a power cut left: without a process number, or older than this start of the device."""
    clock = system.clock()
    for path in LOCKS:
        try:
            text = system.read(path).strip(b"\0 \n")
            age = system.stat(path).changed // 1_000_000_000
        except Missing:
            continue
        if not text.isdigit() or int(text) == 0 or age < clock.wall - clock.uptime:
            system.remove(path)


def opens(system: System, name: str, secret: Secret) -> bool:
    """Try a password at the system's own door: unix_chkpwd, the program that PAM itself asks."""
    outcome = system.run(("unix_chkpwd", name, "nullok"), secret.reveal() + b"\0")
    if outcome.code not in (0, 7):  # PAM_SUCCESS, PAM_AUTH_ERR
        raise Failed(f"unix_chkpwd could not try {name} (it ended with {outcome.code}); see the system journal")
    return outcome.code == 0


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Try both passwords, by libcrypt and by PAM; Failed unless the new one works and the old one does not."""
    settle(system)  # whoever set it may have died before it was durable
    name = found.label
    field = accounts(system)[name].field
    if found.owner and (new is None or not crypt.matches(new.reveal().decode(), field) or not opens(system, name, new)):
        raise Failed(f"the new password of {name} does not open it; start the device again")
    if found.old is None:
        return
    text = found.old.reveal().decode("utf-8", "surrogateescape")
    if field == "" or crypt.matches(text, field) or opens(system, name, found.old):
        raise Failed(f"the factory password of {name} still opens it; start the device again")


def clean(system: System, params: "Params", found: Found) -> None:
    """Take the old hash out of every copy that password tools keep: of backups its line, of half-made files all."""
    for path in (*LEFTOVERS, *BACKUPS):
        try:
            content, stat = system.read(path), system.stat(path)
        except Missing:
            continue
        if path in LEFTOVERS:
            system.remove(path)
            continue
        live = SHADOW if "shadow" in path else PASSWD
        mended = without(content, found, system.read(live))
        if mended != content:
            system.write(path, mended, stat.mode, stat.uid, stat.gid)


def without(content: bytes, found: Found, live: bytes) -> bytes:
    """Return a backup in which the found account has the line that it has now, if the old password is in it."""
    name = found.label.encode("utf-8", "surrogateescape") + b":"
    fresh = next((line for line in live.split(b"\n") if line.startswith(name)), b"")
    lines = content.split(b"\n")
    for place, line in enumerate(lines):
        if line.startswith(name) and line != fresh and holds(line.split(b":")[1], found):
            lines[place] = fresh
    return b"\n".join(lines)


def holds(field: bytes, found: Found) -> bool:
    """Say whether a password field of a backup holds the old password."""
    text = field.decode("utf-8", "surrogateescape")
    if Account(name=found.label, uid="", home="", field=text, shadowed=True).digest() == found.trace:
        return True
    if found.old is None or text == "x":
        return False
    old = found.old.reveal().decode("utf-8", "surrogateescape")
    return (text == "" and old == "") or crypt.matches(old, text.lstrip(LOCKED))


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that what stands there now is no factory password, and that what stood there was one."""
    listed = hashlib.sha256(repr(known(KIND, params)).encode()).digest()
    one = accounts(system).get(found.label)
    if one is not None:
        memory.cleared.add(one.digest(listed))
    memory.retired.add(found.trace)
