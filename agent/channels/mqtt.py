"""Tell the owner's own receiver over MQTT, sealed like telemetry, when they have agreed to the purpose `warnings`."""

from agent.core.notice import WARNING, WARNINGS
from agent.core.warn import PrivacyWarning, told
from agent.system.door import System
from agent.system.parts import Post


def deliver(system: System, post: Post, warning: PrivacyWarning) -> None:
    """Queue the warning; it is sealed to the recipients of the purpose and sent when there is a link."""
    post(WARNINGS, f"{WARNING}/{warning.setting or warning.kind}", told(warning))


def refresh(system: System, warnings: tuple[PrivacyWarning, ...]) -> None:
    """Do nothing: what was queued is kept until it was received."""
