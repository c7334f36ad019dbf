"""Whom this device asks what time it is: each of them learns when and where it is online.

No params. The value is the set of servers of whatever keeps time here (chrony, ntpsec, systemd-timesyncd), in lower
case; `dhcp:…` is one that the router named. Pools count by their name. Told, not undone: a device without time trusts
nothing, and which servers suit it its owner knows. A list is read when its daemon starts or is told; what is kept
counts as live, since a server that was asked once has learnt what there is to learn.
"""

import re
from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import Missing, PrivetError
from agent.core.order import words
from agent.core.record import Params, Value
from agent.system import systemd_conf
from agent.system.door import System
from agent.system.parts import Step
from agent.system.seen import names, text, there
from agent.system.units import started_with

PARAMS: tuple[str, ...] = ()
CHRONY = ("/etc/chrony/chrony.conf", "/etc/chrony.conf")
NTP = ("/etc/ntpsec/ntp.conf", "/etc/ntp.conf")
UNITS = ("chrony.service", "chronyd.service")
WITH_VALUE = ("-f", "-t", "-u", "-L", "-l", "-F", "-P")  # options of chronyd that take a word
SOURCES = ("server", "pool", "peer")
TIMESYNCD = "timesyncd.conf"
PROGRAMS = {
    "/usr/sbin/chronyd": "chrony",
    "/usr/sbin/ntpd": "ntp",
    "/usr/lib/systemd/systemd-timesyncd": "timesyncd",
}
# What Debian builds timesyncd with, asked when nothing else is named.
FALLBACK = tuple(f"{number}.debian.pool.ntp.org" for number in range(4))
BLANK = re.compile(r"[ \t\n\r]+")  # and no other parts two of its servers
LEASES = "/run/systemd/netif/leases"


def probe(system: System, params: Params) -> Reading:
    """Name every server."""
    try:
        here = [kind for path, kind in PROGRAMS.items() if there(system, path)]
        if not here:
            return absent("no program that keeps the time is installed")
        found: list[str] = []
        for kind in here:
            found += {"chrony": chrony, "ntp": ntp, "timesyncd": timesyncd}[kind](system)
    except PrivetError as error:
        return unread(str(error))
    value = words([plain(name) for name in found])
    return seen(value, value)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Change nothing."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where servers are listed."""
    chrony_places = ("/etc/chrony", "/etc/chrony/conf.d", "/etc/chrony/sources.d", "/run/chrony-dhcp")
    systemd = [place for folder in systemd_conf.FOLDERS for place in (folder, f"{folder}/{TIMESYNCD}.d")]
    return (*chrony_places, "/etc/ntpsec", *systemd, "/etc/default")


def plain(name: str) -> str:
    """Return a name as a word."""
    return "".join(letter if letter.isprintable() and letter not in " ," else "_" for letter in name.lower())


def chrony(system: System, path: str = "", depth: int = 0) -> list[str]:
    """Return the sources of chrony's configuration, of all it includes, and of its folders of sources."""
    lines = text(system, path).splitlines() if path else told(system)
    found: list[str] = []
    for row in (line.split() for line in lines):
        if len(row) < 2 or row[0][0] in "#!;%":
            continue
        word = row[0].lower()
        if word in SOURCES:
            found.append(row[1])
        elif word == "refclock":
            found.append(f"clock:{row[1]}")
        elif word in {"include", "confdir"} and depth < 10:
            inner = (
                matching(system, row[1])
                if word == "include"
                else [
                    f"{folder}/{name}" for folder in row[1:] for name in names(system, folder) if name.endswith(".conf")
                ]
            )
            found += [name for one in inner for name in chrony(system, one, depth + 1)]
        elif word == "sourcedir":
            found += [name for folder in row[1:] for name in listed(system, folder)]
    return found


def listed(system: System, folder: str) -> list[str]:
    """Return the sources that the lists of a folder name; those beneath /run are the router's."""
    mark, found = "dhcp:" if folder.startswith("/run/") else "", []
    for name in names(system, folder):
        lines = text(system, f"{folder}/{name}").splitlines() if name.endswith(".sources") else []
        found += [mark + one[1] for one in map(str.split, lines) if len(one) > 1 and one[0].lower() in SOURCES]
    return found


def told(system: System) -> list[str]:
    """Return the lines that chrony starts with: of its file, or of another or none as its unit says."""
    start = next((one for one in CHRONY if there(system, one)), "")
    command = next((row for row in (started_with(system, unit) for unit in UNITS) if row), [])
    said, place = list[str](), 1
    while place < len(command):
        word = command[place]
        if word[:2] in WITH_VALUE:
            value = word[2:] or (command[place + 1] if place + 1 < len(command) else "")
            start = value if word[:2] == "-f" else start
            place += not word[2:]
        elif not word.startswith("-"):
            said.append(word)
        place += 1
    return said or text(system, start).splitlines()


def matching(system: System, pattern: str) -> list[str]:
    """Return the files that a pattern of chrony's names; one without stars names itself."""
    found = [""]
    for part in pattern.strip("/").split("/"):
        if set(part) & set("*?["):
            found = [f"{above}/{name}" for above in found for name in listing(system, above) if fnmatchcase(name, part)]
        else:
            found = [f"{above}/{part}" for above in found]
    return found


def listing(system: System, folder: str) -> tuple[str, ...]:
    """Return the names in a folder; none where it is no folder."""
    try:
        return names(system, folder or "/") if system.stat(folder or "/").kind == "directory" else ()
    except Missing:
        return ()


def ntp(system: System) -> list[str]:
    """Return the servers of ntpsec or ntp, and those that the router named."""
    start = next((one for one in NTP if there(system, one)), "")
    rows = [line.split() for line in text(system, start).splitlines()]
    named = [row[1] for row in rows if len(row) > 1 and row[0].lower() in SOURCES]
    given = [line.split() for line in text(system, "/run/ntpsec/ntp.conf.dhcp").splitlines()]
    return named + [f"dhcp:{row[1]}" for row in given if len(row) > 1 and row[0].lower() in SOURCES]


def timesyncd(system: System) -> list[str]:
    """Return the servers of systemd-timesyncd; without any, those that it was built with."""
    lists: dict[str, list[str]] = {"NTP": [], "FallbackNTP": []}
    usual = True
    read = [text(system, path) for path in systemd_conf.files(system, TIMESYNCD)]
    for key, value in systemd_conf.said(read, "Time"):
        name = "NTP" if key == "Servers" else key  # as it was once called
        if name in lists:
            lists[name] = [*lists[name], *(word for word in BLANK.split(value) if word.isprintable())] if value else []
            usual = usual and (name != "FallbackNTP" or not value)  # an empty one alone leaves those it was built with
    given = [name for one in names(system, LEASES) for name in leased(text(system, f"{LEASES}/{one}"))]
    named = lists["NTP"] + [f"dhcp:{name}" for name in given]
    return named or (list(FALLBACK) if usual else lists["FallbackNTP"])


def leased(content: str) -> list[str]:
    """Return the servers that a lease of systemd-networkd names."""
    return [name for line in content.splitlines() if line.startswith("NTP=") for name in line[4:].split()]
