"""One option of apt: what apt itself makes of all its files is as private as we would have it, or is not.

Params: `name` (of our file), `key` (of the option), `value` (the private one) and `words` (private and not, blank
separated). apt reads its files each time it works, so what is kept is what is live.
"""

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import Failed, PrivetError
from agent.core.plan import Remove, Write
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.seen import there

PARAMS = ("name", "key", "value", "words")
PROGRAM = "/usr/bin/apt-config"


def probe(system: System, params: Params) -> Reading:
    """Ask apt."""
    private, other = str(params["words"]).split()
    try:
        if not there(system, PROGRAM):
            return absent("apt is not installed")
        outcome = system.run(("apt-config", "shell", "SAID", str(params["key"])))
        if outcome.code != 0:
            raise Failed("apt does not accept its configuration; run apt-config dump to see why")
        said = outcome.out.decode("utf-8", "replace").strip().partition("=")[2].strip("'\"")
    except PrivetError as error:
        return unread(str(error))
    value = private if said == params["value"] else other
    return seen(value, value)


def steps(params: Params, option: Value) -> tuple[Write | Remove, ...]:
    """Write our file, which is read after all others, or take it away."""
    path = f"/etc/apt/apt.conf.d/zz-privet-{params['name']!s}"
    if option != str(params["words"]).split()[0]:
        return (Remove(path=path),)
    text = f'// Written by Privet. Remove this file to undo it.\n{params["key"]!s} "{params["value"]!s}";\n'
    return (Write(path=path, content=text.encode(), mode=0o644, uid=0, gid=0),)


def watches(params: Params) -> tuple[str, ...]:
    """Name where apt's configuration is."""
    return ("/etc/apt", "/etc/apt/apt.conf.d")
