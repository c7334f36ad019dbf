"""Hand warnings to the channels."""

from agent import registry
from agent.core.errors import PrivetError
from agent.core.warn import PrivacyWarning
from agent.guard.books import Books
from agent.system.door import System
from agent.system.parts import Post


def tell(system: System, post: Post, books: Books, channels: tuple[str, ...], new: tuple[PrivacyWarning, ...]) -> None:
    """Tell every channel; one that fails does not keep the others from telling."""
    for name in channels:
        try:
            channel = registry.channel(name)
            for warning in new:
                channel.deliver(system, post, warning)
            if new:
                channel.refresh(system, books.warnings)
        except PrivetError as error:
            books.store.append("channel", {"name": name, "why": str(error)})
