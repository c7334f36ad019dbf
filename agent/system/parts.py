"""What each kind of part offers: the contracts that providers and channels are held to."""

from typing import TYPE_CHECKING, Protocol

from agent.core.assess import Reading
from agent.core.plan import Own, Reload, Remove, Run, Write
from agent.core.warn import PrivacyWarning
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params, Value

Step = Write | Remove | Own | Run | Reload


class Provider(Protocol):
    """A module that probes and changes one kind of setting."""

    PARAMS: tuple[str, ...]

    def probe(self, system: System, params: "Params") -> Reading:
        """Look at the setting in every place it lives."""

    def steps(self, params: "Params", option: "Value") -> tuple[Step, ...]:
        """Say what makes the option hold now and after a reboot."""

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
