"""Node-RED: whoever reaches its editor reprograms the device.

`bind` loopback, network · `editor` closed (a password is asked for, or there is none), open · `pages` the same for what
flows show · `tls` yes (whoever is elsewhere speaks encrypted), no · `telemetry` off, on.

Its settings.js is a program, so only lines that say one thing plainly are believed; of all else the running Node-RED is
asked. It takes settings on its command line too (`-D name=value`), and these win: ours stand in NODE_RED_OPTIONS, to
which the unit's own words are carried over.
"""

import json
import re

from agent.core.record import Value
from agent.providers.linux.product import unit
from agent.providers.linux.product.look import LOOPBACK, NETWORK, Process, asked, content, processes, widest
from agent.system.door import System

PROGRAM = "/usr/lib/node_modules/node-red/red.js"
FILES = (PROGRAM, "/usr/local/lib/node_modules/node-red/red.js", "/usr/bin/node-red", "/usr/local/bin/node-red")
UNITS = ("nodered.service", "node-red.service")
PROGRAMS = ("node-red", "node-red-pi", "red.js")
SAFE: dict[str, Value] = {"bind": LOOPBACK, "editor": "closed", "pages": "closed", "tls": "yes", "telemetry": "off"}
LOOSE = {"bind": NETWORK, "editor": "open", "pages": "open", "tls": "no", "telemetry": "on"}
GIVEN = {"telemetry": {"NODE_RED_DISABLE_TELEMETRY": "true"}}
EDITED = {what: (str(SAFE[what]), LOOSE[what]) for what in ("bind", "editor", "pages", "tls")}
OURS = {
    "bind": "-D uiHost=127.0.0.1",
    "editor": "-D httpAdminRoot=false",
    "pages": "-D httpNodeRoot=false",
    "tls": "-D uiHost=127.0.0.1",
}
OPTIONS = "NODE_RED_OPTIONS"
NEAR = ("127.0.0.1", "localhost", "::1")
PLAIN = r"""^\s*%s\s*:\s*["']([^"'\\]*)["']\s*,?\s*(?://.*)?$"""
NOBODY = "/privet-asks-for-nothing"  # a page that no flow has


def home(system: System, environment: dict[str, str]) -> str:
    """Return where Node-RED keeps its things: by its environment, else by the account of its unit."""
    if environment.get("NODE_RED_HOME"):
        return environment["NODE_RED_HOME"]
    if environment.get("HOME"):
        return environment["HOME"] + "/.node-red"
    user = (unit.service(system, unit.found(system, UNITS), "User") or ["root"])[-1]
    rows = [line.split(":") for line in content(system, "/etc/passwd").split("\n")]
    return next((row[5] for row in rows if len(row) > 6 and row[0] == user), "/root") + "/.node-red"


def paths(system: System) -> tuple[str, ...]:
    """Name its settings."""
    return (f"{home(system, {})}/settings.js",)


def defined(environment: dict[str, str]) -> dict[str, str]:
    """Return what the command line says of settings; a file of settings says what cannot be told ("@")."""
    words = unit.words(environment.get(OPTIONS, ""))
    pairs = [(flag, word) for flag, word in zip(words, [*words[1:], ""], strict=True) if flag in ("-D", "--define")]
    return {word.partition("=")[0] if word[:1] != "@" else "@": word.partition("=")[2] for _, word in pairs}


def lines(program: str) -> list[str]:
    """Return the lines of a program that are not wholly comment."""
    found, within = [], False
    for line in program.split("\n"):
        rest = line
        if within or line.strip().startswith("/*"):
            within = "*/" not in line
            rest = "" if within else line.partition("*/")[2]
        if rest.strip() and not rest.strip().startswith("//"):
            found.append(rest)
    return found


def plain(program: str, name: str) -> str | None:
    """Return what a program plainly says of a text setting; "" where it names it not; None where not plainly."""
    named = [line for line in lines(program) if re.search(rf"\b{name}\b", line)]
    said = [re.match(PLAIN % name, line) for line in named]
    if not named:
        return ""
    return said[0][1] if len(said) == 1 and said[0] is not None else None


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say what its command line and its settings make of it."""
    said = defined(environment)
    if "@" in said:
        return None
    program = content(system, f"{home(system, environment)}/settings.js")
    if what == "telemetry":
        return telemetry(system, environment, program)
    if what in ("bind", "tls"):
        host = said.get("uiHost") or plain(program, "uiHost")
        if host is not None and host in NEAR:
            return SAFE[what]
        return LOOSE[what] if host is not None and (what == "bind" or plain(program, "https") == "") else None
    root, asks = ("httpAdminRoot", "adminAuth") if what == "editor" else ("httpNodeRoot", "httpNodeAuth")
    if said.get(root) == "false":
        return "closed"
    return "open" if all(plain(program, name) == "" for name in (asks, root, "httpRoot")) else None


def telemetry(system: System, environment: dict[str, str], program: str) -> Value | None:
    """Say whether it reports to its makers: it asks the owner first, unless its settings say something."""
    if environment.get("NODE_RED_DISABLE_TELEMETRY") or "--no-telemetry" in environment.get(OPTIONS, "").split():
        return "off"
    try:
        answers = json.loads(content(system, f"{home(system, environment)}/.config.runtime.json") or "{}")
    except ValueError:
        return None
    agreed = isinstance(answers, dict) and answers.get("telemetryEnabled")
    return "on" if agreed else reported(lines(program))


def reported(program: list[str]) -> Value | None:
    """Say what the section about telemetry of a program says; without a word the owner is asked first."""
    begun = [place for place, line in enumerate(program) if re.search(r"\btelemetry\b", line)]
    if begun and (len(begun) > 1 or not re.match(r"^\s*telemetry\s*:\s*\{\s*(?://.*)?$", program[begun[0]])):
        return None
    for line in program[begun[0] + 1 :] if begun else ():
        if re.search(r"\benabled\b", line):
            return "off" if re.match(r"^\s*enabled\s*:\s*false\s*,?\s*(?://.*)?$", line) else "on"
        if "}" in line:
            break
    return "off"


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running Node-RED does."""
    if what == "bind" or (what == "tls" and widest(running) == LOOPBACK):
        return widest(running) if what == "bind" else "yes"
    if what == "telemetry":
        return None
    if what == "tls":
        return "no" if asked(system, running, NOBODY) is not None else None
    name = "httpAdminRoot" if what == "editor" else "httpNodeRoot"
    root = [defined(one.environment).get(name) for one in running]
    said = plain(content(system, f"{home(system, running[0].environment)}/settings.js"), name)
    before = "/" + (said or "").strip("/") if said else ""
    answer = asked(system, running, before + ("/settings" if what == "editor" else NOBODY))
    if answer is None:  # without editor and pages it has no door at all
        return "closed" if root == ["false"] else None
    if answer[0] == 401:
        return "closed"
    if root == ["false"]:
        return "closed" if answer[0] == 404 else "open"
    if what == "editor":
        return "open" if answer[0] == 200 else None
    return "open" if said is not None else None


def edits(system: System, what: str, option: Value) -> dict[str, str]:
    """Return our drop-in with its variables: the unit's own words, then ours for everything that we hold."""
    name = unit.found(system, UNITS)
    part, file = unit.own(name, "options")
    held = {line[2:] for line in content(system, file).split("\n") if line[:2] == "# "}
    said = unit.environment(system, name, without=file).get(OPTIONS, "")
    asks = what in ("editor", "pages") and asked_for(system, what)
    held = held | {what} if option == SAFE[what] and not asks else held - {what}
    words = [*([said] if said else []), *dict.fromkeys(OURS[one] for one in sorted(held))]
    rows = "".join(f"# {one}\n" for one in sorted(held))
    told = unit.NOTE + (f"[Service]\nEnvironmentFile={file}\n" if held else "")
    return {file: rows + (f'{OPTIONS}="{" ".join(words)}"\n' if held else ""), part: told}


def asked_for(system: System, what: str) -> bool:
    """Say whether the running Node-RED asks for a password by its own settings."""
    running = processes(system, PROGRAMS)
    root = "httpAdminRoot" if what == "editor" else "httpNodeRoot"
    if not running or any(defined(one.environment).get(root) == "false" for one in running):
        return False
    return live(system, what, running) == "closed"
