"""paho-mqtt without what it loads and never uses here: proxies of the environment, a log of its own, old Windows.

These are a sixth of the courier's memory (3.5 MB: urllib.request alone brings http.client, email and tempfile). Bare
modules stand in their places while paho is loaded, and no longer; what paho would ask them says so instead of working:
a proxy named in the environment is never taken.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

LEVELS: dict[str, object] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
BARE: dict[str, dict[str, object]] = {
    "logging": LEVELS,
    "platform": {"system": lambda: "Linux"},
    "urllib.request": {"proxy_bypass": lambda _host: True},
}
NONE = ("socks", "dns", "dns.resolver")  # tried by paho where somebody has installed them


@contextmanager
def bare() -> Iterator[None]:
    """Keep these modules from being loaded; those that are loaded already are used as they are."""
    stood = [name for name in (*BARE, *NONE) if name not in sys.modules]
    for name in stood:
        sys.modules[name] = made(name)  # type: ignore[assignment] # None: an import of it fails
    try:
        yield
    finally:
        for name in stood:
            sys.modules.pop(name, None)


def made(name: str) -> ModuleType | None:
    """Return a module of this name with the few things paho looks up while it is loaded; None for what it may miss."""
    if name not in BARE:
        return None
    module = ModuleType(name)
    vars(module).update(BARE[name])
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(__import__(parent), last, module)
    return module


with bare():
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

__all__ = ["CallbackAPIVersion", "Client", "MQTTErrorCode", "MQTTProtocolVersion", "PacketTypes", "Properties"]
