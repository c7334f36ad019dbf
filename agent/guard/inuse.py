"""Programs that people set up on this device and that others use now: what making it private will close.

They are no ways in, so nothing is on trial; but whoever set them up hears beforehand what will end, and how to keep it.
"""

from agent.core.clock import Clock
from agent.core.record import Record, Value, replace
from agent.core.setting import Setting
from agent.core.shown import brief, spell, typed
from agent.core.trial import access
from agent.core.warn import PrivacyWarning, notable
from agent.guard.posture import Posture


class InUse(Record):
    """A setting of a program that works more openly now than it will."""

    __slots__ = ("live", "setting", "wanted")
    setting: Setting
    live: Value
    wanted: Value


def look(posture: Posture) -> tuple[InUse, ...]:
    """Name what runs openly now and will be closed; what does not run is missed by nobody."""
    found = []
    for name in posture.names():
        setting = posture.settings[name]
        if "product" not in setting.params or not setting.enforce or access(setting):
            continue
        live, wanted = posture.probe(setting).live, posture.baseline[name]
        if live is not None and not setting.lattice().allows(wanted, live):
            found.append(InUse(setting=setting, live=live, wanted=wanted))
    return tuple(found)


def sentence(one: InUse) -> str:
    """Say what changes."""
    return f"{one.setting.title}: now {brief(spell(one.live))}, then {brief(spell(one.wanted))}"


def keep(one: InUse) -> str:
    """Say how to have it back for a while."""
    return f'sudo privet loosen {one.setting.id} {typed(one.live)} --for 30d --reason "others use it"'


def closing(found: tuple[InUse, ...], clock: Clock) -> PrivacyWarning:
    """Write the warning that goes out before they are closed."""
    title = "Programs that others use now are closed to them, because this device becomes private"
    done = "; ".join(sentence(one) for one in found)
    undo = "To have one back for a while: " + "; ".join(keep(one) for one in found)
    undo += "; other devices reach it only through a port that is let in as well: privet explain firewall.inbound"
    return replace(notable("policy", "", title, "", done, clock), undo=undo)
