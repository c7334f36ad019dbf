"""systemd-networkd of the simulated device: at its start it sets up each link by the first file that matches it.

Of all that it can set only the change of IPv6 addresses is here. Where its file is silent that is "no", whatever sysctl
said before.
"""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from agent.core.errors import Missing, PrivetError

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

ENABLED = "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
FOLDERS = ("/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network")
CONF = "/proc/sys/net/ipv6/conf"
WORDS = {"no": b"0\n", "prefer-public": b"1\n", "yes": b"2\n"}
SYNONYMS = {"true": "yes", "on": "yes", "1": "yes", "false": "no", "off": "no", "0": "no"}
NO_LINKS = ("all", "default", "lo")


def start(device: "SimulatedSystem") -> None:
    """Set up every link, if this daemon is enabled; called once the kernel's values are as sysctl wants them."""
    try:
        device.stat(ENABLED)
    except Missing:
        return
    files = listed(device, FOLDERS, ".network")
    for link in device.entries(CONF):
        chosen = [name for name in sorted(files) if matches(device, files[name], link)] if link not in NO_LINKS else []
        if chosen:
            set_up(device, link, chosen[0], files[chosen[0]])


def set_up(device: "SimulatedSystem", link: str, name: str, path: str) -> None:
    """Set the link's value as its file and the drop-ins of that file say."""
    drops = listed(device, tuple(f"{folder}/{name}.d" for folder in FOLDERS), ".conf")
    word = "no"
    for one in [path, *(drops[drop] for drop in sorted(drops))]:
        for section, key, value in lines(device, one):
            if (section, key) == ("[Network]", "IPv6PrivacyExtensions"):
                word = SYNONYMS.get(value.lower(), value.lower())
    if word in WORDS:  # "kernel": left as it is
        device.kernel(f"{CONF}/{link}/use_tempaddr", WORDS[word])


def matches(device: "SimulatedSystem", path: str, link: str) -> bool:
    """Say whether a file is for this link; a masked one is for none."""
    named = [value for section, key, value in lines(device, path) if (section, key) == ("[Match]", "Name")]
    return any(fnmatchcase(link, pattern) for value in named for pattern in value.split())


def listed(device: "SimulatedSystem", folders: tuple[str, ...], suffix: str) -> dict[str, str]:
    """Return the files of these directories by name; the first directory that has a name hides it in the others."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = device.entries(folder)
        except Missing:
            continue
        for name in names:
            if name.endswith(suffix):
                found.setdefault(name, f"{folder}/{name}")
    return found


def lines(device: "SimulatedSystem", path: str) -> list[tuple[str, str, str]]:
    """Return section, key and value of each line; nothing from a mask."""
    found, section = [], ""
    try:
        text = device.read(path).decode()
    except PrivetError:
        return []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found.append((section, key.strip(), value.strip()))
    return found
