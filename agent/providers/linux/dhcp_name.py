"""Which programs tell their name for this device to whatever gives out addresses on a network.

No params. Words: `NetworkManager` (as soon as one connection that asks for an address does), `dhclient`, `dhcpcd`,
`networkd` (as soon as one of the files by which systemd-networkd sets up links does).

NetworkManager of Debian 12 knows no default for all connections, so nmcli changes each one: their files hold secrets,
which we do not copy. In the files of dhclient and dhcpcd the line is made a remark of ours, and all else stays. A
program that runs goes by what it read at its start; until the next one live is not known.

Prepared: `connections` (those of NetworkManager that tell) and `silent` (those that do not), by their numbers;
`networks` (files of systemd-networkd), `dhclient` and `dhcpcd` (their files as they are).
"""

from itertools import pairwise

from agent.core.assess import Reading, absent, unread
from agent.core.errors import BadInput, Missing, PrivetError
from agent.core.order import words
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.system import conf
from agent.system.door import System
from agent.system.seen import names, text, there

PARAMS: tuple[str, ...] = ()
RESTART = True
NM, DHCLIENT, DHCPCD, NETWORKD = "NetworkManager", "dhclient", "dhcpcd", "networkd"
PROGRAMS = {NM: "/usr/sbin/NetworkManager", DHCLIENT: "/usr/sbin/dhclient", DHCPCD: "/usr/sbin/dhcpcd"}
ENABLED = ("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "/run/systemd/netif/state")
FILES = {DHCLIENT: "/etc/dhcp/dhclient.conf", DHCPCD: "/etc/dhcpcd.conf"}
USUAL = {DHCLIENT: "send host-name = gethostname();", DHCPCD: "hostname"}
REMARK = "# Privet: "
PROFILES = ("/etc/NetworkManager/system-connections", "/run/NetworkManager/system-connections")
NETWORKS = tuple(
    f"{place}/systemd/network" for place in ("/etc", "/run", "/usr/local/lib", "/usr/lib")
)  # highest first
OWN = "zz-privet-dhcp-name.conf"
ASKS = {"", "auto", "dhcp"}  # methods by which a connection asks for an address
NO = {"no", "false", "off", "0", "n", "f"}
# What is written when a program starts.
UNITS = "/run/systemd/units/invocation:"
STARTS = {
    NM: (f"{UNITS}NetworkManager.service",),
    DHCPCD: ("/run/dhcpcd/pid", "/run/dhcpcd.pid", f"{UNITS}dhcpcd.service"),
    NETWORKD: (f"{UNITS}systemd-networkd.service",),
}


def probe(system: System, params: Params) -> Reading:
    """Name the programs that tell."""
    try:
        here = [name for name, path in PROGRAMS.items() if there(system, path)]
        here += [NETWORKD] if any(there(system, path) for path in ENABLED) else []
        if not here:
            return absent("nothing here asks a network for an address")
        kept = words([name for name in here if tells(system, name)])
        late = [name for name in here if newest(system, name) > started(system, name)]
    except PrivetError as error:
        return unread(str(error))
    if late:
        return unread(f"{late[0]} runs and has not read its files anew; restart this device", kept=kept)
    return Reading(live=kept, kept=kept, cause="", absent=False)


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device."""
    made: Params = {**params, "networks": tuple(networks(system)), **asking(system)}
    for name, path in FILES.items():
        if there(system, PROGRAMS[name]):
            made[name] = text(system, path)
    return made


def steps(params: Params, option: Value) -> tuple[Write | Remove | Run, ...]:
    """Silence every program that the value does not name, and let those tell that it does."""
    if "networks" not in params:
        raise BadInput("this device was not looked at first; run privet enforce again")
    wanted = option if isinstance(option, tuple) else ()
    made: list[Write | Remove | Run] = []
    for name, path in FILES.items():
        before = str(params.get(name, ""))
        after = changed(before, name, name in wanted)
        if name in params and after != before:
            made.append(Write(path=path, content=after.encode("utf-8", "surrogateescape"), mode=0o644, uid=0, gid=0))
    body = "# Written by Privet.\n[DHCPv4]\nSendHostname=no\n[DHCPv6]\nSendHostname=no\n"
    for name in listed(params, "networks"):
        path = f"{NETWORKS[0]}/{name}.d/{OWN}"
        write = Write(path=path, content=body.encode(), mode=0o644, uid=0, gid=0)
        made.append(Remove(path=path) if NETWORKD in wanted else write)
    some = listed(params, "connections")
    word, numbers = ("no", some) if NM not in wanted else ("yes", () if some else listed(params, "silent"))
    for name in numbers:
        said = ("ipv4.dhcp-send-hostname", word, "ipv6.dhcp-send-hostname", word)
        made.append(Run(argv=("nmcli", "connection", "modify", "uuid", name, *said), stdin=b""))
    return tuple(made)


def watches(params: Params) -> tuple[str, ...]:
    """Name where it is said, and where systemd notes that a unit has started."""
    return ("/etc", "/etc/dhcp", *NETWORKS, *PROFILES, "/run/systemd/units")


def listed(params: Params, name: str) -> tuple[str, ...]:
    """Return a parameter as words."""
    value = params[name]
    return value if isinstance(value, tuple) else (str(value),)


def tells(system: System, name: str) -> bool:
    """Say whether a program tells the name of this device."""
    if name == NM:
        return bool(asking(system)["connections"])
    if name == NETWORKD:
        return any(not quiet(system, paths) for paths in networks(system).values())
    return any(says(line, name) for line in text(system, FILES[name]).splitlines())


def says(line: str, name: str) -> bool:
    """Say whether a line of dhclient's or dhcpcd's file makes it tell."""
    said = line.partition("#")[0].replace("=", " ").replace(";", " ").split()
    if name == DHCPCD:
        return said[:1] == ["hostname"]
    after = {word for before, word in pairwise(said) if before == "send"}
    return bool(after & {"host-name", "fqdn.fqdn"})


def changed(content: str, name: str, wanted: bool) -> str:
    """Return a file that tells or does not; where it is as wanted, it stays as it is."""
    lines = content.splitlines()
    if wanted == any(says(line, name) for line in lines):
        return content
    if not wanted:
        return "".join(f"{REMARK}{line}\n" if says(line, name) else f"{line}\n" for line in lines)
    ours = any(line.startswith(REMARK) for line in lines)
    return "".join(f"{line.removeprefix(REMARK)}\n" for line in lines) + ("" if ours else f"{USUAL[name]}\n")


def asking(system: System) -> dict[str, tuple[str, ...]]:
    """Return the numbers of NetworkManager's connections that ask for an address: those that tell, and the others."""
    found: dict[str, list[str]] = {"connections": [], "silent": []}
    for path in profiles(system):
        content = text(system, path)
        number = conf.value(content, "connection", "uuid") or path.rpartition("/")[2]
        asks = [family for family in ("ipv4", "ipv6") if (conf.value(content, family, "method") or "") in ASKS]
        said = [conf.value(content, family, "dhcp-send-hostname") or "yes" for family in asks]
        if asks:
            found["silent" if all(word.lower() in NO for word in said) else "connections"].append(number)
    return {name: tuple(numbers) for name, numbers in found.items()}


def profiles(system: System) -> list[str]:
    """Return the paths of NetworkManager's connections."""
    folders = PROFILES if there(system, PROGRAMS[NM]) else ()
    found = [f"{folder}/{name}" for folder in folders for name in names(system, folder)]
    return [path for path in found if not path.rpartition("/")[2].startswith(".") and not path.endswith("~")]


def networks(system: System) -> dict[str, list[str]]:
    """Return the files by which systemd-networkd sets up links, each with its drop-ins; none where it is off."""
    found: dict[str, list[str]] = {}
    for place in NETWORKS if any(there(system, path) for path in ENABLED) else ():
        for name in names(system, place):
            if name.endswith(".network") and name not in found:
                found[name] = [f"{place}/{name}"]
    for name, paths in found.items():
        extra: dict[str, str] = {}
        for place in NETWORKS:
            for one in names(system, f"{place}/{name}.d"):
                if one.endswith(".conf"):
                    extra.setdefault(one, f"{place}/{name}.d/{one}")
        paths += [extra[one] for one in sorted(extra)]
    return found


def quiet(system: System, paths: list[str]) -> bool:
    """Say whether the last word on a link is not to tell; an empty file sets up nothing."""
    said = {"4": "yes", "6": ""}
    for path in paths:
        for section, key, value in conf.pairs(masked(system, path)):
            if key == "SendHostname" and section in {"DHCP", "DHCPv4", "DHCPv6"}:
                said["6" if section == "DHCPv6" else "4"] = value.lower() or "yes"
    return not masked(system, paths[0]).strip() or (said["4"] in NO and said["6"] in {"", *NO})


def masked(system: System, path: str) -> str:
    """Return the text of a file, none of one that a link to /dev/null masks."""
    try:
        mask = system.stat(path).kind == "link" and system.target(path) == "/dev/null"
    except Missing:
        return ""
    return "" if mask else text(system, path)


def newest(system: System, name: str) -> int:
    """Return when the last of a program's files changed (ns)."""
    paths = {NM: profiles(system), NETWORKD: [path for paths in networks(system).values() for path in paths]}
    stamps = [system.stat(path).changed for path in paths.get(name, [FILES.get(name, "")]) if there(system, path)]
    return max(stamps, default=0)


def started(system: System, name: str) -> int:
    """Return when a running program started (ns); the end of time for one that does not run."""
    marks = list(STARTS.get(name, ()))
    if name == DHCLIENT:
        marks = [f"/run/{one}" for one in names(system, "/run") if one.startswith("dhclient") and one.endswith(".pid")]
    stamps = [system.stat(mark).changed for mark in marks if there(system, mark)]
    return min(stamps, default=1 << 63)
