"""What each kind of part offers: the contracts that providers and channels are held to."""

from typing import TYPE_CHECKING, Protocol

from agent.core.assess import Reading
from agent.core.credential import Found, Memory
from agent.core.plan import Append, Overwrite, Own, Reload, Remove, Run, Unlist, Write
from agent.core.secret import Secret
from agent.core.trial import Way
from agent.core.warn import PrivacyWarning
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params, Value

Step = Write | Overwrite | Append | Remove | Own | Unlist | Run | Reload


class Provider(Protocol):
    """A module that probes and changes one kind of setting."""

    PARAMS: tuple[str, ...]

    def probe(self, system: System, params: "Params") -> Reading:
        """Look at the setting in every place it lives.

        A kind whose look may lack an answer that comes later by itself says unknown until then, and also has
        `answered(system, params)`: False while it is still awaited, True when it is time to look again, None when the
        latest look waits for nothing.
        """

    def steps(self, params: "Params", option: "Value") -> tuple[Step, ...]:
        """Say what makes the option hold now and after a reboot.

        A kind whose steps depend on what stands on the device also has `prepare(system, params) -> params`, called just
        before: it looks and adds what `steps` must know, so that `steps` itself stays pure. A kind whose steps take
        hold at the next start of the device only says so by `RESTART = True`, and its probe by a cause.
        """

    def watches(self, params: "Params") -> tuple[str, ...]:
        """Name the directories whose change may move the reading."""


class Post(Protocol):
    """A way for a channel to hand text to the outbox; returns False when the owner has not agreed to that purpose."""

    def __call__(self, purpose: str, name: str, text: str) -> bool:
        """Queue a text under a purpose."""


class Channel(Protocol):
    """A module that delivers warnings."""

    def deliver(self, system: System, post: Post, warning: PrivacyWarning) -> None:
        """Tell one warning, now."""

    def refresh(self, system: System, warnings: tuple[PrivacyWarning, ...]) -> None:
        """Show what stands at this moment, where the channel has a standing place."""


class Tries:
    """What ways in are tried with.

    `flows`: live inbound flows, None when there is no firewall of ours. `staged`: secrets that wait for the owner, by
    account. `proven`: digests of what was opened once; a way adds to them.
    """

    def __init__(self, flows: "Value | None", staged: dict[str, Secret], proven: set[bytes]) -> None:
        self.flows = flows
        self.staged = staged
        self.proven = proven


class WayIn(Protocol):
    """A module that tries one way in."""

    def look(self, system: System, tries: Tries) -> Way:
        """Say how the way stands now, by using it where that can be done without the owner."""


class Credential(Protocol):
    """A module that finds factory secrets of one kind, replaces them and proves that the old one is dead.

    Each call looks at the device itself; what it changes is durable when it returns. A call may be the last one for
    this start, at any instant: the next start asks `standing` and goes on from there. A kind whose product takes no
    long secrets also has `generate(entropy) -> Secret`, in place of the one that all others share.
    """

    PARAMS: tuple[str, ...]

    def find(self, system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
        """Name the factory secrets that are here, and note in `memory` what was seen to be none."""

    def standing(self, system: System, params: "Params", found: Found, new: Secret | None) -> str:
        """Say what is in place now: OLD, NEW or OTHER (agent.core.credential)."""

    def replace(self, system: System, params: "Params", found: Found, new: Secret | None) -> None:
        """Put the new secret in place; where a person gets none (`found.owner` is false) lock or remake it."""

    def prove(self, system: System, params: "Params", found: Found, new: Secret | None) -> None:
        """Make durable what stands, then try both: Failed unless the new one works and the old one is refused."""

    def clean(self, system: System, params: "Params", found: Found) -> None:
        """Remove the copies of the old one that tools keep."""

    def remember(self, system: System, params: "Params", found: Found, memory: Memory) -> None:
        """Note that what stands now is no factory secret, and what stood before was one."""
