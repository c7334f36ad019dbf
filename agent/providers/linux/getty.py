"""Being signed in at a text console (screen, serial cable) without a password.

No params. The value is the set of consoles on which agetty is told to sign somebody in by itself, by the unit that
starts it (`getty@tty1.service`, or `getty@.service` for all that have nothing of their own). What counts is the last
ExecStart in systemd's own order of files and drop-ins. Live is the same unless systemd has not read the files anew; a
person who is signed in already stays so.

Prepared: `starts` ("unit command" of each, as it is now). Our drop-in repeats the command without the sign-in, or adds
it for the account `who`.
"""

from agent.core.assess import Reading, absent, unread
from agent.core.errors import Failed, Missing, PrivetError
from agent.core.order import words
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.system import units as units_of
from agent.system.door import System
from agent.system.seen import names, text, there

PARAMS = ("who",)
PLACES = units_of.PLACES
FAMILIES = ("getty@", "serial-getty@", "console-getty", "container-getty@", "autovt@")
OWN = "zz-privet-sign-in.conf"
NOTE = "# Written by Privet. Remove this file and run `systemctl daemon-reload` to undo it.\n"
PLAIN = "-/sbin/agetty --noclear - $TERM"
# Started in the place of agetty they ask nobody.
SHELLS = ("login", "bash", "dash", "sh", "zsh", "fish", "busybox", "su")
# Options of agetty that take a word, those first that a shortened name stands for.
LONG = (
    "autologin", "login-options", "login-program", "chdir", "delay", "issue-file", "host", "init-string", "nice",
    "chroot", "timeout", "erase-chars", "kill-chars",
)  # fmt: skip
SHORT = {"a": "autologin", "o": "login-options", "l": "login-program"}
WITH_VALUE = "aoldCfHIPrt"
DEBUG = "debug-shell.service"  # root on a screen of its own, for people who mend systemd; it is off unless wanted

Step = Write | Remove | Run


def probe(system: System, params: Params) -> Reading:
    """Name the consoles that sign somebody in."""
    try:
        found = starts(system)
        if not found:
            return absent("no text console is set up")
        kept = words([unit for unit, command in found.items() if signs_in(command) and not shared(found, unit)])
        if not there(system, "/run/systemd/system"):
            return Reading(live=kept, kept=kept, cause="", absent=False)
        stale = unread_by_systemd(system, list(found))
    except PrivetError as error:
        return unread(str(error))
    if stale:
        return unread(f"systemd has not read the files of {stale} anew; run systemctl daemon-reload", kept=kept)
    return Reading(live=kept, kept=kept, cause="", absent=False)


def prepare(system: System, params: Params) -> Params:
    """Add how each console starts now."""
    found = starts(system)
    alive = "yes" if there(system, "/run/systemd/system") else "no"
    return {**params, "starts": tuple(f"{unit} {command}" for unit, command in found.items()), "systemd": alive}


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Repeat each command without the sign-in where it may not be; add it where it shall."""
    rows = params.get("starts")
    if not isinstance(rows, tuple):
        raise Failed("the consoles were not looked at first; run privet enforce again")
    wanted = option if isinstance(option, tuple) else ()
    made: list[Step] = []
    for unit, _, command in (row.partition(" ") for row in rows):
        if signs_in(command) == (unit in wanted):
            continue
        said = without(command) if unit not in wanted else added(command, str(params["who"]))
        body = f"{NOTE}[Service]\nExecStart=\nExecStart={said}\n"
        made.append(Write(path=own(unit), content=body.encode(), mode=0o644, uid=0, gid=0))
    if made and params.get("systemd") == "yes":
        made.append(Run(argv=("systemctl", "daemon-reload"), stdin=b""))
    return tuple(made)


def watches(params: Params) -> tuple[str, ...]:
    """Name where units are."""
    return (
        units_of.ETC,
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        f"{units_of.ETC}/sysinit.target.wants",
    )


def own(unit: str) -> str:
    """Return the path of our drop-in."""
    return f"{units_of.ETC}/{unit}.d/{OWN}"


def starts(system: System) -> dict[str, str]:
    """Return every unit of a console that something names, with the command it starts."""
    found: dict[str, str] = {}
    for unit in sorted(units(system)):
        command = effective(system, unit)
        if command:
            found[unit] = command
    return found


def shared(found: dict[str, str], unit: str) -> bool:
    """Say whether an instance starts what its template does: then the template is named."""
    stem, at, instance = unit.removesuffix(".service").partition("@")
    return bool(at and instance) and found.get(f"{stem}@.service") == found[unit]


def units(system: System) -> set[str]:
    """Return the units of consoles: the templates, what is wanted, and what has files or drop-ins of its own."""
    found: set[str] = set()
    for place in PLACES:
        for name in names(system, place):
            inner = names(system, f"{place}/{name}") if name.endswith((".wants", ".requires")) else ()
            for one in (name.removesuffix(".d"), *inner):
                if one.endswith(".service") and one.startswith(FAMILIES):
                    found.add(one)
            found |= {DEBUG} & set(inner)
    return found


def effective(system: System, unit: str) -> str:
    """Return the last ExecStart of a unit, its template and their drop-ins, empty when there is none."""
    stem, at, _ = unit.removesuffix(".service").partition("@")
    template = f"{stem}@.service" if at else unit
    own_file = next((f"{p}/{n}" for n in (unit, template) for p in PLACES if regular(system, f"{p}/{n}")), "")
    if not own_file:
        return ""
    chosen: dict[str, str] = {}
    for folder in dict.fromkeys((f"{unit}.d", f"{template}.d")):
        for place in PLACES:
            for name in names(system, f"{place}/{folder}"):
                if name.endswith(".conf"):
                    chosen.setdefault(name, f"{place}/{folder}/{name}")
    command = ""
    for path in (own_file, *(chosen[name] for name in sorted(chosen))):
        for said in commands(text(system, path)):
            command = said
    return command


def regular(system: System, path: str) -> bool:
    """Say whether a path is a file, or a link to one elsewhere; a mask and an alias to a template are neither."""
    try:
        if system.stat(path).kind != "link":
            return True
        target = system.target(path)
    except Missing:
        return False
    return target != "/dev/null" and not target.rpartition("/")[2].endswith("@.service")


def commands(content: str) -> list[str]:
    """Return the values of ExecStart in the section of the service; an empty one forgets those before it."""
    found, here = [], ""
    for raw in content.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("["):
            here = line
        elif here == "[Service]" and line.startswith("ExecStart") and line.partition("=")[0].strip() == "ExecStart":
            found.append(line.partition("=")[2].strip())
    return found


def signs_in(command: str) -> bool:
    """Say whether a command signs somebody in by itself."""
    return without(command) != command


def without(command: str) -> str:
    """Return a command without what signs somebody in; one that is no agetty at all is all switch."""
    said = units_of.words(command)
    program = said[0].lstrip(units_of.MARKS).rpartition("/")[2] if said else ""
    if program in SHELLS:
        return PLAIN
    kept = said[:1]
    place = 1
    while place < len(said):
        word, following = said[place], said[place + 1] if place + 1 < len(said) else ""
        left, takes = long_word(word, following) if word.startswith("--") else short_words(word, following)
        kept += [part for part in (left, following if left and takes else "") if part]
        place += 2 if takes else 1
    return command if kept == said else " ".join(kept)


def long_word(word: str, following: str) -> tuple[str, bool]:
    """Return what may stay of a long word (it may be shortened), and whether the next one belongs to it."""
    name, equals, value = word[2:].partition("=")
    full = next((one for one in LONG if name and one.startswith(name)), "")
    value = units_of.bare(value if equals else following)
    return ("" if full and loose(full, value) else word), bool(full) and not equals


def short_words(word: str, following: str) -> tuple[str, bool]:
    """Return what may stay of short words that stand together, and whether the next word belongs to the last."""
    if not word.startswith("-"):
        return word, False
    for place, letter in enumerate(word[1:], 1):
        if letter in WITH_VALUE:
            value, takes = word[place + 1 :], place + 1 == len(word)
            given = units_of.bare(following if takes else value)
            if letter in SHORT and loose(SHORT[letter], given):
                return ("" if place == 1 else word[:place]), takes
            return word, takes
    return word, False


def loose(option: str, value: str) -> bool:
    """Say whether an option of agetty lets somebody in: the sign-in, login told of somebody, no login at all."""
    if option == "login-options":
        return any(part.startswith("-f") for part in value.split())
    return option == "autologin" or (option == "login-program" and value.rpartition("/")[2] != "login")


def added(command: str, who: str) -> str:
    """Return a command with the switch."""
    program, _, rest = command.partition(" ")
    return f"{program} --autologin {who} {rest}"


def unread_by_systemd(system: System, found: list[str]) -> str:
    """Return a unit whose files systemd has not read since they changed, empty when there is none."""
    named = [unit for unit in found if "@." not in unit]
    if not named:
        return ""
    outcome = system.run(("systemctl", "show", "--property=Id,NeedDaemonReload", "--", *named))
    for block in outcome.out.decode("utf-8", "replace").split("\n\n") if outcome.code == 0 else ():
        if "NeedDaemonReload=yes" in block:
            return next((line[3:] for line in block.splitlines() if line.startswith("Id=")), "a console")
    return ""
