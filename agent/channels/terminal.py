"""Tell everyone who is logged in at a terminal, at once."""

from agent.core.errors import PrivetError
from agent.core.warn import PrivacyWarning, told
from agent.system.door import System
from agent.system.moments import local
from agent.system.parts import Post


def deliver(system: System, post: Post, warning: PrivacyWarning) -> None:
    """Write to the terminals through wall(1), which strips control characters."""
    try:
        system.run(("wall", "--timeout", "2"), stdin=f"Privet: {local(told(warning))}\n".encode(), seconds=5)
    except PrivetError:
        return


def refresh(system: System, warnings: tuple[PrivacyWarning, ...]) -> None:
    """Do nothing: a terminal scrolls away."""
