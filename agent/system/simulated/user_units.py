"""systemd of the people who use the simulated device: for whom it lingers, it starts what is wanted for them.

A unit that runs has a control group. One whose file is masked or whose conditions do not hold is skipped.
"""

from typing import TYPE_CHECKING

from agent.system.door import Outcome
from agent.system.simulated.unit_files import MASK, conditions_hold, names, text

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

PLACES = ("/etc/systemd/user", "/run/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
OWN = ".config/systemd/user"
LINGER = "/var/lib/systemd/linger"
GROUPS = "/sys/fs/cgroup/user.slice"


def boot(device: "SimulatedSystem") -> None:
    """Start what is wanted for everybody whose systemd lingers."""
    for name in names(device, LINGER):
        number, home = person(device, name)
        if not number:
            continue
        device.hand.directory(group(number), volatile=True)
        places = (f"{home}/{OWN}", *PLACES)
        folders = [f"{place}/{one}" for place in places for one in names(device, place) if one.endswith(".wants")]
        for unit in {unit for folder in folders for unit in names(device, folder)}:
            start(device, number, places, unit)


def start(device: "SimulatedSystem", number: str, places: tuple[str, ...], unit: str) -> None:
    """Start one unit for one person."""
    files = [f"{place}/{unit}" for place in places if unit in names(device, place)]
    parts: dict[str, str] = {}
    for place in reversed(places):
        parts.update({one: f"{place}/{unit}.d/{one}" for one in names(device, f"{place}/{unit}.d")})
    read, section = [], ""
    for path in (*files[:1], *(parts[one] for one in sorted(parts))):
        for line in text(device, path).splitlines():
            section = line.strip("[]") if line.startswith("[") else section
            key, equals, value = line.partition("=")
            read += [(f"{section}.{key}", value)] if equals and line[0] != "#" else []
    mask = bool(files) and device.stat(files[0]).kind == "link" and device.target(files[0]) == MASK
    if files and not mask and conditions_hold(device, tuple(read)):
        device.hand.directory(f"{group(number)}/app.slice/{unit}", volatile=True)


def run(device: "SimulatedSystem", argv: tuple[str, ...]) -> Outcome:
    """Reload, or stop a unit, for one person."""
    words = [word for word in argv[1:] if not word.startswith("--")]
    named = [word for word in argv if word.startswith("--machine=") and word.endswith("@.host")]
    number = person(device, named[0][len("--machine=") : -len("@.host")])[0] if named else ""
    if not number or not exists(device, group(number)):
        return Outcome(code=1, out=b"", err=b"Failed to connect to bus: No such file or directory\n")
    if words == ["daemon-reload"]:
        return Outcome(code=0, out=b"", err=b"")
    place = f"{group(number)}/app.slice/{words[-1]}"
    if words[0] != "stop" or not exists(device, place):
        return Outcome(code=5, out=b"", err=b"Failed: unit not loaded, or no such verb.\n")
    device.hand.discard(place)
    return Outcome(code=0, out=b"", err=b"")


def exists(device: "SimulatedSystem", path: str) -> bool:
    """Say whether a directory is there."""
    above, _, name = path.rpartition("/")
    return name in names(device, above)


def group(number: str) -> str:
    """Return the control group of a person's systemd."""
    return f"{GROUPS}/user-{number}.slice/user@{number}.service"


def person(device: "SimulatedSystem", name: str) -> tuple[str, str]:
    """Return number and home of somebody, empty for nobody."""
    rows = [line.split(":") for line in text(device, "/etc/passwd").splitlines()]
    return next(((row[2], row[5]) for row in rows if row[0] == name and len(row) > 6), ("", ""))
