"""Greet whoever logs in with what happened lately (pam_motd reads /run/motd.d; memory only, so no wear)."""

from agent.core.errors import PrivetError
from agent.core.warn import PrivacyWarning, told
from agent.system.door import System
from agent.system.moments import local, moment
from agent.system.parts import Post

PATH = "/run/motd.d/50-privet"
SHOWN = 5
RECENT = 7 * 86400


def deliver(system: System, post: Post, warning: PrivacyWarning) -> None:
    """Do nothing: refresh() shows it at the same moment, together with the rest."""


def refresh(system: System, warnings: tuple[PrivacyWarning, ...]) -> None:
    """Show what is open, and what was told within the last week, newest first."""
    now = system.clock().wall
    recent = [w for w in reversed(warnings) if w.open or 0 <= now - w.last < RECENT]
    recent.sort(key=lambda w: (-w.open, -w.last))  # stable: of the same second, the later one first
    try:
        if not recent:
            system.remove(PATH)
            return
        system.write(PATH, page(recent[:SHOWN], len(recent)).encode(), 0o644)
    except PrivetError:
        return


def page(shown: list[PrivacyWarning], total: int) -> str:
    """Write the greeting."""
    lines = ["", "Privet: privacy warnings on this device"]
    for warning in shown:
        lines.append(f"* {moment(warning.since)}  " + local(told(warning)).replace("\n", "\n    "))
    if total > len(shown):
        lines.append(f"  and {total - len(shown)} more: privet status")
    return "\n".join([*lines, "", ""])
