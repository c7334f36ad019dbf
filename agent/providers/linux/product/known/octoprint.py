"""OctoPrint: whoever may print may burn the house down. Its config.yaml, which it writes itself, and its answers.

`bind` loopback, network · `access` closed, open (who does not sign in may do something; whoever sends a header with the
name of an account is that account; there is no account yet, so whoever comes first makes one) · `tracking` off, on (how
it is used, and where it fails) · `online_check` off, on (asking a server on the internet every quarter of an hour
whether it is reached).

Its file is changed value by value; words after `--host` on its command line win over it, and of those ours can be
changed only where the unit takes them from a variable HOST, as OctoPi's does.
"""

import itertools
import json

from agent.core.errors import Failed
from agent.core.record import Value
from agent.providers.linux.product import forms, plain_yaml, unit
from agent.providers.linux.product.look import LOOPBACK, NETWORK, Process, asked, content, there, widest
from agent.system.door import System

UNITS = ("octoprint.service",)
FILES = (*tuple(f"{place}/{UNITS[0]}" for place in unit.PLACES), "/home/pi/.octoprint/config.yaml")
PROGRAMS = ("octoprint",)
SAFE: dict[str, Value] = {"bind": LOOPBACK, "access": "closed", "tracking": "off", "online_check": "off"}
GIVEN = {"bind": {"HOST": "127.0.0.1"}}
# What is put where: the strictest, then the loose value. Further switches of the same thing are only put to strict.
PLACES = {
    "bind": (("server", "host"), "127.0.0.1", "0.0.0.0"),  # noqa: S104 — what others do
    "access": (("accessControl", "autologinLocal"), "false", "true"),
    "tracking": (("plugins", "tracking", "enabled"), "false", "true"),
    "online_check": (("server", "onlineCheck", "enabled"), "false", "true"),
}
FURTHER = {
    "access": (
        (("accessControl", "trustRemoteUser"), "false"),
        (("accessControl", "checkBasicAuthenticationPassword"), "true"),
    ),
    "tracking": ((("plugins", "errortracking", "enabled"), "false"),),
}
LOOSE = {"bind": NETWORK, "access": "open", "tracking": "on", "online_check": "on"}
EDITED = {what: (str(SAFE[what]), LOOSE[what]) for what in PLACES}


def started(system: System, environment: dict[str, str]) -> list[str]:
    """Return the words of its command line, with the variables of its unit in their places."""
    line = (unit.service(system, UNITS[0], "ExecStart") or [""])[-1]
    for key, value in environment.items():
        line = line.replace("${" + key + "}", value)
    return unit.words(line)


def worded(started: list[str], long: str, short: str) -> str:
    """Return what a command line says of an option, "" when nothing; the last one counts."""
    said = ""
    for word, after in itertools.zip_longest(started, started[1:], fillvalue=""):
        if word in (long, short):
            said = after
        elif word.startswith(f"{long}="):
            said = word.partition("=")[2]
        elif word.startswith(short) and not word.startswith("--"):
            said = word[len(short) :]
    return said


def file(system: System) -> str:
    """Return where its configuration is: where its command line says, or in the home of the account of its unit."""
    words = started(system, unit.environment(system, UNITS[0]))
    if worded(words, "--config", "-c"):
        return worded(words, "--config", "-c")
    user = (unit.service(system, UNITS[0], "User") or ["pi"])[-1]
    found = [line.split(":") for line in content(system, "/etc/passwd").split("\n")]
    home = next((row[5] for row in found if len(row) > 6 and row[0] == user), "/home/pi")
    return (worded(words, "--basedir", "-b") or f"{home}/.octoprint") + "/config.yaml"


def paths(system: System) -> tuple[str, ...]:
    """Name its configuration: it goes by what it read at its start, or at its own last change of it."""
    return (file(system),)


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say what its file and the command line of its unit make of it."""
    text = content(system, file(system))
    words = started(system, environment)
    said = plain_yaml.get(text, *PLACES[what][0])
    if worded(words, "--overlay", "--overlay"):
        return None  # a further file, which wins over its own
    if what == "bind":
        # `-4` alone names every address, and a command line wins over the file.
        said = worded(words, "--host", "--host") or ("0.0.0.0" if {"-4", "--ipv4"} & set(words) else said)  # noqa: S104
        return None if said is None else LOOPBACK if forms.is_near(said) else NETWORK
    if what == "access":
        found = access(text, said)
        return "open" if found == "closed" and unowned(system, text) else found
    more = plain_yaml.get(text, *FURTHER[what][0][0]) if what in FURTHER else ""
    if said is None or more is None:
        return None
    return "on" if any(one and forms.is_on(one) for one in (said, more)) else "off"


def unowned(system: System, text: str) -> bool:
    """Say whether it has no account yet: then whoever opens its page first makes one, which may do everything."""
    users = plain_yaml.get(text, "accessControl", "userfile") or file(system).rpartition("/")[0] + "/users.yaml"
    return plain_yaml.get(text, "server", "firstRun") != "false" or not there(system, users)


def access(text: str, said: str | None) -> Value | None:
    """Say who needs no password: whoever is near, whoever a header names, or nobody."""
    keys = ("autologinAs", "trustRemoteUser", "trustBasicAuthentication", "checkBasicAuthenticationPassword")
    user, header, basic, checked = (plain_yaml.get(text, "accessControl", key) for key in keys)
    if said is None or header is None or basic is None or checked is None:
        return None
    named = header and forms.is_on(header)
    unchecked = basic and forms.is_on(basic) and checked and not forms.is_on(checked)
    return "open" if named or unchecked or (said and forms.is_on(said) and user != "") else "closed"


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running OctoPrint does: who reaches it, and what one may who does not sign in."""
    if what == "bind":
        return widest(running)
    if what != "access":
        return None
    answer = asked(system, running, "/api/currentuser")
    if answer is None or answer[0] not in (200, 401, 403):
        return None
    try:
        told = json.loads(answer[1] or b"{}")
    except ValueError:
        return None
    if answer[0] == 200 and (not isinstance(told, dict) or told.get("permissions") != []):
        return "open"
    wizard = asked(system, running, "/api/setup/wizard")
    # Who is let in for being near, or for a header, is so only for a page that is opened: what it read says that.
    return "open" if wizard is not None and wizard[0] == 200 else None


def edits(system: System, what: str, option: Value) -> dict[str, str]:
    """Return its file with the one value."""
    path, strict, loose = PLACES[what]
    place = file(system)
    if what == "access" and unowned(system, content(system, place)) and option == SAFE[what]:
        raise Failed("OctoPrint has no account yet, and whoever opens its page first makes one; open it now and do so")
    made = plain_yaml.put(content(system, place), strict if option == SAFE[what] else loose, *path)
    for further, value in FURTHER.get(what, ()) if option == SAFE[what] else ():
        said = plain_yaml.get(made or "", *further)
        if said != "" and made is not None:
            made = plain_yaml.put(made, value, *further)
    if made is None:
        raise Failed(f"{place} is not written plainly; set {'.'.join(path)} to {strict} in it")
    return {place: made}
