"""What NetworkManager tells of this device when it joins a network, by its configuration and by each connection's own.

Params: `name` (of our file in conf.d), `keys` ("section key default" each), `ladder` (rungs strictest first, each the
raw values that are equal, joined by commas, blank separated; the first is the one we write and report) and the optional
`own` (keys by which a connection may say otherwise), `needs` ("section key": where that says nothing, the rest does
nothing) and `assigned` ("yes": the kernel shows whether an interface that is up bears the number it was made with).

A connection's own file is never changed: it holds secrets of the owner's; where one of them is looser the finding names
it, and what to type. What a running connection uses changes when it is made anew: at the next start at the latest.
"""

import re
from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, unread
from agent.core.errors import BadInput, PrivetError
from agent.core.order import ANY
from agent.core.plan import Remove, Write
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System
from agent.system.seen import names, there

PARAMS = ("name", "keys", "ladder")
RESTART = True
DAEMON = "/usr/sbin/NetworkManager"
MAIN = "/etc/NetworkManager/NetworkManager.conf"
# In the order in which they count; a file hides those of the same name in the folders before it.
BEFORE, AFTER = ("/usr/lib/NetworkManager/conf.d", "/run/NetworkManager/conf.d"), "/etc/NetworkManager/conf.d"
# What a person at a desktop switches by NetworkManager itself; it has the last word.
STATE = "/var/lib/NetworkManager"
SWITCHED = STATE + "/NetworkManager-intern.conf"
PROFILES = (
    "/etc/NetworkManager/system-connections", "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
)  # fmt: skip
NET = "/sys/class/net"
NOTE = "# Written by Privet. Removing this file gives the setting back to NetworkManager at the next start.\n"

Rows = list[tuple[str, str, str]]

YES, NO = {"yes", "true", "on", "1"}, {"no", "false", "off", "0"}


def probe(system: System, params: Params) -> Reading:
    """Join every key with what single connections say of it."""
    if not there(system, DAEMON):
        return absent("NetworkManager is not installed")
    try:
        kept, cause = value_of(params, values(system, params)), ""
        for name, value in own_words(system, params):
            found = value_of(params, [value])
            if looser(params, found, kept):
                kept, cause = found, f"the connection {name} says so itself; see nmcli connection show {name}"
        if not cause and looser(params, kept, value_of(params, values(system, params, desk=False))):
            cause = f"somebody switched at a desktop what the files keep shut; switch it back there, see {SWITCHED}"
    except PrivetError as error:
        return unread(str(error))
    try:
        live = assigned(system, params) if "assigned" in params else kept
    except PrivetError as error:
        return unread(str(error), kept=kept)
    if not cause and looser(params, live, kept):
        foreign = [name for name in bearing(system) if not connection(system, name)]
        cause = "what is connected now keeps it until it connects anew; restart this device"
        if foreign:
            cause = f"another program than NetworkManager connected {foreign[0]}; let NetworkManager do it"
    return Reading(live=live, kept=kept, cause=cause, absent=False)


def steps(params: Params, option: Value) -> tuple[Write | Remove, ...]:
    """Write our file, which NetworkManager reads last; what a connection says itself it is left to say."""
    if any(not row.startswith("connection ") for row in texts(params, "spared")):
        raise BadInput("a context of a connection is written as: connection NAME")
    raw = {rung.split(",")[0]: rung.split(",")[0] for rung in str(params["ladder"]).split()}[str(option)]
    sections: dict[str, list[str]] = {}
    for row in texts(params, "keys"):
        section, key, _ = row.split()
        sections.setdefault(section, []).append(f"{key}={raw}\n")
    body = NOTE + "".join(f"[{section}]\n{''.join(rows)}" for section, rows in sections.items())
    return (Write(path=own_file(params), content=body.encode(), mode=0o644, uid=0, gid=0),)


def contexts(system: System, params: Params) -> tuple[tuple[str, Value], ...]:
    """Return what is found for each connection by itself, "" for what is for all of them or for one not known."""
    found: dict[str, list[Value]] = {"": [value_of(params, values(system, params))]}
    for name, value in own_words(system, params):
        found.setdefault(f"connection {name}", []).append(value_of(params, [value]))
    for name in bearing(system) if "assigned" in params else []:
        found.setdefault(used_by(system, name), []).append(ladder(params)[-1][0])
    order = [rung[0] for rung in ladder(params)]
    return tuple((context, max(said, key=lambda one: order.index(str(one)))) for context, said in sorted(found.items()))


def used_by(system: System, interface: str) -> str:
    """Return the context of the connection that an interface is up by; "" when that cannot be told."""
    uuid = connection(system, interface)
    for folder in PROFILES if uuid else ():
        for name in names(system, folder):
            said = (board.there(system, f"{folder}/{name}") or b"").decode("utf-8", "replace")
            if ("connection", "uuid", uuid) in rows(said):
                return f"connection {name}"
    return ""


def connection(system: System, interface: str) -> str:
    """Return the number of the connection by which NetworkManager holds an interface, empty when by none."""
    state = read(system, f"/run/NetworkManager/devices/{said(system, f'{NET}/{interface}/ifindex')}")
    return next((value for _, key, value in state if key == "connection-uuid"), "")


def watches(params: Params) -> tuple[str, ...]:
    """Name where its files are."""
    return (*BEFORE, "/etc/NetworkManager", AFTER, STATE, *PROFILES)


def own_file(params: Params) -> str:
    """Return the path of our file."""
    return f"{AFTER}/zz-privet-{texts(params, 'name')[0]}.conf"


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words, empty when it is not given."""
    value = params.get(name, ())
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def rows(text: str) -> Rows:
    """Read a key file: section, key, value; a blank at the end of a value belongs to it."""
    found, section = [], ""
    for raw in text.replace("\r\n", "\n").split("\n"):
        line = raw.lstrip(" \t")
        if line.startswith("["):
            section = line.rstrip(" \t\r").strip("[]")
        elif "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found.append((section, key.strip(" \t"), value.lstrip(" \t").rstrip("\r")))
    return found


def configuration(system: System, *, desk: bool = True, doubtful: bool = True) -> Rows:
    """Return every assignment in the order in which NetworkManager takes it up.

    `desk`: what was switched there too; `doubtful`: also files of which we cannot tell whether it leaves them out.
    """
    before: dict[str, str] = {}
    mine = [name for name in names(system, AFTER) if name.endswith(".conf")]
    for folder in BEFORE:
        before.update({name: f"{folder}/{name}" for name in names(system, folder) if name.endswith(".conf")})
    found = [row for name in sorted(before) if name not in mine for row in counted(system, before[name], doubtful)]
    found += read(system, MAIN)
    found += [row for name in mine for row in counted(system, f"{AFTER}/{name}", doubtful)]
    return [*found, *(switched(read(system, SWITCHED), found) if desk else ())]


def counted(system: System, path: str, doubtful: bool) -> Rows:
    """Return the assignments of a file that may say itself that it does not count."""
    said = read(system, path)
    word = next((value.strip().lower() for *place, value in reversed(said) if place == [".config", "enable"]), "yes")
    if word in YES:
        return said
    specs = [one for one in re.split(r"[,; ]+", word) if one]
    known = all(one.removeprefix("except:").startswith("env:") for one in specs)  # which nothing sets on a device
    if word in NO or (known and any(not one.startswith("except:") for one in specs)):
        return []
    return said if known or doubtful else []


def read(system: System, path: str) -> Rows:
    """Return the assignments of a file, none where it is not there."""
    return rows((board.there(system, path) or b"").decode("utf-8", "replace"))


def switched(said: Rows, found: Rows) -> Rows:
    """Return what somebody at a desktop has switched, as long as the files say what they said then."""
    was = {(section, key[5:]): value for section, key, value in said if key.startswith(".was.")}
    now = {(section, key): value for section, key, value in found}
    rows_set = [(section, key[5:], value) for section, key, value in said if key.startswith(".set.")]
    return [row for row in rows_set if was.get(row[:2]) == now.get(row[:2])]


def values(system: System, params: Params, *, desk: bool = True) -> list[str]:
    """Return what each key comes to: the last one of its own section, and any of a section for some devices only."""
    sure, every = (configuration(system, desk=desk, doubtful=doubtful) for doubtful in (False, True))
    return come_to(system, params, every) + (come_to(system, params, sure) if sure != every else [])


def come_to(system: System, params: Params, found: Rows) -> list[str]:
    """Return what each key comes to by these assignments."""
    devices = interfaces(system)
    if "needs" in params:
        said = [value for place, key, value in found if f"{place} {key}" == params["needs"]]
        if not said or not said[-1]:
            return [ladder(params)[0][0]]
    elsewhere = {place for place, key, value in found if key == "match-device" and not meets(value, devices)}
    wanted = []
    for row in texts(params, "keys"):
        section, key, default = row.split()
        plain = [value for place, name, value in found if (place, name) == (section, key)]
        wanted.append(plain[-1] if plain else default)
        # Every section whose name begins so is one more of the kind, with or without a mark between.
        some = [row for row in found if row[0].startswith(section) and row[0] != section and row[0] not in elsewhere]
        wanted += [value for _, name, value in some if name == key]
    return wanted


def interfaces(system: System) -> list[tuple[str, str]]:
    """Return the network interfaces of this device, each with its driver."""
    found = []
    for name in names(system, NET):
        try:
            driver = system.target(f"{NET}/{name}/device/driver").rpartition("/")[2]
        except PrivetError:  # a piece of software
            driver = ""
        found.append((name, driver))
    return found


def meets(match: str, devices: list[tuple[str, str]]) -> bool:
    """Say whether a section may be for one of these; Debian ships one for some drivers that cannot change numbers."""
    for word in match.replace(";", ",").split(","):
        kind, _, value = word.strip().partition(":")
        if kind == "driver" and not any(fnmatchcase(driver, value.partition("/")[0]) for _, driver in devices):
            continue
        if kind == "interface-name" and not any(fnmatchcase(name, value.lstrip("=~")) for name, _ in devices):
            continue
        if word.strip():
            return True
    return False


def own_words(system: System, params: Params) -> list[tuple[str, str]]:
    """Return what connections say themselves, each with its name."""
    found = []
    for folder in PROFILES:
        for name in names(system, folder):
            if name.startswith(".") or name.endswith("~"):
                continue
            text = (board.there(system, f"{folder}/{name}") or b"").decode("utf-8", "replace")
            found += [(name, value) for _, key, value in rows(text) if value and key in texts(params, "own")]
    return found


def ladder(params: Params) -> list[list[str]]:
    """Return the rungs, strictest first, each a list of equal raw values."""
    return [rung.split(",") for rung in str(params["ladder"]).split()]


def value_of(params: Params, found: list[str]) -> Value:
    """Return the loosest rung; a value on none of them (a number of somebody's choice) is as loose as the last."""
    rungs = ladder(params)
    places = [next((n for n, rung in enumerate(rungs) if value in rung), len(rungs) - 1) for value in found]
    return rungs[max(places, default=0)][0]


def looser(params: Params, one: Value, other: Value) -> bool:
    """Say whether a value stands further down than another."""
    order = [rung[0] for rung in ladder(params)]
    return one == ANY or order.index(str(one)) > order.index(str(other))


def assigned(system: System, params: Params) -> Value:
    """Say whether a piece of hardware that is up bears the number it was made with."""
    return ladder(params)[-1 if bearing(system) else 0][0]


def bearing(system: System) -> list[str]:
    """Return the pieces of hardware that are up and bear the number they were made with."""
    found = []
    for name in names(system, NET):
        up = said(system, f"{NET}/{name}/operstate") == "up" and there(system, f"{NET}/{name}/device")
        if up and made_with(system, name):
            found.append(name)
    return found


def made_with(system: System, name: str) -> bool:
    """Say whether an interface bears the number it was made with.

    The kernel calls that 0 only as long as nobody has set a number: NetworkManager sets each, the first one again too.
    What it was made with, a Wi-Fi card says itself, and udev noted of any other before somebody set another.
    """
    if said(system, f"{NET}/{name}/addr_assign_type") == "0":
        return True
    address = said(system, f"{NET}/{name}/address")
    noted = said(system, f"/run/udev/data/n{said(system, f'{NET}/{name}/ifindex')}").splitlines()
    numbers = [row[-12:] for row in noted if row.startswith("E:ID_NET_NAME_MAC=")]
    card = said(system, f"{NET}/{name}/phy80211/addresses").replace(":", "").split()
    return bool(address) and address.replace(":", "") in {*numbers, *card}


def said(system: System, path: str) -> str:
    """Return what a small file says, empty when it is not there."""
    return (board.there(system, path) or b"").decode("utf-8", "replace").strip()
