"""What one guard is made of."""

from collections.abc import Callable
from typing import Any

from agent.core.record import Record
from agent.core.setting import Setting
from agent.guard.rules import Anchor
from agent.system.door import System
from agent.system.queue import Queue
from agent.system.vault import Vault


class Parts(Record):
    """What a house is made of; `first_boot(house)` returns True when it had work to do."""

    __slots__ = ("anchor", "first_boot", "open_queue", "settings", "store", "system", "vault")
    system: System
    store: Any
    vault: Vault
    settings: dict[str, Setting]
    anchor: Anchor
    open_queue: Callable[[str, int], Queue]
    first_boot: Callable[[Any], bool]
