"""Whether what arrives was agreed to: the owner's consent stands in each key record, sealed to us (FORMAT.md 3.2).

What was not agreed to is neither kept nor acknowledged: an acknowledgement would say that it is stored here, and its
device would let go of it. So a consent that is only unknown here (a policy that was not brought to this collector)
costs no reading: the device has it, and sends it again.
"""

from collections.abc import Callable

from agent.core.errors import NotConsented
from provisioning.collector.open import EpochKeys, Place
from provisioning.collector.store import Store
from provisioning.collector.tally import Tally

KEPT = 4096  # epochs that were turned away, kept in memory
TAKEN_BACK = "SELECT max(asked) FROM deletion WHERE device = ? AND purpose = ?"
UNTOLD, WITHDRAWN, UNNOTICED = "untold", "withdrawn", "unnoticed"
WHY = {
    UNTOLD: "its device tells nothing of its owner's consent; update Privet there",
    WITHDRAWN: "its owner has taken back the consent it was sealed under; update Privet there",
    UNNOTICED: "its owner agreed to a notice that no policy here has; bring the fleet's signed policies here",
}

Notices = Callable[[str, str], frozenset[bytes] | None]
"""(purpose, recipient): digests of every declaration that a signed policy of the fleet has; None: not known here."""


def anything(_purpose: str, _recipient: str) -> None:
    """Compare no notice: a collector that has no policy of its fleet."""


class Consents:
    """One recipient's; `tally` counts each message that is turned away, the operator hears of each epoch once."""

    def __init__(self, recipient: str, store: Store, notices: Notices, tally: Tally) -> None:
        self.recipient, self.store, self.notices, self.tally = recipient, store, notices, tally
        self._away: dict[tuple[Place, int], str] = {}

    def check(self, place: Place, epoch: int, keys: EpochKeys) -> bool:
        """Say whether an epoch was agreed to; the first time that it was not, NotConsented says why."""
        why = self._why(place, keys)
        if not why:
            self._away.pop((place, epoch), None)
            return True
        known = self._away.get((place, epoch)) == why
        if len(self._away) >= KEPT:
            self._away.clear()
        self._away[place, epoch] = why
        self._count(why)
        if known:
            return False
        raise NotConsented(f"{place.purpose} of {place.device} is not taken: {WHY[why]}")

    def away(self, place: Place, epoch: int) -> bool:
        """Say whether records of this epoch are turned away, and count one."""
        why = self._away.get((place, epoch))
        if why is not None:
            self._count(why)
        return why is not None

    def _why(self, place: Place, keys: EpochKeys) -> str:
        if keys.consent is None:
            return UNTOLD
        at, _, declared = keys.consent
        taken_back = self.store.plain(TAKEN_BACK, place.device, place.purpose)[0][0]
        if taken_back is not None and at <= int(taken_back):
            return WITHDRAWN
        known = self.notices(place.purpose, self.recipient)
        return "" if known is None or declared in known else UNNOTICED

    def _count(self, why: str) -> None:
        setattr(self.tally, why, getattr(self.tally, why) + 1)
