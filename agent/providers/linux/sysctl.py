"""Kernel values under /proc/sys: what the kernel uses now, and what systemd-sysctl will set at the next start.

Params: `name` (file name part of our own drop-in), `keys` (paths below /proc/sys, `*` stands for each network
interface), `words` (raw values strictest first, blank separated; synonyms of one rung are joined by commas, the first
is the one we write and report), and the optional `without` (interfaces that do not count, for example lo).

`link_option` and `link_words` are for a value that systemd-networkd sets anew on each link it sets up, whatever sysctl
said before: the name in the [Network] section, and its words in the order of `words`. Each of its files counts, also
one that no link has now; one that does not say it stands for the loosest. Every such file gets a drop-in of ours. It
is not asked to read them now: that sets up each link anew and drops addresses in use, and the kernel has the value.

Prepared: `found`, the keys of this device with `*` filled in, and `networks`, the files of systemd-networkd. An
explicit line elsewhere beats our `*` line, so steps name each of them besides the `*`.
"""

from agent.core.assess import Reading, absent, unread
from agent.core.errors import BadInput, Missing, PrivetError
from agent.core.order import ANY
from agent.core.plan import Run, Write
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.ini import assignments
from agent.system.seen import names, text, there
from agent.system.sysctl_files import DIRECTORIES, after_start, lines

PARAMS = ("name", "keys", "words")
ROOT = "/proc/sys/"
# Highest first (systemd.network(5)); a drop-in directory has the whole name of the file it belongs to.
NETWORKS = (
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
)
NETWORKD = ("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "/run/systemd/netif/state")
FROM_SYSCTL = "kernel"  # the word by which systemd-networkd leaves the value alone
BOOLEAN = dict.fromkeys(("1", "y", "t", "yes", "true", "on"), "yes")
BOOLEAN.update(dict.fromkeys(("0", "n", "f", "no", "false", "off"), "no"))


def probe(system: System, params: Params) -> Reading:
    """Join the values of all keys, running and after the next start; absent when this kernel has none of them."""
    try:
        found = keys(system, params)
        if not found:
            return absent("this kernel does not offer " + " or ".join(texts(params, "keys")))
        live = worst(ladder(params), [system.read(ROOT + key).decode("ascii", "replace").strip() for key in found])
    except PrivetError as error:
        return unread(str(error))
    try:
        read = lines(system)
        coming = {key: after_start(read, key) for key in found}
        linked = by_networkd(system, params)
    except PrivetError as error:
        return unread(str(error), live=live)
    rungs = ladder(params)
    kept = worst(rungs, [*(value for value in coming.values() if value is not None), *linked])
    silent = [key for key, value in coming.items() if value is None]
    if silent and kept not in {ANY, rungs[-1][0]}:  # what is as loose as can be stays so, whatever the others are
        return unread(f"no file sets {silent[0]}, so its value after a restart is up to the kernel", live=live)
    return Reading(live=live, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[Write | Run, ...]:
    """Write our drop-in, named to sort after all others, and load its lines, whether or not the disk took them."""
    named = [*texts(params, "found"), *texts(params, "keys")] if "found" in params else texts(params, "keys")
    body = "# Written by Privet. Removing this file gives the setting back to the system at the next start.\n"
    path, word = drop_in(params), str(option)
    spared = excepted(params)
    for key in sorted(dict.fromkeys(named), key=lambda one: interface(params, one) in spared):  # those come last
        body += f"{key} = {spared.get(interface(params, key), word)}\n"
    return (
        Write(path=path, content=body.encode(), mode=0o644, uid=0, gid=0),
        *(drop_in_of(params, name, word) for name in (texts(params, "networks") if "networks" in params else [])),
        Run(argv=("sysctl", "-q", "-p", "-"), stdin=body.encode()),
    )


def contexts(system: System, params: Params) -> tuple[tuple[str, Value], ...]:
    """Return what is found for each interface by itself, "" for what is for all of them."""
    rungs, read, found = ladder(params), lines(system), dict[str, list[str]]()
    for key in keys(system, params):
        values = [system.read(ROOT + key).decode("ascii", "replace").strip(), after_start(read, key) or rungs[-1][0]]
        found.setdefault(interface(params, key), []).extend(values)
    found.setdefault("", []).extend(by_networkd(system, params))
    return tuple((context, worst(rungs, values)) for context, values in sorted(found.items()))


def interface(params: Params, key: str) -> str:
    """Return the context of a key: `interface NAME`, "" for one that is not of an interface, or of all to come."""
    for pattern in texts(params, "keys"):
        head, star, tail = pattern.partition("/*/")
        name = key.removeprefix(head + "/").removesuffix("/" + tail)
        if star and key == f"{head}/{name}/{tail}" and name not in {"*", "all", "default"}:
            return f"interface {name}"
    return ""


def excepted(params: Params) -> dict[str, str]:
    """Return what the interfaces may have that there is leave for."""
    rows = texts(params, "spared") if "spared" in params else []
    if any(not row.startswith("interface ") for row in rows):
        raise BadInput("a context of a network value is written as: interface NAME")
    return dict(row.partition("\t")[::2] for row in rows)


def watches(params: Params) -> tuple[str, ...]:
    """Name the directories with drop-ins, and /etc for sysctl.conf (the kernel sends no news of its values)."""
    return (*DIRECTORIES, "/etc", *(NETWORKS if "link_option" in params else ()))


def prepare(system: System, params: Params) -> Params:
    """Add the keys that this device has right now, and the files of systemd-networkd."""
    return {**params, "found": tuple(keys(system, params)), "networks": tuple(networks(system, params))}


def drop_in(params: Params) -> str:
    """Return the path of our own file; letters sort after the digits that others start with."""
    return "/etc/sysctl.d/zz-privet-" + str(params["name"]) + ".conf"


def drop_in_of(params: Params, name: str, word: str) -> Write:
    """Make our own drop-in for one file of systemd-networkd."""
    spelt = dict(zip([rung[0] for rung in ladder(params)], str(params["link_words"]).split(), strict=True))
    said = spelt.get(word, spelt[ladder(params)[-1][0]])
    text = "# Written by Privet.\n[Network]\n" + str(params["link_option"]) + "=" + said + "\n"
    path = NETWORKS[0] + "/" + name + ".d/zz-privet-" + str(params["name"]) + ".conf"
    return Write(path=path, content=text.encode(), mode=0o644, uid=0, gid=0)


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words."""
    value = params[name]
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def ladder(params: Params) -> list[list[str]]:
    """Return the rungs, strictest first, each a list of equal raw values."""
    return [rung.split(",") for rung in str(params["words"]).split()]


def worst(rungs: list[list[str]], values: list[str]) -> Value:
    """Return the loosest value, ANY when one is on no rung."""
    places = [0]
    for value in values:
        place = [number for number, rung in enumerate(rungs) if value in rung]
        if not place:
            return ANY
        places.append(place[0])
    return rungs[max(places)][0]


def keys(system: System, params: Params) -> list[str]:
    """Return the keys that exist, with `*` replaced by every interface that counts."""
    found = []
    without = texts(params, "without") if "without" in params else []
    for key in texts(params, "keys"):
        head, star, tail = key.partition("/*/")
        try:
            names = [name for name in system.entries(ROOT + head) if name not in without] if star else [""]
        except Missing:
            continue
        for name in names:
            full = f"{head}/{name}/{tail}" if star else key
            try:
                system.stat(ROOT + full)
            except Missing:
                continue
            found.append(full)
    return found


def networks(system: System, params: Params) -> dict[str, list[str]]:
    """Return the files by which systemd-networkd sets up links, with their drop-ins in order; none where it is off."""
    if "link_option" not in params or not any(there(system, path) for path in NETWORKD):
        return {}
    found: dict[str, list[str]] = {}
    for directory in NETWORKS:
        for name in names(system, directory):
            if name.endswith(".network") and name not in found:
                found[name] = [f"{directory}/{name}"] if text(system, f"{directory}/{name}").strip() else []
    for name, paths in found.items():
        extra: dict[str, str] = {}
        for directory in NETWORKS if paths else ():
            for one in names(system, f"{directory}/{name}.d"):
                if one.endswith(".conf"):
                    extra.setdefault(one, f"{directory}/{name}.d/{one}")
        paths += [extra[one] for one in sorted(extra)]
    return {name: paths for name, paths in sorted(found.items()) if paths}


def by_networkd(system: System, params: Params) -> list[str]:
    """Return the values that systemd-networkd will set; the loosest for a file that is silent or not understood."""
    rungs = [rung[0] for rung in ladder(params)]
    found = []
    for paths in networks(system, params).values():
        said = ""
        for path in paths:
            said = option_in(text(system, path), str(params["link_option"]), said)
        word = BOOLEAN.get(said.lower(), said)
        if word != FROM_SYSCTL:
            known = dict(zip(str(params["link_words"]).split(), rungs, strict=True))
            found.append(known.get(word, rungs[-1]))
    return found


def option_in(said: str, option: str, before: str) -> str:
    """Return what one file says of an option in [Network]: the last line counts, else what was said before."""
    for key, value in assignments(said, "Network"):
        before = value if key == option else before
    return before
