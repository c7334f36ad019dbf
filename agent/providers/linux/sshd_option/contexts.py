"""Which connections to ask sshd about, so that every answer it can give to anybody is among those it gives us.

Each criterion splits the possible users, addresses, ports and so on into those that fit and those that do not. Of every
kind that the criteria of a configuration can tell apart one example is taken; the examples of all attributes are
combined, and of the combinations that hold the same Match lines one is kept.
"""

from collections.abc import Iterable, Sequence
from itertools import product

from agent.core.errors import PrivetError, Unreadable
from agent.core.record import Record
from agent.providers.linux.sshd_option.criteria import (
    Connection,
    Criterion,
    holds,
    network,
    number,
    read_criteria,
    written,
)
from agent.system.door import System

STRANGER = "privet-no-such-user"
STRANGERS = (STRANGER, "q7", "_0z", "k-j")  # hardly a pattern fits all of them, or ends or begins like all
PLAIN = Connection(
    user=STRANGER,
    groups=(),
    host="host.invalid",
    address="203.0.113.77",
    localaddress="192.0.2.2",
    localport="22",
    rdomain="",
)
MOST_COMBINED = 8000
MOST_ASKED = 96
FILLINGS = ("1", "1.1", "1.1.1", "1.1.1.1", "::1", "1:1:1", "1:1:1:1:1:1:1")
NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync")


class Account(Record):
    """A local account: name, number, home, login program, names of all its groups."""

    __slots__ = ("groups", "home", "name", "shell", "uid")
    name: str
    uid: int
    home: str
    shell: str
    groups: tuple[str, ...]

    def may_log_in(self) -> bool:
        """Say whether the account has a login program of its own."""
        return self.shell not in NO_LOGIN


def table(system: System, path: str, least: int) -> list[list[str]]:
    """Read a colon-separated table, leaving out lines that are too short; empty when it is not there."""
    try:
        text = system.read(path).decode("utf-8", "surrogateescape")
    except PrivetError:
        return []
    rows = [line.split(":") for line in text.split("\n")]
    return [row for row in rows if len(row) >= least]


def accounts(system: System) -> tuple[Account, ...]:
    """Return the local accounts with their groups."""
    groups = table(system, "/etc/group", 4)
    found = []
    for row in table(system, "/etc/passwd", 7):
        if not row[2].isdigit():
            continue
        mine = {g[0] for g in groups if g[2] == row[3] or row[0] in g[3].split(",")}
        found.append(Account(name=row[0], uid=int(row[2]), home=row[5], shell=row[6], groups=tuple(sorted(mine))))
    return tuple(found)


def sayable(text: str) -> bool:
    """Say whether `sshd -C` can be given this text."""
    return bool(text) and text.isprintable() and "," not in text and text.isascii()


def filled(pattern: str) -> Iterable[str]:
    """Make texts that fit a pattern with wildcards."""
    return (pattern.replace("*", fill).replace("?", "x") for fill in ("", "x"))


def addresses(patterns: str) -> list[str]:
    """Take the ends of every network in a list: first address, the one after the last; for wildcards a fitting one."""
    found: list[str] = []
    for pattern in patterns.split(","):
        plain = pattern.removeprefix("!")
        net = network(plain)
        if net is not None:
            found += [written(net[0], v) for v in (net[1], net[2] + 1) if v < 1 << net[0]]
        else:
            tries = (plain.replace("?", "1").replace("*", fill) for fill in FILLINGS)
            found += [text for text in tries if number(text) is not None][:1]
    return found


def examples(name: str, wanted: Sequence[Criterion], ports: Sequence[str]) -> list[str]:
    """Return examples of one attribute, the ordinary one first."""
    texts = [patterns for criterion, patterns in wanted if criterion == name]
    found = [str(getattr(PLAIN, name)) or "none"]
    if name == "address":
        found.append("127.0.0.1")
    if name in {"address", "localaddress"}:
        found += [a for text in texts for a in addresses(text)]
    elif name == "localport":
        found += [*ports, *(text.lstrip("0") for text in texts), "1"]
    else:
        found += [made for text in texts for pattern in text.split(",") for made in filled(pattern.removeprefix("!"))]
    return [text for text in found if sayable(text) or text == found[0]]


def apart(cases: Iterable[Connection], wanted: Sequence[Criterion]) -> list[Connection]:
    """Keep one of the connections that these criteria cannot tell apart."""
    kept: dict[tuple[bool, ...], Connection] = {}
    for case in cases:
        kept.setdefault(tuple(holds(c, case) for c in wanted), case)
    return list(kept.values())


def users(wanted: Sequence[Criterion], known: Sequence[Account], powerful: bool) -> list[Connection]:
    """Return examples of users: of the local accounts, and of names that fit a pattern and nobody has yet."""
    base = {"host": "", "address": "", "localaddress": "", "localport": "", "rdomain": ""}
    chosen = [a for a in known if sayable(a.name) and (a.uid == 0 or not powerful)]
    chosen.sort(key=lambda a: (not a.may_log_in(), a.name != "root", a.uid, a.name))
    cases = [Connection(user=a.name, groups=a.groups, **base) for a in chosen]
    if powerful and not cases:
        cases = [Connection(user="root", groups=("root",), **base)]
    if not powerful:
        names = [a.name for a in known]
        made = [name for name in (*examples("user", wanted, ()), *STRANGERS) if name not in names]
        cases += [Connection(user=name, groups=(), **base) for name in made]
    return apart(cases, [c for c in wanted if c[0] in {"user", "group"}])


def contexts(
    matches: Sequence[str], known: Sequence[Account], ports: Sequence[str], powerful: bool
) -> tuple[Connection, ...]:
    """Return the connections to ask about; `powerful`: only those of accounts with the number 0.

    Empty when there are no Match lines; Unreadable when one is not understood or they are too many.
    """
    lines = [read_criteria(text) for text in matches]
    wanted = sorted({criterion for line in lines for criterion in line})
    if not wanted:
        return ()
    names = ("address", "host", "localaddress", "localport", "rdomain")
    axes: list[list[str]] = []
    for name in names:
        mine = [c for c in wanted if c[0] == name]
        cases = [with_value(PLAIN, name, text) for text in examples(name, wanted, ports)] if mine else [PLAIN]
        axes.append([str(getattr(case, name)) for case in apart(cases, mine)])
    people = users(wanted, known, powerful)
    if len(people) * product_size(axes) > MOST_COMBINED:
        raise Unreadable("the SSH configuration has too many Match lines to try every case; make it simpler")
    kept: dict[tuple[bool, ...], Connection] = {}
    for person, values in product(people, product(*axes)):
        given = dict(zip(names, values, strict=True))
        case = Connection(user=person.user, groups=person.groups, **given)
        truth = {c: holds(c, case) for c in wanted}
        kept.setdefault(tuple(all(truth[c] for c in line) for line in lines), case)
    if len(kept) > MOST_ASKED:
        raise Unreadable("the SSH configuration has too many Match lines to try every case; make it simpler")
    return tuple(kept.values())


def with_value(connection: Connection, name: str, value: str) -> Connection:
    """Return a copy with one attribute changed."""
    facts = {key: getattr(connection, key) for key in Connection.__slots__}
    facts[name] = value
    return Connection(**facts)


def product_size(axes: Sequence[Sequence[str]]) -> int:
    """Return how many combinations there are."""
    size = 1
    for axis in axes:
        size *= len(axis)
    return size
