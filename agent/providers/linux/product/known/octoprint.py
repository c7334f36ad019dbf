"""OctoPrint: whoever may print may burn the house down. Its config.yaml, which it writes itself, and its answers.

`bind` loopback, network · `access` closed, open (who does not sign in may do something) · `tracking` off, on ·
`online_check` off, on (asking a server on the internet every quarter of an hour whether it is reached).

Its file is changed value by value; words after `--host` on its command line win over it, and of those ours can be
changed only where the unit takes them from a variable HOST, as OctoPi's does.
"""

import itertools
import json

from agent.core.errors import Failed
from agent.core.record import Value
from agent.providers.linux.product import forms, plain_yaml, unit
from agent.providers.linux.product.look import LOOPBACK, NETWORK, Process, asked, content, widest
from agent.system.door import System

UNITS = ("octoprint.service",)
FILES = (*tuple(f"{place}/{UNITS[0]}" for place in unit.PLACES), "/home/pi/.octoprint/config.yaml")
PROGRAMS = ("octoprint",)
SAFE: dict[str, Value] = {"bind": LOOPBACK, "access": "closed", "tracking": "off", "online_check": "off"}
GIVEN = {"bind": {"HOST": "127.0.0.1"}}
# What is put where: the strictest, then the loose value.
PLACES = {
    "bind": (("server", "host"), "127.0.0.1", "0.0.0.0"),  # noqa: S104 — what others do
    "access": (("accessControl", "autologinLocal"), "false", "true"),
    "tracking": (("plugins", "tracking", "enabled"), "false", "true"),
    "online_check": (("server", "onlineCheck", "enabled"), "false", "true"),
}
LOOSE = {"bind": NETWORK, "access": "open", "tracking": "on", "online_check": "on"}
EDITED = {what: (str(SAFE[what]), LOOSE[what]) for what in PLACES}


def file(system: System) -> str:
    """Return where its configuration is: in the home of the account of its unit."""
    user = (unit.service(system, UNITS[0], "User") or ["pi"])[-1]
    found = [line.split(":") for line in content(system, "/etc/passwd").split("\n")]
    return next((row[5] for row in found if len(row) > 6 and row[0] == user), "/home/pi") + "/.octoprint/config.yaml"


def paths(system: System) -> tuple[str, ...]:
    """Name no file: it writes its own when it starts, so only its answers say what it has read.

    But where it is written in a way that OctoPrint itself never writes, somebody else did, and it has to be older.
    """
    text = content(system, file(system))
    plain = all(plain_yaml.get(text, *path) is not None for path, _, _ in PLACES.values())
    return () if plain else (file(system),)


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say what its file and the command line of its unit make of it."""
    text = content(system, file(system))
    path, _, _ = PLACES[what]
    said = plain_yaml.get(text, *path)
    if what == "bind":
        started = unit.words((unit.service(system, UNITS[0], "ExecStart") or [""])[-1])
        hosts = [word.partition("=")[2] for word in started if word.startswith("--host=")]
        hosts += [after for word, after in itertools.pairwise(started) if word == "--host"]
        said = hosts[-1].replace("${HOST}", environment.get("HOST", "")) if hosts else said
        return None if said is None else LOOPBACK if forms.is_near(said) else NETWORK
    if said is None:
        return None
    if what == "access":
        user = plain_yaml.get(text, "accessControl", "autologinAs")
        return "closed" if said == "" or not forms.is_on(said) or user == "" else "open"
    return "on" if said and forms.is_on(said) else "off"


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running OctoPrint does: who reaches it, and what one may who does not sign in."""
    if what == "bind":
        return widest(running)
    if what != "access":
        # It holds what its file says, and writes there what it holds.
        return kept(system, what, {})
    answer = asked(system, running, "/api/currentuser")
    if answer is None or answer[0] not in (200, 401, 403):
        return None
    try:
        told = json.loads(answer[1] or b"{}")
    except ValueError:
        return None
    return "open" if answer[0] == 200 and (not isinstance(told, dict) or told.get("permissions") != []) else "closed"


def edits(system: System, what: str, option: Value) -> dict[str, str]:
    """Return its file with the one value."""
    path, strict, loose = PLACES[what]
    place = file(system)
    made = plain_yaml.put(content(system, place), strict if option == SAFE[what] else loose, *path)
    if made is None:
        raise Failed(f"{place} is not written plainly; set {'.'.join(path)} to {strict} in it")
    return {place: made}
