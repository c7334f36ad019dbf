"""What the names of this device give away to everybody who sees them: on the network, by radio, in lists of routers.

No params. Names: `host` (the host name, now and after a restart), `bluetooth` (BlueZ, and the pretty name it uses),
`wifi` (of an access point of its own: hostapd, NetworkManager). A word is `name:what`: `default` (the one it was made
with), `model` (what kind of device it is), `person` (an account's name, or the name of the person behind it), `serial`
(digits of its serial number or of a hardware address). Told, not undone: what it is to be called its owner knows; the
credential `host_name` gives a random one at first boot.
"""

from agent.core.assess import Reading, unread
from agent.core.errors import PrivetError, Unreadable
from agent.core.order import words
from agent.core.record import Params, Value
from agent.system import conf
from agent.system.door import System
from agent.system.parts import Step
from agent.system.seen import names, text

PARAMS: tuple[str, ...] = ()
DEFAULTS = {
    "debian", "dietpi", "homeassistant", "homebridge", "libreelec", "localhost", "moode", "octopi", "openmediavault",
    "osmc", "pihole", "raspberrypi", "retropie", "volumio",
}  # fmt: skip
MODELS = ("raspberry", "raspi", "rpi", "bananapi", "orangepi", "rockpi", "odroid", "jetson", "beaglebone", "pizero")
SHORTEST = 3  # letters of a person's name that make it a name
DIGITS = 4  # of a number that make it that number
PERSONS = range(1000, 60000)
HOSTAPD = "/etc/hostapd/hostapd.conf"
CONNECTIONS = "/etc/NetworkManager/system-connections"


def probe(system: System, params: Params) -> Reading:
    """Judge every name, as it is now and as it will be after a restart."""
    try:
        people, numbers = persons(system), serials(system)
        live_host = system.read("/proc/sys/kernel/hostname").decode("utf-8", "replace").strip()
        kept_host = text(system, "/etc/hostname").strip() or live_host
        others = [("bluetooth", name) for name in bluetooth(system)] + [("wifi", name) for name in wifi(system)]
        made = []
        for host in (live_host, kept_host):
            names = [("host", host), *others]
            made.append(words([f"{what}:{leak}" for what, name in names for leak in leaks(name, people, numbers)]))
    except PrivetError as error:
        return unread(str(error))
    return Reading(live=made[0], kept=made[1], cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Change nothing."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where names are kept."""
    return ("/etc", "/etc/bluetooth", "/etc/hostapd", CONNECTIONS)


def letters(name: str) -> str:
    """Return a name as it is compared: small letters and digits only."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def persons(system: System) -> set[str]:
    """Return the names of people: of their accounts, and of the persons behind them."""
    found: set[str] = set()
    for row in (line.split(":") for line in text(system, "/etc/passwd").splitlines()):
        if len(row) > 6 and row[2].isdigit() and int(row[2]) in PERSONS:
            found.update({letters(row[0]), *(letters(part) for part in row[4].split(",")[0].split())})
    return {name for name in found if len(name) >= SHORTEST}


def serials(system: System) -> set[str]:
    """Return the numbers of this device: its serial number and the hardware addresses of its interfaces."""
    found = {text(system, "/proc/device-tree/serial-number").strip("\0\n ").lower().lstrip("0")}
    for name in names(system, "/sys/class/net"):
        try:
            found.add(letters(text(system, f"/sys/class/net/{name}/address")))
        except Unreadable:  # an interface without one
            continue
    return {number for number in found if len(number) >= DIGITS and number.strip("0")}


def leaks(name: str, people: set[str], numbers: set[str]) -> list[str]:
    """Say what a name gives away."""
    plain = letters(name)
    if not plain:
        return []
    found = ["default"] if plain in DEFAULTS else []
    found += ["model"] if any(letters(model) in plain for model in MODELS) else []
    found += ["person"] if any(person in plain for person in people) else []
    ends = {number[-DIGITS:] for number in numbers}
    found += ["serial"] if any(plain.endswith(end) or (end in plain and len(end) > DIGITS) for end in ends) else []
    return found


def bluetooth(system: System) -> list[str]:
    """Return the name that BlueZ gives the device, unless it is made of the host name."""
    named = conf.value(text(system, "/etc/bluetooth/main.conf"), "General", "Name")
    pretty = conf.value(text(system, "/etc/machine-info"), "", "PRETTY_HOSTNAME")
    return [name for name in (named, pretty) if name and "%h" not in name]


def wifi(system: System) -> list[str]:
    """Return the names of the wireless networks that this device itself offers."""
    found = [conf.value(text(system, HOSTAPD), "", "ssid")]
    for name in names(system, CONNECTIONS):
        content = text(system, f"{CONNECTIONS}/{name}")
        if any(conf.value(content, kind, "mode") == "ap" for kind in ("wifi", "802-11-wireless")):
            found += [conf.value(content, kind, "ssid") for kind in ("wifi", "802-11-wireless")]
    return [name for name in found if name]
