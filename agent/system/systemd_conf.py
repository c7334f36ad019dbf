"""What systemd's own programs read at their start: one main file and drop-ins, by name over all folders.

A heading that is not closed, or a line in no UTF-8, ends more than its file: these programs then read none of the
files after it.
"""

from agent.core.errors import Missing
from agent.system.door import System
from agent.system.ini import parsed
from agent.system.seen import names, there

FOLDERS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")  # the highest first
ALONE = 253  # up to this release the main file is the one in /etc and no other
LIBRARY = "libsystemd-shared-"


def files(system: System, name: str) -> list[str]:
    """Return the paths that count, in the order in which they are read."""
    chosen: dict[str, str] = {}
    for folder in FOLDERS:
        for one in names(system, f"{folder}/{name}.d"):
            path = f"{folder}/{name}.d/{one}"
            if one.endswith(".conf") and not one.startswith(".") and one not in chosen and is_file(system, path):
                chosen[one] = path
    return [*main(system, name), *(chosen[one] for one in sorted(chosen))]


def main(system: System, name: str) -> list[str]:
    """Return the main file, none where there is none."""
    paths = [f"{folder}/{name}" for folder in FOLDERS]
    found = [path for path in paths if there(system, path)][:1]
    return [] if found and found[0] != paths[0] and release(system) <= ALONE else found


def is_file(system: System, path: str) -> bool:
    """Say whether a path is a file or a link; whatever else bears the name of a drop-in is passed over."""
    try:
        return system.stat(path).kind in {"file", "link"}
    except Missing:
        return False


def release(system: System) -> int:
    """Return which systemd is here, by the name of its library; a late one where that does not say."""
    folders = [
        "/usr/lib/systemd",
        *(f"/usr/lib/{one}/systemd" for one in names(system, "/usr/lib") if "-linux-" in one),
    ]
    for folder in folders:
        for one in names(system, folder):
            number = one.removeprefix(LIBRARY).partition(".")[0].partition("-")[0].partition("~")[0]
            if one.startswith(LIBRARY) and number.isdecimal():
                return int(number)
    return ALONE + 1


def said(texts: list[str], section: str) -> list[tuple[str, str]]:
    """Return keys and values of one section of the texts of files, in the order in which they are read."""
    found: list[tuple[str, str]] = []
    for one in texts:
        pairs, whole = parsed(one, section)
        found += pairs
        if not whole:
            break
    return found
