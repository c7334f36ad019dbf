"""Who sees this device by Bluetooth, and who may pair with it.

No params. `hidden`, `pairable` (whoever knows its number may ask), `visible` (found by everybody near, until a time is
over), `lasting` (found for good). Live is what bluetoothd says of every adapter; one that does not run shows nothing,
unless it broke off.
Kept is what it takes up at its start: main.conf, and what it noted of each adapter.

While it runs it is told, and writes down what it was told itself; else its notes are changed where they lie.

Prepared: `adapters` ("path discoverable pairable" of each, as it is now), `main` and `notes` (path and text, in turn).
"""

import json
from typing import Any

from agent.core.assess import Reading, absent, unread
from agent.core.errors import BadInput, Failed, PrivetError
from agent.core.plan import Run, Write
from agent.core.record import Params, Value
from agent.system import conf
from agent.system.door import System
from agent.system.seen import names, text, there

PARAMS: tuple[str, ...] = ()
DAEMONS = ("/usr/libexec/bluetooth/bluetoothd", "/usr/lib/bluetooth/bluetoothd")
MAIN, NOTES = "/etc/bluetooth/main.conf", "/var/lib/bluetooth"
ADAPTER = "org.bluez.Adapter1"
ASK = (
    "busctl", "--json=short", "--auto-start=no", "call", "org.bluez", "/", "org.freedesktop.DBus.ObjectManager",
    "GetManagedObjects",
)  # fmt: skip
SILENT = (
    b"does not exist",
    b"not provided by any",
    b"has no owner",
    b"No such file or directory",
    b"Connection refused",
)
RESULT = ("systemctl", "show", "--property=Result", "--", "bluetooth.service")
SHOWN = "/sys/class/bluetooth"
ORDER = ("hidden", "pairable", "visible", "lasting")
USUAL = "180"  # seconds, by BlueZ itself
YES = {"true", "1"}  # in these letters alone (GLib's key files), and not in quotes


def probe(system: System, params: Params) -> Reading:
    """Join all adapters, as they are and as they will be."""
    try:
        if not any(there(system, path) for path in DAEMONS):
            return absent("BlueZ is not installed")
        kept = worst([by_main(system), *(by_note(system, note) for note in notes(system).values())])
    except PrivetError as error:
        return unread(str(error))
    try:
        found = asked(system)
        live = worst([shown(adapter) for adapter in found.values()])
        left = abandoned(system) if not found else ""
    except PrivetError as error:
        return unread(str(error), kept=kept)
    if left:
        return unread(f"bluetoothd broke off, and {left} may go on showing itself; restart this device", kept=kept)
    return Reading(live=live, kept=kept, cause="", absent=False)


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device."""
    found = asked(system)
    rows = [f"{path} {said(one, 'Discoverable')} {said(one, 'Pairable')}" for path, one in found.items()]
    kept = [word for path, note in notes(system).items() for word in (path, note)] if not found else []
    return {**params, "adapters": tuple(rows), "main": text(system, MAIN), "notes": tuple(kept)}


def steps(params: Params, option: Value) -> tuple[Write | Run, ...]:
    """Say it in the files, and to the adapters that are there."""
    if "main" not in params:
        raise BadInput("the adapters were not looked at first; run privet enforce again")
    rung = ORDER.index(str(option))
    made: list[Write | Run] = []
    wanted = {"AlwaysPairable": "true" if rung else "false"}
    if general(str(params["main"])).get("AlwaysPairable", "false") != wanted["AlwaysPairable"]:
        made.append(written(MAIN, conf.changed(str(params["main"]), "General", dict(wanted)), 0o644))
    for row in listed(params, "adapters"):
        path, seen, pairable = row.split()
        if rung >= ORDER.index("visible"):
            made.append(told(path, "DiscoverableTimeout", "u", "0" if option == "lasting" else USUAL))
            made.append(told(path, "Discoverable", "b", "true"))
        elif seen == "true":
            made.append(told(path, "Discoverable", "b", "false"))
        if pairable != ("true" if rung else "false"):
            made.append(told(path, "Pairable", "b", "true" if rung else "false"))
    kept = listed(params, "notes")
    for path, note in zip(kept[::2], kept[1::2], strict=True):
        table = (
            {"Discoverable": "true", "DiscoverableTimeout": "0"} if option == "lasting" else {"Discoverable": "false"}
        )
        new = conf.changed(note, "General", dict(table))
        made += [written(path, new, 0o600)] if new != note and (rung < 2 or option == "lasting") else []
    return tuple(made)


def watches(params: Params) -> tuple[str, ...]:
    """Name where it is kept, and where systemd notes that a unit has started."""
    return ("/etc/bluetooth", NOTES, "/run/systemd/units")


def listed(params: Params, name: str) -> tuple[str, ...]:
    """Return a parameter as words."""
    value = params[name]
    return value if isinstance(value, tuple) else (str(value),)


def written(path: str, content: str, mode: int) -> Write:
    """Make the step that writes a file."""
    return Write(path=path, content=content.encode("utf-8", "surrogateescape"), mode=mode, uid=0, gid=0)


def told(path: str, name: str, kind: str, value: str) -> Run:
    """Make the step that tells bluetoothd something about one adapter."""
    return Run(argv=("busctl", "set-property", "org.bluez", path, ADAPTER, name, kind, value), stdin=b"")


def worst(found: list[str]) -> str:
    """Return the loosest of some words."""
    return max(found, key=ORDER.index, default=ORDER[0])


def asked(system: System) -> dict[str, dict[str, Any]]:
    """Ask bluetoothd about its adapters, by their paths; none when it does not run."""
    outcome = system.run(ASK)
    if outcome.code != 0:
        if any(mark in outcome.err for mark in SILENT):
            return {}
        raise Failed("bluetoothd does not say what its adapters do; look at systemctl status bluetooth")
    try:
        objects = json.loads(outcome.out)["data"][0]
        return {path: parts[ADAPTER] for path, parts in objects.items() if ADAPTER in parts and " " not in path}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise Failed("what bluetoothd says of its adapters cannot be read; update Privet") from None


def abandoned(system: System) -> str:
    """Name an adapter that nobody switched off: bluetoothd does that when it is told to end, not when it is killed."""
    on = [name for name in names(system, SHOWN) if name.startswith("hci") and ":" not in name]
    for name in on:
        switches = [one for one in names(system, f"{SHOWN}/{name}") if one.startswith("rfkill")]
        if not any(text(system, f"{SHOWN}/{name}/{one}/soft").strip() == "1" for one in switches):
            outcome = system.run(RESULT)
            ended = outcome.out.decode("ascii", "replace").strip().rpartition("=")[2]
            return name if outcome.code == 0 and ended not in {"", "success"} else ""
    return ""


def said(adapter: dict[str, Any], name: str) -> str:
    """Return one property of an adapter as a word, empty when it has none."""
    value = adapter.get(name, {}).get("data", "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown(adapter: dict[str, Any]) -> str:
    """Say how an adapter shows itself; one that is off to nobody."""
    if said(adapter, "Powered") == "false":
        return "hidden"
    if said(adapter, "Discoverable") == "true":
        return "lasting" if said(adapter, "DiscoverableTimeout") == "0" else "visible"
    return "pairable" if said(adapter, "Pairable") == "true" else "hidden"


def by_main(system: System) -> str:
    """Say what main.conf makes of every adapter."""
    return "pairable" if general(text(system, MAIN)).get("AlwaysPairable") in YES else "hidden"


def notes(system: System) -> dict[str, str]:
    """Return what bluetoothd noted of each adapter, by the file."""
    paths = [f"{NOTES}/{name}/settings" for name in names(system, NOTES) if name.count(":")]
    return {path: text(system, path) for path in paths if there(system, path)}


def by_note(system: System, note: str) -> str:
    """Say how an adapter will be: it takes up being seen only where that has no end."""
    kept = general(note)
    limit = kept.get("DiscoverableTimeout", general(text(system, MAIN)).get("DiscoverableTimeout", USUAL))
    return "lasting" if kept.get("Discoverable") in YES and limit == "0" else "hidden"


def general(said: str) -> dict[str, str]:
    """Read a group of a key file as GLib does: one line that is none, and nothing of the file counts."""
    found: dict[str, str] = {}
    group = ""
    for line in (raw.strip() for raw in said.splitlines()):
        key, equals, value = line.partition("=")
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line
        elif not equals or not key.strip() or not group:
            return {}
        elif group == "[General]":
            found[key.strip()] = value.strip()
    return found
