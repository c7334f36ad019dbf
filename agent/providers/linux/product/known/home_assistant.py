"""Home Assistant: its configuration.yaml and, for what its pages decide, its files in .storage.

`bind` loopback, network · `login` asks, open (whole networks are let in without a password) · `discovery` none, near
(looks around the network), all (also its makers' cloud and phones; `default_config` brings all) · `analytics` off, on.

Only a file that is written plainly is changed. What `default_config` brings besides is named instead, so that nothing
else is lost. Integrations that were set up on its pages may look around the network as well; they are not judged.
"""

import json
import re

from agent.core.errors import Failed, Missing
from agent.core.record import Value
from agent.providers.linux.product import forms, marks, plain_yaml
from agent.providers.linux.product.look import LOOPBACK, NETWORK, Process, content, there, widest
from agent.system.door import System

HOMES = (
    "/home/homeassistant/.homeassistant", "/home/pi/.homeassistant", "/root/.homeassistant", "/var/lib/homeassistant",
    "/srv/homeassistant/.homeassistant", "/usr/share/hassio/homeassistant", "/opt/homeassistant/config",
)  # fmt: skip
FILES = tuple(f"{home}/configuration.yaml" for home in HOMES)
UNITS = ("home-assistant@homeassistant.service", "home-assistant@pi.service", "home-assistant.service")
PROGRAMS = ("hass", "homeassistant")
SAFE: dict[str, Value] = {"bind": LOOPBACK, "login": "asks", "discovery": "none", "analytics": "off"}
GIVEN: dict[str, dict[str, str]] = {}
EDITED = {
    "bind": (LOOPBACK, NETWORK),
    "login": ("asks", "open"),
    "discovery": ("none", "near", "all"),
    "analytics": ("off", "on"),
}
NEAR, FAR = ("ssdp", "zeroconf", "dhcp", "usb", "bluetooth"), ("cloud", "mobile_app")
# What default_config brings besides, as long as there has been all of it (2022.9).
BESIDES = (
    "config", "counter", "frontend", "history", "input_boolean", "input_button", "input_datetime", "input_number",
    "input_select", "input_text", "logbook", "person", "schedule", "sun", "tag", "timer", "webhook", "zone",
)  # fmt: skip


def home(system: System) -> str:
    """Return the directory of its configuration; Missing when there is none."""
    for place in HOMES:
        if there(system, f"{place}/configuration.yaml"):
            return place
    raise Missing("Home Assistant has no configuration on this device; it makes one at its first start")


def paths(system: System) -> tuple[str, ...]:
    """Name its configuration."""
    return (f"{home(system)}/configuration.yaml",)


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say what its files make of it."""
    place = home(system)
    if what == "analytics":
        return reports(content(system, f"{place}/.storage/core.analytics"))
    text = content(system, f"{place}/configuration.yaml")
    rows = plain_yaml.rows(text)
    if rows is None:
        return None
    if what == "bind":
        said: list[str | None] = [one for _, one in named_hosts(text)]
        said = said or [plain_yaml.get(text, "http", "server_host")]
        return None if None in said else LOOPBACK if all(one and forms.is_near(one) for one in said) else NETWORK
    if what == "login":
        named = [line for line in text.split("\n") if "trusted_networks" in line.partition("#")[0]]
        elsewhere = [
            row for row in rows if row.value.startswith("!") and row.key in ("homeassistant", "auth_providers")
        ]
        return "open" if named else None if elsewhere else "asks"
    keys = {row.key for row in rows if row.indent == 0}
    if keys & {"default_config", *FAR}:
        return "all"
    return "near" if keys & set(NEAR) else "none"


def named_hosts(text: str) -> list[tuple[int, str]]:
    """Return the addresses of a list of them, with the lines they stand on; none where there is no list."""
    found = plain_yaml.walk(text, ("http", "server_host"))
    if found is None or found[0] is None or found[1] or found[0].value:
        return []
    made: list[tuple[int, str]] = []
    for place, line in enumerate(text.split("\n")[found[0].place + 1 :], found[0].place + 1):
        if line.strip().startswith("- "):
            made.append((place, plain_yaml.bare(line.strip()[2:].strip())))
        elif line.strip() and not line.strip().startswith("#"):
            break
    return made


def reports(text: str) -> Value | None:
    """Say what its owner agreed to tell its makers, as its pages keep it."""
    try:
        table = json.loads(text or "{}")
        agreed = table.get("data", {}).get("preferences", {})
        return "on" if any(agreed.values()) else "off"
    except (ValueError, AttributeError):
        return None


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running Home Assistant does: who reaches it, and what its pages have kept."""
    if what == "analytics":
        return kept(system, what, {})
    return widest(running) if what == "bind" else None


def edits(system: System, what: str, option: Value) -> dict[str, str]:
    """Return its files as they must be."""
    place = home(system)
    if what == "analytics":
        path = f"{place}/.storage/core.analytics"
        return {path: agreed(content(system, path), option != "off")} if there(system, path) else {}
    path = f"{place}/configuration.yaml"
    text = marks.undone(content(system, path), what)
    rows = plain_yaml.rows(text)
    if rows is None or any(row.value.startswith("!") and row.key in ("homeassistant", "http") for row in rows):
        raise Failed(f"{path} is not written plainly; change it by hand, see `privet explain home_assistant.{what}`")
    lines = text.split("\n")
    if what == "bind" and option == LOOPBACK:
        host(lines, rows, text)
    elif what == "login" and option == "asks":
        ask(lines)
    elif what == "discovery" and option != "all":
        named(lines, rows, NEAR if option == "near" else ())
    return {path: "\n".join(lines)}


def agreed(text: str, yes: bool) -> str:
    """Return the file of what its owner agreed to, with all of it or nothing."""
    table = json.loads(text)
    for key in table["data"]["preferences"]:
        table["data"]["preferences"][key] = yes
    return json.dumps(table, indent=2)


def host(lines: list[str], rows: list[plain_yaml.Row], text: str) -> None:
    """Let it listen for this device alone."""
    found = plain_yaml.walk(text, ("http", "server_host"))
    row, missing = found or (None, ("http", "server_host"))
    if row is not None and not missing:
        for place, _ in reversed(named_hosts(text)):
            marks.put(lines, place, "bind", " " * row.indent + "#")
        marks.put(lines, row.place, "bind", " " * row.indent + "server_host: 127.0.0.1")
    elif row is not None:
        known = plain_yaml.beneath(rows, row)
        marks.add(lines, row.place + 1, "bind", " " * (known[0].indent if known else 2) + "server_host: 127.0.0.1")
    else:
        end = len(lines) - (not lines[-1])
        marks.add(lines, end, "bind", "  server_host: 127.0.0.1")
        marks.add(lines, end, "bind", "http:")


def ask(lines: list[str]) -> None:
    """Take the entry about trusted networks out of the list of ways to sign in, or its own way in its place."""
    other = any("homeassistant" in line and line.strip().startswith("- type:") for line in lines)
    entry = next((n for n, line in enumerate(lines) if re.match(r" *- type: *.?trusted_networks\b", line)), None)
    if entry is None and not any("trusted_networks" in line.partition("#")[0] for line in lines):
        return
    if entry is None:
        raise Failed("the trusted networks of Home Assistant are not written plainly; take them out by hand")
    indent = len(lines[entry]) - len(lines[entry].lstrip())
    end = entry + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    for place in range(end - 1, entry, -1):
        if lines[place].strip():
            marks.put(lines, place, "login", " " * indent + "#")
    marks.put(lines, entry, "login", " " * indent + ("#" if other else "- type: homeassistant"))


def named(lines: list[str], rows: list[plain_yaml.Row], wanted: tuple[str, ...]) -> None:
    """Name what default_config brings, without what looks around or outside; take out what is named of that."""
    top = {row.key: row for row in rows if row.indent == 0}
    unwanted = {"default_config", *NEAR, *FAR} - set(wanted)
    for key, row in sorted(top.items(), key=lambda one: -one[1].place):
        if key in unwanted and plain_yaml.beneath(rows, row):
            raise Failed(f"{key} of Home Assistant has settings of its own; take it out of its configuration by hand")
        if key in unwanted:
            marks.put(lines, row.place, "discovery", "# ")
            if key == "default_config":
                for more in (*BESIDES, *wanted):
                    if more not in top:
                        marks.add(lines, row.place + 2, "discovery", f"{more}:")
