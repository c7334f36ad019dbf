"""Whether apt's daily work really fetches and installs security updates: what its timers start may do nothing at all.

No params. `on` when apt itself says that the work is enabled, that it refreshes the lists of packages and that it
installs upgrades, each
at least every so many days (`within`); otherwise `off`. apt's own reader joins its files, nested
blocks and all, so it is asked; live is kept, since the work reads them each time.
"""

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import Failed, Missing, PrivetError
from agent.core.plan import Remove, Write
from agent.core.record import Params, Value
from agent.system.door import System

PARAMS = ("within",)
PROGRAM = "/usr/bin/unattended-upgrade"
OWN = "/etc/apt/apt.conf.d/zz-privet-periodic"
KEYS = {"ENABLED": "Enable", "LISTS": "Update-Package-Lists", "UPGRADES": "Unattended-Upgrade"}
ALWAYS = "always"
DAYS = {"s": 1, "m": 1, "h": 1, "d": 1}  # a span below a day is as good as a day


def probe(system: System, params: Params) -> Reading:
    """Ask apt what it will do."""
    try:
        system.stat(PROGRAM)
        said = asked(system)
        within = params["within"]
        limit = within if isinstance(within, int) else 1
        enabled = said.get("ENABLED", "1") != "0"
        fresh = all(0 < days(said.get(name, "0")) <= limit for name in ("LISTS", "UPGRADES"))
        value = "on" if enabled and fresh else "off"
    except Missing:
        return absent("unattended-upgrades is not installed")
    except PrivetError as error:
        return unread(str(error))
    return seen(value, value)


def asked(system: System) -> dict[str, str]:
    """Return what apt makes of its files."""
    words = [word for name, key in KEYS.items() for word in (name, f"APT::Periodic::{key}")]
    outcome = system.run(("apt-config", "shell", *words))
    if outcome.code != 0:
        raise Failed("apt does not accept its configuration; run apt-config dump to see why")
    lines = outcome.out.decode("utf-8", "replace").splitlines()
    return {name: value.strip("'\"") for name, _, value in (line.partition("=") for line in lines)}


def days(text: str) -> int:
    """Return a span in whole days, at least one if it is any; 0 for never and for what apt does not read."""
    if text == ALWAYS:
        return 1
    number, unit = (text[:-1], text[-1]) if text[-1:] in DAYS else (text, "d")
    if not number.isdigit() or int(number) == 0:
        return 0
    return int(number) if unit == "d" else 1


def steps(params: Params, option: Value) -> tuple[Write | Remove, ...]:
    """Write our file, which is read after all others."""
    state = "1" if option == "on" else "0"
    text = "// Written by Privet. Remove this file to undo it.\n"
    text += "".join(f'APT::Periodic::{key} "{state if key != "Enable" else "1"}";\n' for key in KEYS.values())
    return (Write(path=OWN, content=text.encode(), mode=0o644, uid=0, gid=0),)


def watches(params: Params) -> tuple[str, ...]:
    """Name where apt's configuration is."""
    return ("/etc/apt", "/etc/apt/apt.conf.d")
