"""Units of systemd as far as a product's environment goes: what a start would give it, and what we add to that.

Ours is a drop-in that names a file of variables: what `EnvironmentFile=` brings wins over `Environment=`, and the last
file over those before it.
"""

from agent.core.plan import Remove, Run, Write
from agent.providers.linux.product.look import content
from agent.system.door import System
from agent.system.seen import names

# Highest first; a file or drop-in hides those of the same name further down (systemd.unit(5)).
PLACES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
NOTE = "# Written by Privet. Remove this file and run `systemctl daemon-reload` to undo it.\n"

Step = Write | Remove | Run


def found(system: System, units: tuple[str, ...]) -> str:
    """Return the first of these units that is installed, or the first name where none is."""
    for unit in units:
        if any(unit in names(system, place) for place in PLACES):
            return unit
    return units[0]


def files(system: System, unit: str) -> tuple[str, ...]:
    """Return a unit's own file and its drop-ins, in the order systemd reads them."""
    own = [f"{place}/{unit}" for place in PLACES if unit in names(system, place)][:1]
    parts: dict[str, str] = {}
    for place in PLACES:
        for name in names(system, f"{place}/{unit}.d"):
            if name.endswith(".conf"):
                parts.setdefault(name, f"{place}/{unit}.d/{name}")
    return (*own, *(parts[name] for name in sorted(parts)))


def service(system: System, unit: str, key: str) -> list[str]:
    """Return the values of a key of the section [Service]; an empty one forgets those before it."""
    values: list[str] = []
    for path in files(system, unit):
        here = ""
        for raw in content(system, path).replace("\\\n", " ").split("\n"):
            line = raw.strip()
            if line.startswith("["):
                here = line
            elif here == "[Service]" and line.partition("=")[0].strip() == key:
                value = line.partition("=")[2].strip()
                values = [*values, value] if value else []
    return values


def sources(system: System, unit: str) -> tuple[str, ...]:
    """Return every file and directory that a unit's environment is made of."""
    named = [value.lstrip("-") for value in service(system, unit, "EnvironmentFile")]
    return (*files(system, unit), *(f"{place}/{unit}.d" for place in PLACES), *named)


def environment(system: System, unit: str, without: str = "") -> dict[str, str]:
    """Return the variables that a unit starts its program with; `without` is a file that is not looked at."""
    table: dict[str, str] = {}
    for line in service(system, unit, "Environment"):
        table.update(word.partition("=")[::2] for word in words(line) if "=" in word)
    for path in service(system, unit, "EnvironmentFile"):
        if path != without:
            table.update(variables(content(system, path.lstrip("-"))))
    return table


def variables(text: str) -> dict[str, str]:
    """Read a file of variables, as EnvironmentFile= names one."""
    table = {}
    for raw in text.replace("\\\n", "").split("\n"):
        key, equals, value = raw.strip().partition("=")
        if equals and key and key[0] not in "#;":
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            table[key.strip()] = value[1:-1] if quoted else value
    return table


def words(line: str) -> list[str]:
    """Split a line at blanks outside quotes; the quotes go."""
    made, word, quote, begun = [], "", "", False
    for letter in line:
        if quote:
            quote = "" if letter == quote else quote
            word += letter if quote else ""
        elif letter in "\"'":
            quote, begun = letter, True
        elif letter.isspace():
            made += [word] if begun or word else []
            word, begun = "", False
        else:
            word += letter
    return [*made, word] if begun or word else made


def own(unit: str, what: str) -> tuple[str, str]:
    """Return the paths of our drop-in about one thing, and of its variables."""
    base = f"{PLACES[0]}/{unit}.d/zz-privet-{what}"
    return f"{base}.conf", f"{base}.env"


def given(unit: str, what: str, table: dict[str, str]) -> tuple[Step, ...]:
    """Make the steps that give a unit these variables, or take ours away where there are none."""
    part, file = own(unit, what)
    if not table:
        return (Remove(path=part), Remove(path=file))
    rows = "".join(f'{key}="{value}"\n' for key, value in sorted(table.items()))
    return (
        Write(path=file, content=rows.encode(), mode=0o644, uid=0, gid=0),
        Write(path=part, content=f"{NOTE}[Service]\nEnvironmentFile={file}\n".encode(), mode=0o644, uid=0, gid=0),
    )


def again(unit: str) -> tuple[Step, ...]:
    """Make the steps by which systemd reads its files and a running product starts again."""
    # A pattern matches loaded units only, so a unit that is not there is no failure.
    pattern = f"{unit[:-1]}[{unit[-1]}]"
    return tuple(Run(argv=("systemctl", *words), stdin=b"") for words in (("daemon-reload",), ("try-restart", pattern)))
