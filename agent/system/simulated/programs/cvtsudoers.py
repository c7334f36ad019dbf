"""sudo's reader: sudoers with includes and aliases, told as JSON in the layout of cvtsudoers 1.9.13 (`-e -f json`).

Understood: user rules with runas, dates, tags and lists of commands, all kinds of alias, Defaults with their bindings,
@include and @includedir. Anything else is a syntax error, as far as this device goes.
"""

import json
import re
from typing import TYPE_CHECKING, Any

from agent.core.errors import Missing, PrivetError
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

Item = dict[str, Any]
STOCK = b"""Defaults\tenv_reset
Defaults\tmail_badpass
root\tALL=(ALL:ALL) ALL
%sudo\tALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
TAGS = {"PASSWD": "authenticate", "EXEC": "noexec", "SETENV": "setenv", "LOG_INPUT": "log_input", "FOLLOW": "follow"}
BINDINGS = {":": "username", "@": "hostname", "!": "command", ">": "username"}


def install(device: "SimulatedSystem") -> None:
    """Lay down what Debian's package sudo brings."""
    device.edit("/usr/bin/sudo", b"", mode=0o4755)
    device.edit("/etc/sudoers", STOCK, mode=0o440)
    device.hand.directory("/etc/sudoers.d", 0o755)
    device.edit("/etc/sudoers.d/README", b"# files here are read, except those with a dot in their name\n", mode=0o440)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Print the rules of a file, or of the input for `-`."""
    reader = Sudoers(device)
    try:
        if argv[-1] == "-":
            reader.text(stdin.decode(), 0)
        else:
            reader.file(argv[-1])
    except (PrivetError, ValueError) as error:
        return Outcome(code=1, out=b"", err=f"{argv[-1]}: syntax error: {error}\n".encode())
    return Outcome(code=0, out=json.dumps(reader.told(), indent=4).encode(), err=b"")


class Sudoers:
    """What sudo has read so far."""

    def __init__(self, device: "SimulatedSystem") -> None:
        self.device = device
        self.aliases: dict[str, list[str]] = {}
        self.defaults: list[Item] = []
        self.rows: list[tuple[list[str], str, str]] = []

    def file(self, path: str, depth: int = 0) -> None:
        """Read a file and all it includes."""
        self.text(self.device.read(path).decode(), depth)

    def text(self, text: str, depth: int) -> None:
        """Read lines."""
        if depth > 16:
            raise ValueError("too many levels of includes")
        for raw in text.replace("\\\n", " ").splitlines():
            line = raw.strip()
            if re.match(r"[@#]includedir\s", line):
                self.folder(line.split(None, 1)[1], depth)
            elif re.match(r"[@#]include\s", line):
                self.file(line.split(None, 1)[1], depth + 1)
            elif line and not re.match(r"#(?!\d)", line):
                self.line(line)

    def folder(self, path: str, depth: int) -> None:
        """Read each file of a directory, except those with a dot in the name or a ~ at its end."""
        try:
            names = self.device.entries(path)
        except Missing:
            return
        for name in names:
            if "." not in name and not name.endswith("~"):
                self.file(f"{path}/{name}", depth + 1)

    def line(self, line: str) -> None:
        """Take in one line."""
        if line.startswith("Defaults"):
            self.default(line[len("Defaults") :])
            return
        alias = re.match(r"(?:User|Runas|Host|Cmnd)_Alias\s+(\w+)\s*=\s*(.+)", line)
        if alias:
            self.aliases[alias[1]] = split(alias[2], ",")
            return
        rule = re.match(r"((?:\"[^\"]*\"|[^\s=,]+)(?:\s*,\s*(?:\"[^\"]*\"|[^\s=,]+))*)\s+([^=]+?)\s*=\s*(.+)", line)
        if not rule:
            raise ValueError(f"near {line!r}")
        self.rows.append((split(rule[1], ","), rule[2], rule[3]))

    def default(self, rest: str) -> None:
        """Take in one Defaults line."""
        row: Item = {}
        if rest and rest[0] in BINDINGS:
            who, _, rest = rest[1:].partition(" ")
            row["Binding"] = [{BINDINGS[":"] if who[0].isalpha() else "command": who}]
        options: list[Item] = []
        for word in split(rest, ","):
            name, equals, value = word.lstrip("!").partition("=")
            options.append({name.strip(): value.strip().strip('"') if equals else not word.startswith("!")})
        row["Options"] = options
        self.defaults.append(row)

    def filled(self, words: list[str]) -> list[str]:
        """Replace aliases by what they stand for."""
        found: list[str] = []
        for word in words:
            plain = word.lstrip("!")
            mark = word[: len(word) - len(plain)]
            found += [mark + one for one in self.filled(self.aliases[plain])] if plain in self.aliases else [word]
        return found

    def told(self) -> Item:
        """Return everything in cvtsudoers' layout."""
        specs = []
        for users, hosts, rest in self.rows:
            spec = {"User_List": [user_item(user) for user in self.filled(users)]}
            spec["Host_List"] = [named("hostname", host) for host in self.filled(split(hosts, ","))]
            spec["Cmnd_Specs"] = self.commands(rest)
            specs.append(spec)
        return {"Defaults": self.defaults, "User_Specs": specs}

    def commands(self, rest: str) -> list[Item]:
        """Return the commands of one rule, grouped while runas and options stay the same."""
        rows: list[Item] = []
        runas: Item = {}
        tags: dict[str, bool | str] = {}
        for word in split(rest, ","):
            text = word
            found = re.match(r"\(([^:)]*):?([^)]*)\)\s*", text)
            if found:
                text = text[found.end() :]
                runas = {"runasusers": [user_item(u) for u in split(found[1], ",")]}
                runas |= {"runasgroups": [{"usergroup": g} for g in split(found[2], ",")]} if found[2].strip() else {}
            while date := re.match(r"(NOTBEFORE|NOTAFTER)=(\w+)\s+", text):
                tags[date[1].lower()] = date[2]
                text = text[date.end() :]
            while tag := re.match(r"(NO)?(PASSWD|EXEC|SETENV|LOG_INPUT|FOLLOW):\s*", text):
                tags[TAGS[tag[2]]] = (tag[1] is None) != (tag[2] == "EXEC")
                text = text[tag.end() :]
            for one in self.filled([text]):
                options = tags | ({"setenv": tags.get("setenv", True)} if one == "ALL" else {})
                row = {**runas, **({"Options": [{k: v} for k, v in options.items()]} if options else {})}
                if not rows or {key: rows[-1][key] for key in rows[-1] if key != "Commands"} != row:
                    rows.append({**row, "Commands": []})
                rows[-1]["Commands"].append(named("command", re.sub(r"\\(.)", r"\1", one)))
        return rows


def split(text: str, mark: str) -> list[str]:
    """Split at a mark that is not escaped, quoted or within parentheses; blanks around the parts are dropped."""
    found, part, depth, quoted = [], "", 0, False
    for place, letter in enumerate(text):
        quoted ^= letter == '"'
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == mark and not depth and not quoted and text[place - 1] != "\\":
            found.append(part.strip())
            part = ""
        else:
            part += letter
    return [one for one in [*found, part.strip()] if one]


def named(kind: str, word: str) -> Item:
    """Return one item, with its negation."""
    plain = word.lstrip("!").strip('"') if kind != "command" else word.lstrip("!")
    return {kind: plain, **({"negated": True} if word.startswith("!") else {})}


def user_item(word: str) -> Item:
    """Return one user or group."""
    plain = word.lstrip("!")
    for mark, kind in (("%#", "usergid"), ("%", "usergroup"), ("#", "userid"), ("+", "netgroup")):
        if plain.startswith(mark):
            item = named(kind, word.replace(mark, "", 1))
            return {**item, kind: int(item[kind])} if kind in {"usergid", "userid"} else item
    return named("username", word)
