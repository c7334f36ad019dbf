"""Whom this device asks what time it is: each of them learns when and where it is online.

No params. The value is the set of servers of whatever keeps time here (chrony, ntpsec, systemd-timesyncd), in lower
case; `dhcp:…` is one that the router named. Pools count by their name. Told, not undone: a device without time trusts
nothing, and which servers suit it its owner knows. A list is read when its daemon starts or is told; what is kept
counts as live, since a server that was asked once has learnt what there is to learn.
"""

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import PrivetError
from agent.core.order import words
from agent.core.record import Params, Value
from agent.system import conf
from agent.system.door import System
from agent.system.parts import Step
from agent.system.seen import names, text, there

PARAMS: tuple[str, ...] = ()
CHRONY = ("/etc/chrony/chrony.conf", "/etc/chrony.conf")
NTP = ("/etc/ntpsec/ntp.conf", "/etc/ntp.conf")
SOURCES = ("server", "pool", "peer")
TIMESYNCD = "systemd/timesyncd.conf"
PLACES = ("/usr/lib", "/usr/local/lib", "/run", "/etc")  # lowest first
PROGRAMS = {
    "/usr/sbin/chronyd": "chrony",
    "/usr/sbin/ntpd": "ntp",
    "/usr/lib/systemd/systemd-timesyncd": "timesyncd",
}
# What Debian builds timesyncd with, asked when nothing else is named.
FALLBACK = tuple(f"{number}.debian.pool.ntp.org" for number in range(4))
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
    return (*chrony_places, "/etc/ntpsec", "/etc/systemd")


def plain(name: str) -> str:
    """Return a name as a word."""
    return "".join(letter if letter.isprintable() and letter not in " ," else "_" for letter in name.lower())


def chrony(system: System, path: str = "", depth: int = 0) -> list[str]:
    """Return the sources of chrony's configuration, of all it includes, and of its folders of sources."""
    start = path or next((one for one in CHRONY if there(system, one)), "")
    found: list[str] = []
    for row in (line.split() for line in text(system, start).splitlines()):
        if len(row) < 2 or row[0][0] in "#!;%":
            continue
        word = row[0].lower()
        if word in SOURCES:
            found.append(row[1])
        elif word == "refclock":
            found.append(f"clock:{row[1]}")
        elif word == "include" and depth < 10:
            found += chrony(system, row[1], depth + 1)
        elif word == "confdir" and depth < 10:
            for folder in row[1:]:
                for name in names(system, folder):
                    found += chrony(system, f"{folder}/{name}", depth + 1) if name.endswith(".conf") else []
        elif word == "sourcedir":
            for folder in row[1:]:
                mark = "dhcp:" if folder.startswith("/run/") else ""
                for name in names(system, folder):
                    lines = text(system, f"{folder}/{name}").splitlines() if name.endswith(".sources") else []
                    rows = [line.split() for line in lines]
                    found += [mark + one[1] for one in rows if len(one) > 1 and one[0].lower() in SOURCES]
    return found


def ntp(system: System) -> list[str]:
    """Return the servers of ntpsec or ntp, and those that the router named."""
    start = next((one for one in NTP if there(system, one)), "")
    rows = [line.split() for line in text(system, start).splitlines()]
    named = [row[1] for row in rows if len(row) > 1 and row[0].lower() in SOURCES]
    given = [line.split() for line in text(system, "/run/ntpsec/ntp.conf.dhcp").splitlines()]
    return named + [f"dhcp:{row[1]}" for row in given if len(row) > 1 and row[0].lower() in SOURCES]


def timesyncd(system: System) -> list[str]:
    """Return the servers of systemd-timesyncd; without any, those that it was built with."""
    chosen: dict[str, str] = {}
    for place in PLACES:
        chosen.update({name: f"{place}/{TIMESYNCD}.d/{name}" for name in names(system, f"{place}/{TIMESYNCD}.d")})
    main = [f"{place}/{TIMESYNCD}" for place in reversed(PLACES) if there(system, f"{place}/{TIMESYNCD}")][:1]
    lists: dict[str, list[str]] = {"NTP": [], "FallbackNTP": []}
    usual = True
    for path in (*main, *(chosen[name] for name in sorted(chosen) if name.endswith(".conf"))):
        for section, key, value in conf.pairs(text(system, path)):
            if section == "Time" and key in lists:
                lists[key] = [*lists[key], *value.split()] if value else []
                usual = usual and key != "FallbackNTP"
    given = [name for one in names(system, LEASES) for name in leased(text(system, f"{LEASES}/{one}"))]
    named = lists["NTP"] + [f"dhcp:{name}" for name in given]
    return named or (list(FALLBACK) if usual else lists["FallbackNTP"])


def leased(content: str) -> list[str]:
    """Return the servers that a lease of systemd-networkd names."""
    return [name for line in content.splitlines() if line.startswith("NTP=") for name in line[4:].split()]
