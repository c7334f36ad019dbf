"""Files on the boot partition whose being there is an order: the next start turns remote login on.

Params: `files` (names), `say` (the one that makes it loose) and `words` (strict and loose, blank separated). Whoever
has the card in hand for a minute can lay one down from any computer. They are removed, which on FAT is one mark in the
directory; a start that took one up has removed it itself, so what is live is what is kept.

Prepared: `place`, `found` (paths).
"""

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import PrivetError, Refused
from agent.core.plan import Append, Remove
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System

PARAMS = ("files", "say", "words")


def probe(system: System, params: Params) -> Reading:
    """Say whether one of them lies there."""
    strict, loose = str(params["words"]).split()
    try:
        place = board.partition(system)
        if not place:
            return absent("this device has no boot partition of a Raspberry Pi")
        value = loose if laid(system, params, place) else strict
    except PrivetError as error:
        return unread(str(error))
    return seen(value, value)


def steps(params: Params, option: Value) -> tuple[Append | Remove, ...]:
    """Take them away; or lay one down."""
    if "place" not in params:
        raise Refused("the boot partition was not looked at first; run privet enforce again")
    found = texts(params, "found")
    if option == str(params["words"]).split()[0]:
        return tuple(Remove(path=path) for path in found)
    return () if found else (Append(path=f"{params['place']!s}/{texts(params, 'say')[0]}", before=b"", content=b"\n"),)


def watches(params: Params) -> tuple[str, ...]:
    """Name where the boot partition is mounted."""
    return board.PLACES


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device."""
    place = board.partition(system)
    return {**params, "place": place, "found": tuple(laid(system, params, place))} if place else params


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words, empty when it is not given."""
    value = params.get(name, ())
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def laid(system: System, params: Params, place: str) -> list[str]:
    """Return those that are there; FAT makes no difference between large and small letters."""
    return [f"{place}/{name}" for name in system.entries(place) if name.lower() in texts(params, "files")]
