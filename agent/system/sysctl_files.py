"""Files of sysctl.d(5): which value systemd-sysctl will set of a key, whatever way the files are written."""

from fnmatch import fnmatchcase

from agent.system.door import System
from agent.system.ini import BLANKS, ENDS
from agent.system.seen import booted, names, text

# Highest first; a file hides every file of the same name in the later ones (sysctl.d(5)).
DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
CLASSIC = "/etc/sysctl.conf"

Line = tuple[str, str | None]


def lines(system: System) -> list[Line]:
    """Return every assignment in the order systemd-sysctl meets it; a value of None excludes the key from patterns."""
    chosen: dict[str, str] = {}
    for directory in DIRECTORIES:
        for name in names(system, directory):
            if name.endswith(".conf") and not name.startswith("."):
                chosen.setdefault(name, f"{directory}/{name}")
    paths = [chosen[name] for name in sorted(chosen)]
    # Debian reaches the classic file by a link in sysctl.d; without systemd the start-up script reads it last.
    if not booted(system):
        paths.append(CLASSIC)
    return [line for path in paths for line in assignments(text(system, path))]


def assignments(said: str) -> list[Line]:
    """Read one file: comments, `-` for "failure is fine", `-key` alone for an exclusion; no line goes on."""
    found: list[Line] = []
    for raw in ENDS.split(said):
        line = raw.strip(BLANKS)
        if not line or line[0] in "#;":
            continue
        key, equals, value = line.partition("=")
        if equals:
            found.append((normal(key.removeprefix("-").strip(BLANKS)), value.strip(BLANKS)))
        elif key.startswith("-"):
            found.append((normal(key[1:].strip(BLANKS)), None))
    return found


def normal(key: str) -> str:
    """Return a key with `/` between its parts; the separator met first decides what `.` and `/` mean."""
    first = min((key.find(mark) for mark in "./" if mark in key), default=-1)
    if first >= 0 and key[first] == ".":
        key = key.translate(str.maketrans("./", "/."))
    return "/".join(part for part in key.split("/") if part not in {"", "."})


def after_start(found: list[Line], key: str) -> str | None:
    """Return what a key will be set to: what names it counts more than a pattern; None where nothing sets it."""
    standing: dict[str, str | None] = {}
    for line, value in found:
        if line in standing and standing[line] != value:
            del standing[line]  # said otherwise, it takes its turn anew; said again, it keeps its turn
        standing.setdefault(line, value)
    said = None
    for line, value in standing.items():
        if value is not None and (line == key or (key not in standing and is_pattern(line) and fits(line, key))):
            said = value
    return said


def is_pattern(line: str) -> bool:
    """Say whether a key is one of several: braces alone do not make it one."""
    return any(mark in line for mark in "*?[")


def fits(pattern: str, key: str) -> bool:
    """Say whether a pattern of glob(7) means a key, part by part, each word of braces for itself."""
    for one in unfolded(pattern):
        wanted, parts = one.split("/"), key.split("/")
        if len(wanted) == len(parts) and all(fnmatchcase(p, w) for p, w in zip(parts, wanted, strict=True)):
            return True
    return False


def unfolded(pattern: str) -> list[str]:
    """Return the patterns that one with braces stands for; a backslash is taken away."""
    plain = pattern.replace("\\", "")
    head, brace, rest = plain.partition("{")
    inner, closed, tail = rest.partition("}")
    if not brace or not closed or "{" in inner:
        return [plain]
    return [made for word in inner.split(",") for made in unfolded(head + word + tail)]
