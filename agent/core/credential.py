"""Factory credentials: what they are, how one is replaced step by step, and how a new secret is made.

A rotation goes factory -> staged -> active -> retired and never back:

  factory  the secret the device came with still opens it
  staged   a new secret is kept, durable and sealed, for the owner; the device may still hold the old one
  active   the new one was tried and works, the old one was tried and is refused
  retired  no copy of the old one is left on the device
"""

from .errors import BadInput
from .record import Record
from .secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

FACTORY = "factory"
STAGED = "staged"
ACTIVE = "active"
RETIRED = "retired"
STATES = (FACTORY, STAGED, ACTIVE, RETIRED)

# What stands on the device at this moment, seen by looking.
OLD = "old"
NEW = "new"
OTHER = "other"
STANDINGS = (OLD, NEW, OTHER)

# What to do next.
STAGE = "stage"
INSTALL = "install"
PROVE = "prove"
CLEAN = "clean"
DROP = "drop"
DONE = "done"

NEXT = {
    (FACTORY, OLD): STAGE,
    (FACTORY, NEW): DONE,
    (FACTORY, OTHER): DONE,
    (STAGED, OLD): INSTALL,
    (STAGED, NEW): PROVE,
    (STAGED, OTHER): DROP,
    (ACTIVE, OLD): INSTALL,
    (ACTIVE, NEW): CLEAN,
    (ACTIVE, OTHER): DROP,
    (RETIRED, OLD): STAGE,
    (RETIRED, NEW): DONE,
    (RETIRED, OTHER): DONE,
}
AFTER = {STAGE: STAGED, INSTALL: STAGED, PROVE: ACTIVE, CLEAN: RETIRED, DROP: RETIRED}

SHUT = "shut"
ROTATE = "rotate"
PROVEN = "prove"
OPEN = "open"
PROVISIONED = "provisioned"

# Letters that are not mistaken for one another (no i l o, no digits) and that lie on the same keys of English, German
# and French keyboards (no a m q w y z), so that they can be typed on a wrong layout; so does the space.
LETTERS = "bcdefghjknprstuvx"
GROUPS = 4
GROUP = 5
BITS = 81  # 17 ** 20 > 2 ** 81
ENTROPY = 64  # bytes to ask the system for; 20 are used, one in 256 is thrown away


class Found(Record):
    """One factory credential on this device.

    `label` names it (a user, a key type). `reason` says in words why it must go, without the secret. `owner` is true
    when the owner gets a new secret in its place, false when nothing replaces it that a person must know. `old` is what
    must be refused afterwards, None when it is nothing one can type, and `trace` a digest of what stood there.
    """

    __slots__ = ("kind", "label", "old", "owner", "reason", "trace")
    kind: str
    label: str
    reason: str
    owner: bool
    old: "Secret | None"
    trace: bytes


class Memory:
    """What a kind remembers between looks: digests already seen to be no factory secret, and those that were one.

    `cleared` and `retired` are changed in place by the kind and kept by whoever called it. `first` is true until the
    device was provisioned once; then a secret nobody has seen before is no longer taken for the factory's.
    """

    __slots__ = ("cleared", "first", "retired")

    def __init__(self, cleared: "set[bytes]", retired: "set[bytes]", first: bool) -> None:
        self.cleared = cleared
        self.retired = retired
        self.first = first


def next_act(state: str, standing: str) -> str:
    """Return what to do about one credential, from what is recorded and what stands on the device."""
    if (state, standing) not in NEXT:
        raise BadInput("no rotation is %r over %r; erase the record and start the device again" % (state, standing))
    return NEXT[(state, standing)]


def next_state(act: str) -> str:
    """Return what is recorded once an act is done."""
    if act not in AFTER:
        raise BadInput("%r is no act of a rotation that is recorded" % (act,))
    return AFTER[act]


def next_phase(phase: str, kinds: "tuple[str, ...]") -> str:
    """Return the phase of first boot after this one; "" is before the first, a rotating phase is "rotate <kind>"."""
    phases = ["", SHUT] + ["%s %s" % (ROTATE, kind) for kind in kinds] + [PROVEN, OPEN, PROVISIONED]
    if phase == PROVISIONED:
        return PROVISIONED
    if phase not in phases:
        return SHUT
    return phases[phases.index(phase) + 1]


def resume(phase: str) -> str:
    """Return the phase to begin with after a start: unless it was finished all is looked at again, from the gate on."""
    return PROVISIONED if phase == PROVISIONED else SHUT


def generate(entropy: bytes) -> Secret:
    """Make a secret of more than 80 bits that a person can read and type, without modulo bias.

    The highest byte values are thrown away, so that each letter is as likely as any other.
    """
    limit = 256 - 256 % len(LETTERS)
    letters = [LETTERS[byte % len(LETTERS)] for byte in entropy if byte < limit]
    if len(letters) < GROUPS * GROUP:
        raise BadInput("%d bytes are too few for a secret; give %d" % (len(entropy), ENTROPY))
    groups = ["".join(letters[place * GROUP : (place + 1) * GROUP]) for place in range(GROUPS)]
    return Secret(" ".join(groups).encode())


def read_pairs(text: str) -> "tuple[tuple[str, str], ...]":
    """Read `user:password` lines; a line that starts with # is a comment, the password may hold colons or be empty."""
    pairs = []
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#"):
            continue
        if ":" not in line:
            raise BadInput("%r is no user:password line; correct the list of factory passwords" % (line[:40],))
        place = line.index(":")
        pairs.append((line[:place], line[place + 1 :].rstrip("\r")))
    return tuple(pairs)


def candidates(user: str, pairs: "tuple[tuple[str, str], ...]") -> "tuple[str, ...]":
    """Return the passwords to try for a user, likeliest first: its own pairs, its name, an empty one, all others."""
    own = [password for name, password in pairs if name == user]
    ordered = own + [user, ""] + [password for name, password in pairs]
    known: "dict[str, bool]" = {}
    distinct = []
    for password in ordered:
        if password not in known:
            known[password] = True
            distinct.append(password)
    return tuple(distinct)


def recognise(hashed: str, passwords: "tuple[str, ...]", check: "Callable[[str, str], bool]") -> "Secret | None":
    """Return the password that belongs to a hash, or None; `check(password, hashed)` does the arithmetic."""
    for password in passwords:
        if check(password, hashed):
            return Secret(password.encode())
    return None
