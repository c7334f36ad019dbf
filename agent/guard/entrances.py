"""Look at every way in, with what the guard knows: the live firewall, secrets that wait for the owner, proofs kept."""

from agent import registry
from agent.core.errors import PrivetError
from agent.core.record import Value
from agent.core.secret import Secret
from agent.core.setting import Setting
from agent.core.trial import SHUT, Way
from agent.guard.books import Store
from agent.guard.posture import Posture
from agent.system.door import System
from agent.system.parts import Tries

INBOUND = "firewall.inbound"
STAGED = "credential/linux_account/"


def look(system: System, store: Store, settings: dict[str, Setting], posture: Posture) -> tuple[Way, ...]:
    """Return every way in as it stands now; what was opened just now is remembered for as long as it stays the same."""
    before = {bytes(one) for one in store.get("proven") or ()}
    tries = Tries(inbound(settings, posture), staged(store), set(before))
    found = []
    for name, way in registry.ways().items():
        try:
            found.append(way.look(system, tries))
        except PrivetError as error:
            found.append(Way(name=name, reach="", state=SHUT, flow="", cause=str(error)))
    if tries.proven != before:
        store.put({"proven": sorted(tries.proven)})
    return tuple(found)


def inbound(settings: dict[str, Setting], posture: Posture) -> Value | None:
    """Return the flows that the live firewall lets in, None when it cannot be read: then none of ours is in force."""
    setting = settings.get(INBOUND)
    return None if setting is None else posture.probe(setting).live


def staged(store: Store) -> dict[str, Secret]:
    """Return the new passwords that wait for the owner, by account."""
    found = {}
    for key in store.keys(STAGED):
        value = store.get(key)
        if isinstance(value, bytes):
            found[key[len(STAGED) :]] = Secret(value)
    return found
