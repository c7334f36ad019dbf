"""The criteria of Match lines, decided as OpenSSH decides them (servconf.c, match.c, addrmatch.c).

Our own decision only chooses which connections to ask sshd about; what sshd answers is the evidence.
"""

import re
import socket

from agent.core.errors import Unreadable
from agent.core.record import Record
from agent.providers.linux.sshd_option.words import criteria

NAMES = ("user", "group", "host", "address", "localaddress", "localport", "rdomain")

Criterion = tuple[str, str]
"""Name of a criterion and its pattern list."""


class Connection(Record):
    """What a Match line can see of a connection; `groups` are those of the user."""

    __slots__ = ("address", "groups", "host", "localaddress", "localport", "rdomain", "user")
    user: str
    groups: tuple[str, ...]
    host: str
    address: str
    localaddress: str
    localport: str
    rdomain: str

    def specification(self) -> str:
        """Return what `sshd -C` takes."""
        pairs = [("user", self.user), ("host", self.host), ("addr", self.address), ("laddr", self.localaddress)]
        pairs += [("lport", self.localport), ("rdomain", self.rdomain)]
        return ",".join("%s=%s" % pair for pair in pairs if pair[1])


def read_criteria(rest: str) -> tuple[Criterion, ...]:
    """Read a Match line; `Match all` has no criteria; Unreadable when this version of Privet does not know one."""
    words = criteria(rest)
    if len(words) == 1 and words[0].lower() == "all":
        return ()
    names = tuple(word.lower() for word in words[::2])
    if not words or len(words) % 2 or any(name not in NAMES for name in names):
        raise Unreadable("Privet does not understand the line 'Match %s' of the SSH configuration" % rest[:80].strip())
    return tuple(zip(names, words[1::2], strict=True))


def like(text: str, pattern: str) -> bool:
    """Say whether a text fits a pattern of `*` and `?`."""
    parts = [{"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in pattern]
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def listed(text: str, patterns: str) -> int:
    """Decide a comma-separated pattern list: 1 fits, 0 does not, -1 fits a negated one."""
    found = 0
    for pattern in patterns.split(","):
        if pattern.startswith("!"):
            if like(text, pattern[1:]):
                return -1
        elif like(text, pattern):
            found = 1
    return found


def number(address: str) -> tuple[int, int] | None:
    """Return an address as (bits, number), or None when it is none."""
    for family, bits in ((socket.AF_INET, 32), (socket.AF_INET6, 128)):
        try:
            return bits, int.from_bytes(socket.inet_pton(family, address.partition("%")[0]))
        except (OSError, ValueError):
            continue
    return None


def written(bits: int, value: int) -> str:
    """Write an address number as text."""
    family = socket.AF_INET if bits == 32 else socket.AF_INET6
    return socket.inet_ntop(family, value.to_bytes(bits // 8))


def network(pattern: str) -> tuple[int, int, int] | None:
    """Return an address or prefix as (bits, first, last), or None when the pattern is none."""
    base, slash, length = pattern.partition("/")
    found = number(base)
    if found is None or (slash and not (length.isascii() and length.isdigit() and int(length) <= found[0])):
        return None
    free = found[0] - int(length) if slash else 0
    first = found[1] >> free << free
    return found[0], first, first + (1 << free) - 1


def addressed(address: str, patterns: str) -> int:
    """Decide a list of addresses, prefixes and wildcards."""
    own = number(address)
    found = 0
    for pattern in patterns.split(","):
        plain = pattern.removeprefix("!")
        net = network(plain)
        fits = like(address, plain) if net is None else own is not None and own[0] == net[0] and inside(own[1], net)
        if fits and pattern.startswith("!"):
            return -1
        found = 1 if fits else found
    return found


def inside(value: int, net: tuple[int, int, int]) -> bool:
    """Say whether an address number lies in a network."""
    return net[1] <= value <= net[2]


def grouped(groups: tuple[str, ...], patterns: str) -> int:
    """Decide a list of groups for all groups of a user: one negated fit is enough to say no."""
    verdicts = [listed(group, patterns) for group in groups]
    return -1 if -1 in verdicts else int(1 in verdicts)


def holds(criterion: Criterion, connection: Connection) -> bool:
    """Decide one criterion."""
    name, patterns = criterion
    if name == "user":
        return listed(connection.user, patterns) == 1
    if name == "group":
        return grouped(connection.groups, patterns) == 1
    if name == "host":
        return listed(connection.host.lower(), patterns.lower()) == 1
    if name == "address":
        return addressed(connection.address, patterns) == 1
    if name == "localaddress":
        return addressed(connection.localaddress, patterns) == 1
    if name == "localport":
        return connection.localport == patterns.lstrip("0")
    return listed(connection.rdomain, patterns) == 1
