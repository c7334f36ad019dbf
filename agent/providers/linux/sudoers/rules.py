"""The rules of sudo as `cvtsudoers` tells them: who may run what without a password, and the same rules said again."""

import json
import re
from typing import Any

from agent.core.errors import Failed, Refused
from agent.core.record import Record
from agent.system.door import System

Item = dict[str, Any]
# tag in the listing: how it is written when true, when false
TAGS = {
    "noexec": ("NOEXEC:", "EXEC:"),
    "setenv": ("SETENV:", "NOSETENV:"),
    "send_mail": ("MAIL:", "NOMAIL:"),
    "follow": ("FOLLOW:", "NOFOLLOW:"),
    "log_input": ("LOG_INPUT:", "NOLOG_INPUT:"),
    "log_output": ("LOG_OUTPUT:", "NOLOG_OUTPUT:"),
    "intercept": ("INTERCEPT:", "NOINTERCEPT:"),
}
WITH_VALUE = {"command_timeout": "TIMEOUT", "notbefore": "NOTBEFORE", "notafter": "NOTAFTER", "role": "ROLE"}
PREFIX = {"usergroup": "%", "userid": "#", "usergid": "%#", "netgroup": "+", "nonunixgroup": "%:"}
PLAIN = re.compile(r"(?!ALL$)[A-Za-z][A-Za-z0-9-]*$")  # a host's short name: no pattern, address, group or domain
SPECIAL = frozenset(',:=!()\\"')


class Rule(Record):
    """One row: these users, on these hosts, as these, with these options, may (or may not) run these commands."""

    __slots__ = ("asks", "commands", "groups", "hosts", "options", "runas", "users")
    users: tuple[str, ...]
    hosts: tuple[str, ...]
    runas: tuple[str, ...]
    groups: tuple[str, ...]
    options: tuple[str, ...]
    commands: tuple[str, ...]
    asks: str


def listing(system: System, path: str, text: bytes = b"") -> Item:
    """Return what sudo reads from a file and all it includes, aliases filled in; "-" reads the text."""
    outcome = system.run(("cvtsudoers", "-e", "-f", "json", path), text)
    try:
        table = json.loads(outcome.out) if outcome.code == 0 else None
    except ValueError:
        table = None
    if not isinstance(table, dict):
        raise Failed("cvtsudoers cannot read the rules of sudo; run visudo -c to see where they are wrong")
    return table


def rules(table: Item) -> list[Rule]:
    """Return the rows of a listing in order; of all rows that match a command, sudo obeys the last."""
    found = []
    for spec in table.get("User_Specs", []):
        for row in spec["Cmnd_Specs"]:
            options = {key: value for option in row.get("Options", []) for key, value in option.items()}
            asks = options.pop("authenticate", "")
            found.append(
                Rule(
                    users=spelled(spec["User_List"]),
                    hosts=spelled(spec["Host_List"]),
                    runas=spelled(row.get("runasusers", [])),
                    groups=spelled(row.get("runasgroups", []), plain=True),
                    options=tuple(written(key, value) for key, value in sorted(options.items())),
                    commands=tuple(command(one) for one in row["Commands"]),
                    asks="yes" if asks is True else "no" if asks is False else "",
                )
            )
    return found


def spelled(items: list[Item], plain: bool = False) -> tuple[str, ...]:
    """Spell users, groups or hosts as sudoers does; `plain`: a place where only groups stand, so without the mark."""
    found = []
    for item in items:
        kind, name = next((k, str(v)) for k, v in item.items() if k != "negated")
        mark = {"usergid": "#"}.get(kind, "") if plain else PREFIX.get(kind, "")
        odd = any(c in SPECIAL or c.isspace() for c in name) and kind != "networkaddr"
        found.append(("!" if item.get("negated") else "") + mark + (f'"{name}"' if odd else name))
    return tuple(found)


def written(key: str, value: Any) -> str:
    """Write one option; an unknown one is kept as ?, which no file accepts."""
    if key in TAGS and isinstance(value, bool):
        return TAGS[key][0 if value else 1]
    return f"{WITH_VALUE[key]}={value}" if key in WITH_VALUE else f"?{key}"


def command(item: Item) -> str:
    """Write one command, its special characters escaped."""
    text = str(item.get("command", "?"))
    for special in "\\,:=":
        text = text.replace(special, "\\" + special)
    sums = "".join(f"{key}:{value} " for key, value in item.items() if key.startswith("sha"))
    return ("!" if item.get("negated") else "") + sums + text


def free_by_default(table: Item) -> tuple[bool, list[str]]:
    """Return whether a rule without a tag asks for no password, and the groups that are never asked."""
    free, bound, exempt = False, False, ""
    for row in table.get("Defaults", []):
        for option in row.get("Options", []):
            if "authenticate" in option and "Binding" in row:
                # For one user, host or command, or for all who run as one user; the listing does not tell which.
                bound = bound or option["authenticate"] is False
            elif "authenticate" in option:
                free = option["authenticate"] is False
            elif "exempt_group" in option:
                exempt = str(option["exempt_group"] or "")
    return free or bound, [exempt] if exempt else []


def here(found: list[Rule], hosts: set[str]) -> list[Rule]:
    """Leave out the rows that are surely for other devices: plain names, none of them one of ours."""
    if not hosts:
        return found
    return [rule for rule in found if not all(PLAIN.match(host) and host.lower() not in hosts for host in rule.hosts)]


def without_password(found: list[Rule], untagged: bool, groups: dict[str, set[str]]) -> list[tuple[str, Rule]]:
    """Return `user:command` for all that runs unasked once the last matching row has won, with its row.

    Which row wins is decided where it is certain (the same words, ALL, membership); where it is not, the looser wins.
    """
    free: dict[tuple[str, str, int], Rule] = {}
    for place, rule in enumerate(found):
        for who in rule.users:
            for what in rule.commands:
                for key in [k for k in free if k[2] < place and outdone(k, free[k], rule, who, what, groups)]:
                    del free[key]
                unasked = rule.asks == "no" or (not rule.asks and untagged)
                if unasked and not what.startswith("!") and not who.startswith("!") and who not in {"root", "#0"}:
                    free[who, what, place] = rule
    return [(f"{who}:{what}", rule) for (who, what, _), rule in free.items()]


def outdone(key: tuple[str, str, int], old: Rule, new: Rule, who: str, what: str, groups: dict[str, set[str]]) -> bool:
    """Say whether a later row surely decides in place of an earlier one; one with dates holds on some days only."""
    if any(option.startswith(("NOTBEFORE=", "NOTAFTER=")) for option in new.options):
        return False
    user, old_command, _ = key
    plain = not any(one.startswith("!") for one in new.users)
    same_user = new.users == old.users or (plain and (who in {user, "ALL"} or user in groups.get(who, set())))
    same_command = what.removeprefix("!") in {old_command, "ALL"}
    same_host = new.hosts in {old.hosts, ("ALL",)}
    wide = new.runas == ("ALL",) and (new.groups == ("ALL",) or not old.groups)
    return same_user and same_command and same_host and (wide or (new.runas, new.groups) == (old.runas, old.groups))


def named(rule: Rule) -> set[str]:
    """Return every `user:command` that a row allows."""
    users = [who for who in rule.users if not who.startswith("!") and who not in {"root", "#0"}]
    return {f"{who}:{what}" for who in users for what in rule.commands if not what.startswith("!")}


def untagged(rule: Rule) -> Rule:
    """Return a row without its word on passwords, to compare what it grants."""
    return Rule(**{**{name: getattr(rule, name) for name in Rule.__slots__}, "asks": ""})


def line(rule: Rule, asks: bool) -> str:
    """Write a row again, asking for a password or not."""
    runas = ", ".join(rule.runas) + (" : " + ", ".join(rule.groups) if rule.groups else "")
    tag = "PASSWD:" if asks else "NOPASSWD:"
    implied = "SETENV:" if rule.commands == ("ALL",) else ""
    tags = [option for option in rule.options if "=" not in option and option != implied]
    options = [option for option in rule.options if "=" in option] + [tag, *tags]
    head = f"{', '.join(rule.users)} {', '.join(rule.hosts)} = " + (f"({runas}) " if runas else "")
    return head + " ".join(options) + " " + ", ".join(rule.commands)


def proven(system: System, found: list[Rule]) -> None:
    """Refuse rows that would not mean the same when they are said again."""
    text = "".join(line(rule, asks=True) + "\n" for rule in found).encode()
    try:
        again = rules(listing(system, "-", text))
    except Failed:
        again = []
    if [untagged(rule) for rule in again] != [untagged(rule) for rule in found]:
        raise Refused("a rule of sudo is too special to be said again safely; take its NOPASSWD away with visudo")
