"""What sudo lets people run without asking for their password, and how long one password is good.

Param: `what`: "nopasswd" (the `user:command` words that run unasked) or "ticket" (where one given password counts:
terminal, parent for its process, global for every terminal, forever).

sudo obeys the last rule that matches, so our drop-in, read last, says every rule again from the first unasked one on,
this time with a password. It grants nothing new; when the rules before it change, it is `outdated` and written anew.
Before that, visudo checks it beside its place, and it is refused where nobody would be left who can become root.

Prepared: `rows` (each rule: what of it runs unasked, all it names, and both ways to say it again), `powers` (what makes
somebody root unasked), `administrators` (who can become root with a password), `defaults` and `ticket`.
"""

import json
from typing import TypeVar

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import LockOut, Missing, PrivetError, Refused
from agent.core.order import words
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.providers.linux.sudoers import conf, rules
from agent.providers.linux.sudoers.rules import Item, Rule
from agent.system.door import System
from agent.system.seen import there

PARAMS = ("what",)
OWN = "/etc/sudoers.d/zz-privet-"
DRAFT = "/etc/privet/sudoers/zz-privet-"
TICKETS = {"tty": "terminal", "kernel": "terminal", "ppid": "parent", "global": "global"}
DAY = 24 * 60  # minutes
LOOSER = ("terminal", "parent", "global", "forever")
OUTDATED = "outdated:zz-privet-nopasswd"
NOTE = "# Written by Privet. Removing this file gives the rules of sudo back as they were.\n"

Step = Write | Run | Remove
T = TypeVar("T")


def probe(system: System, params: Params) -> Reading:
    """Ask sudo's own reader for all rules; sudo reads them at each call, so what is live is what is kept."""
    try:
        if not there(system, "/usr/bin/sudo"):
            return absent("sudo is not installed")
        table = rules.listing(system, conf.rules_file(system))
        value = ticket(table) if params["what"] == "ticket" else unasked(system, table)
        unlooked = conf.elsewhere(system) or conf.other_service(table)
        return unread(unlooked, kept=value) if unlooked else seen(value, value)
    except PrivetError as error:
        return unread(str(error))


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Write our drop-in, checked by visudo beside its place first; none where it would say nothing."""
    what = str(params["what"])
    if what == "ticket":
        return placed(what, ticket_line(params, str(option)))
    if "rows" not in params:
        raise Refused("the rules of sudo were not looked up first; run privet enforce again")
    allowed = option if isinstance(option, tuple) else ()
    rows = [json.loads(row) for row in texts(params, "rows")]
    cut = [power for power in texts(params, "powers") if power not in allowed]
    kept = [power for power in texts(params, "powers") if power in allowed]
    if cut and not kept and not texts(params, "administrators"):
        raise LockOut(f"{cut[0].partition(':')[0]} has no password and nobody else can become root; set one first")
    leave = [bool(every) and set(every) <= set(allowed) for _, every, _, _ in rows]
    first = next((n for n, row in enumerate(rows) if row[0] or leave[n]), len(rows))  # what is before needs no word
    body = str(params["defaults"])
    for row, left in list(zip(rows, leave, strict=True))[first:]:
        body += row[3 if left else 2] + "\n"
    return placed(what, body) if body else (Remove(path=OWN + what),)


def watches(params: Params) -> tuple[str, ...]:
    """Name where the rules are, and /etc for sudoers itself, groups and nsswitch.conf."""
    return ("/etc", "/etc/sudoers.d")


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device; Refused when a rule cannot be said again."""
    if conf.rules_file(system) != conf.FILE:
        raise Refused(conf.elsewhere(system))
    table = rules.listing(system, conf.FILE)
    if params["what"] == "ticket":
        return {**params, "ticket": ticket(table)}
    others, defaults, _ = apart(system, table)
    untagged, exempt = rules.free_by_default(defaults)
    opened = rules.without_password(rules.here(others, hosts(system, table)), untagged, groups(system))
    first = from_first(others, opened)
    try:
        rules.proven(system, others)
    except Refused:  # too special; but it may stand before all that has to be said again
        others = others[first:]
        rules.proven(system, others)
    rows = []
    for rule in others:
        free = sorted(word for word, row in opened if row is rule)
        lines = rules.line(rule, asks=True), rules.line(rule, asks=False)
        rows.append(json.dumps([free, sorted(rules.named(rule)), *lines]))
    powers = [word for word, row in opened if word.endswith(":ALL") and powerful(row)]
    powers += [f"%{group}:ALL" for group in exempt]
    asking = (["authenticate"] if untagged else []) + (["!exempt_group"] if exempt else [])
    return {
        **params,
        "rows": tuple(rows),
        "powers": tuple(sorted(powers)),
        "administrators": tuple(administrators(system, others)),
        "defaults": f"Defaults {', '.join(asking)}\n" if asking else "",
    }


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words, empty when it is not given."""
    value = params.get(name, ())
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def placed(what: str, body: str) -> tuple[Step, ...]:
    """Write a draft, let visudo judge it, then write the real one."""
    content = (NOTE + body).encode()
    return (
        Write(path=DRAFT + what, content=content, mode=0o440, uid=0, gid=0),
        Run(argv=("visudo", "-cf", DRAFT + what), stdin=b""),
        Write(path=OWN + what, content=content, mode=0o440, uid=0, gid=0),
    )


def ticket(table: Item) -> str:
    """Return where one given password counts; a line for some users only counts as if it were for all."""
    plain, bound = {"timestamp_type": "tty", "timestamp_timeout": "15"}, []
    for row in table.get("Defaults", []):
        for key, value in [pair for option in row.get("Options", []) for pair in option.items()]:
            if key == "tty_tickets":  # the older name of two of the types
                key, value = "timestamp_type", "global" if value is False else "tty"  # noqa: PLW2901
            if key in plain and "Binding" in row:
                bound.append((key, str(value)))
            elif key in plain:
                plain[key] = str(value)
    found = ["terminal"]
    for key, value in [*plain.items(), *bound]:
        if key == "timestamp_timeout":
            found += ["forever"] if value.startswith("-") or beyond(value) else []
        else:
            found.append(TICKETS.get(value, "forever"))
    return max(found, key=LOOSER.index)


def beyond(minutes: str) -> bool:
    """Say whether a time is longer than anybody sits before a device: then nothing but a restart ends it."""
    try:
        return float(minutes) > DAY
    except ValueError:
        return False  # switched off: asked each time


def ticket_line(params: Params, option: str) -> str:
    """Write the line for a ticket; the timeout is left alone unless it has no end or shall have none."""
    line = f"Defaults timestamp_type={ {'parent': 'ppid', 'terminal': 'tty'}.get(option, 'global') }"
    if option == "forever":
        return line + ", timestamp_timeout=-1\n"
    return line + (", timestamp_timeout=15\n" if params.get("ticket") == "forever" else "\n")


def unasked(system: System, table: Item) -> Value:
    """Return everything that runs without a password, and whether our own file is behind the others."""
    untagged, exempt = rules.free_by_default(table)
    mine = hosts(system, table)
    found = {word for word, _ in rules.without_password(rules.here(rules.rules(table), mine), untagged, groups(system))}
    found |= {f"%{group}:ALL" for group in exempt}
    others, defaults, ours = apart(system, table)
    opened = rules.without_password(rules.here(others, mine), rules.free_by_default(defaults)[0], groups(system))
    said = others[len(others) - len(ours) :]
    complete = len(ours) >= len(others) - from_first(others, opened)
    if ours and not (complete and list(map(rules.untagged, ours)) == list(map(rules.untagged, said))):
        found.add(OUTDATED)
    return words(found)


def from_first(found: list[Rule], opened: list[tuple[str, Rule]]) -> int:
    """Return the place of the first row that runs unasked."""
    return next((n for n, rule in enumerate(found) if any(rule is one for _, one in opened)), len(found))


def apart(system: System, table: Item) -> tuple[list[Rule], Item, list[Rule]]:
    """Split a listing into the rows of others, their defaults, and the rows of our own file."""
    found = rules.rules(table)
    if not there(system, OWN + "nopasswd"):
        return found, table, []
    own = rules.listing(system, OWN + "nopasswd")
    ours = rules.rules(own)
    defaults = without_last(list(table.get("Defaults", [])), list(own.get("Defaults", [])))
    return without_last(found, ours), {"Defaults": defaults}, ours


def without_last(found: list[T], run: list[T]) -> list[T]:
    """Return a list without the last place where a run of values stands in it."""
    for start in range(len(found) - len(run), -1, -1):
        if run and found[start : start + len(run)] == run:
            return found[:start] + found[start + len(run) :]
    return found


def groups(system: System) -> dict[str, set[str]]:
    """Return the members of each group, by its name with the mark %."""
    found: dict[str, set[str]] = {}
    primary = {row[3]: set[str]() for row in table_of(system, "/etc/passwd")}
    for row in table_of(system, "/etc/passwd"):
        primary[row[3]].add(row[0])
    for row in table_of(system, "/etc/group"):
        found["%" + row[0]] = {one for one in row[3].split(",") if one} | primary.get(row[2], set())
    return found


def table_of(system: System, path: str) -> list[list[str]]:
    """Return the rows of a colon file that have at least four fields; none when it is not there."""
    try:
        text = system.read(path).decode("utf-8", "replace")
    except Missing:
        return []
    return [row for row in (line.split(":") for line in text.splitlines()) if len(row) > 3]


def hosts(system: System, table: Item) -> set[str]:
    """Return what this device is called, now and after a restart; none when sudo asks the network for its name."""
    if any("fqdn" in option for row in table.get("Defaults", []) for option in row.get("Options", [])):
        return set()
    paths = [path for path in ("/proc/sys/kernel/hostname", "/etc/hostname") if there(system, path)]
    found = [system.read(path).decode("ascii", "replace") for path in paths]
    return {name.strip().partition(".")[0].lower() for name in found}


def powerful(rule: Rule) -> bool:
    """Say whether a row makes somebody root: every command, as root or as anybody."""
    return "ALL" in rule.commands and (not rule.runas or bool({"root", "ALL", "#0"} & set(rule.runas)))


def administrators(system: System, found: list[Rule]) -> list[str]:
    """Return who can become root by a password of their own: by sudo, or by being root."""
    members = groups(system)
    shadow = {row[0]: row[1] for row in table_of(system, "/etc/shadow")}
    able = {name for name, secret in shadow.items() if secret[:1] not in {"!", "*"}}
    allowed = {user for rule in found if powerful(rule) for user in rule.users}
    people = {"root"} | allowed | {one for user in allowed for one in members.get(user, set())}
    return sorted(able if "ALL" in people else able & people)
