"""The gate of the first boot: nothing comes in until every factory secret is gone, then what the policy allows."""

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from agent import registry
from agent.core.errors import PrivetError, Unreadable
from agent.core.record import Params, frozen
from agent.core.warn import notable
from agent.guard import glass, inuse, words
from agent.guard.executor import apply
from agent.guard.firstboot import FirstBoot
from agent.guard.posture import Posture
from agent.guard.recovery import hand_over
from agent.guard.signs import Signs
from agent.system.parts import Credential

if TYPE_CHECKING:
    from agent.guard.house import House

INBOUND = "firewall.inbound"


class FirewallGate:
    """Shut: the inbound chain of our table lets nothing in. Open: it lets in what the policy declares."""

    def __init__(self, house: "House") -> None:
        self.house = house

    def shut(self) -> None:
        """Let nothing in, now and after a restart."""
        self.load(())

    def open(self) -> None:
        """Let in the declared flows."""
        baseline = self.house.rules.baseline()
        self.load(cast(tuple[str, ...], baseline.get(INBOUND, ())))

    def load(self, flows: tuple[str, ...]) -> None:
        """Load the inbound chain; a device without the setting in its policy is shut in all the same."""
        setting = self.house.parts.settings[INBOUND]
        provider = registry.provider(setting.provider)
        apply(self.house.system, provider.steps(setting.params, flows))


def foretell(house: "House") -> None:
    """Tell what others use on this device, before it is closed to them."""
    found = inuse.look(Posture(house.system, house.parts.settings, house.rules.baseline()))
    if found:
        house.guard.announce(inuse.closing(found, house.system.clock()))


def first_boot(house: "House") -> bool:
    """Run what is left of the first boot; True when this start had work to do.

    When it cannot be finished the gate stays shut, the owner is told why, and the rest of the guard goes on.
    """
    policy = house.rules.policy
    if policy is None:
        return False
    kinds = []
    for row in policy.credentials:
        kind = cast(Credential, registry.part("credentials", row["kind"]))
        params: Params = frozen(row["params"])
        kinds.append((row["kind"], kind, params))
    anew = glass.pending(house.system)
    kind_of_boot = glass.NewOwner if anew else FirstBoot
    signs = Signs(house.system, house.say)
    boot = kind_of_boot(house.system, house.books.store, FirewallGate(house), kinds, signs=signs)
    boot.finishes = house.finishes
    fresh = not boot.provisioned()
    try:
        reached = boot.run()
    except PrivetError as error:
        house.shut_in = True
        title = "The first start of this device could not be finished; nothing can reach it from outside"
        house.guard.announce(notable("failed", "", title, "", str(error), house.system.clock()))
        return True
    with suppress(Unreadable):  # a disk that takes nothing keeps no new code; the next start makes one
        glass.issue(house.system, house.books.store)
    if anew:
        begun_anew(house)
    if fresh:
        hand_over(house)
        foretell(house)
    if reached.returned:
        clock = house.system.clock()
        title = f"A factory password or key is back: {', '.join(reached.returned)}"
        risk = "Anyone who knows how this device was sold can try it."
        house.guard.announce(notable("failed", "", title, risk, "Change it now, for example with passwd.", clock))
    return fresh


def begun_anew(house: "House") -> None:
    """End a reset, and tell who asked for it."""
    erased = glass.record(house.system, glass.ASKED).get("by") == glass.OWNER
    glass.done(house.system)
    house.guard.announce(words.begun_anew(erased, house.system.clock()))
