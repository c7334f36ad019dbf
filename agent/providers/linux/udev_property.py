"""A property that udev gives devices, by which other programs decide what to do with them.

Params: `name` (of our rule's file), `match` (which devices, in the words of udev), `says` (the property and its private
value, `KEY=value`), `needs` (paths of programs that go by it: without all of them the setting is absent) and `words`
(strict and loose, blank separated). udev reads its rules at each event, so what is kept is what is live once it was
told; a rule after ours that gives the property another value counts more.

Prepared: `live` (whether udev runs here).
"""

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import PrivetError
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.system import board, rules
from agent.system.door import System
from agent.system.seen import text, there

PARAMS = ("name", "match", "says", "needs", "words")
SETTLED = "/run/udev/control"
NOTE = "# Written by Privet. Remove this file to give these devices back to the system.\n"


def probe(system: System, params: Params) -> Reading:
    """Say whether our rule stands, and none after it says otherwise."""
    strict, loose = str(params["words"]).split()
    try:
        if not any(there(system, path) for path in texts(params, "needs")):
            return absent(f"{texts(params, 'needs')[0]} is not installed")
        value = strict if stands(system, params) else loose
    except PrivetError as error:
        return unread(str(error))
    return seen(value, value)


def steps(params: Params, option: Value) -> tuple[Write | Remove | Run, ...]:
    """Write or remove our rule, and have udev read it."""
    own = own_file(params)
    made: Write | Remove = Remove(path=own)
    if option == str(params["words"]).split()[0]:
        made = Write(path=own, content=rule(params), mode=0o644, uid=0, gid=0)
    told = (Run(argv=("udevadm", "control", "--reload"), stdin=b""),) if params.get("live", "yes") == "yes" else ()
    return (made, *told)


def watches(params: Params) -> tuple[str, ...]:
    """Name where rules are."""
    return rules.FOLDERS


def prepare(system: System, params: Params) -> Params:
    """Add whether udev runs here."""
    return {**params, "live": "yes" if there(system, SETTLED) else "no"}


def own_file(params: Params) -> str:
    """Return the path of our rule, after those of others."""
    return f"{rules.FOLDERS[0]}/99-privet-{texts(params, 'name')[0]}.rules"


def rule(params: Params) -> bytes:
    """Write our rule."""
    key, _, value = str(params["says"]).partition("=")
    return f'{NOTE}{params["match"]!s}, ENV{{{key}}}="{value}"\n'.encode()


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words."""
    value = params[name]
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def stands(system: System, params: Params) -> bool:
    """Say whether our rule has the last word."""
    key, _, value = str(params["says"]).partition("=")
    own = own_file(params).rpartition("/")[2]
    if board.there(system, own_file(params)) != rule(params):
        return False
    for name, path in rules.files(system):
        if name > own:
            said = [word for one in rules.rules(text(system, path)) for word in one]
            if any(kind == "ENV" and inner == key and sign in {"=", ":=", "+="} and given != value
                   for kind, inner, sign, given in said):  # fmt: skip
                return False
    return True
