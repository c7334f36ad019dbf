"""Answers that a look could not wait for: which settings they are about, when to look again, how long to keep quiet."""

from agent import registry
from agent.core.setting import Setting
from agent.system.door import System

HOLD = 3600  # seconds without a warning about nothing but an answer that is on its way
SOON = 1  # seconds between asking whether it is there


class Awaited:
    """The settings of one device whose latest look lacks an answer that comes by itself, by the time that began."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.since: dict[str, int] = {}

    def note(self, setting: Setting, uptime: int) -> None:
        """Note after a look whether it lacks an answer."""
        if self.answered(setting) is None:
            self.since.pop(setting.id, None)
        else:
            self.since.setdefault(setting.id, uptime)

    def answered(self, setting: Setting) -> bool | None:
        """Ask the provider: None when nothing is waited for."""
        ask = getattr(registry.provider(setting.provider), "answered", None)
        said: bool | None = ask(self.system, setting.params) if ask is not None else None
        return said

    def due(self, settings: dict[str, Setting]) -> tuple[str, ...]:
        """Name the settings to look at again, because their answer is there."""
        return tuple(name for name in sorted(self.since) if self.answered(settings[name]) is not False)

    def names(self, uptime: int) -> tuple[str, ...]:
        """Name the settings that are waited for without a word; what takes too long is told as any other."""
        return tuple(name for name, since in sorted(self.since.items()) if uptime - since < HOLD)
