"""Settings on a light device: look at one and enforce one there, through the real door."""

import json
from typing import Any

from tests.device.lab import Device

LOOK = """
import json, sys, time
from agent import registry
from agent.system.real import RealSystem
system, setting = RealSystem(), registry.settings()[sys.argv[1]]
provider = registry.provider(setting.provider)
reading = provider.probe(system, setting.params)
answered = getattr(provider, "answered", lambda *_: None)
while len(sys.argv) > 2 and (said := answered(system, setting.params)) is not None:
    reading = provider.probe(system, setting.params) if said else reading
    time.sleep(0.05)
print(json.dumps({"live": reading.live, "kept": reading.kept, "cause": reading.cause, "absent": reading.absent}))
"""
ENFORCE = """
import json, sys
from agent import registry
from agent.core.errors import PrivetError
from agent.guard.executor import apply
from agent.system.real import RealSystem
setting = registry.settings()[sys.argv[1]]
value = json.loads(sys.argv[2])
system, provider = RealSystem(), registry.provider(setting.provider)
try:
    prepare = getattr(provider, "prepare", None)
    params = prepare(system, setting.params) if prepare else setting.params
    apply(system, provider.steps(params, tuple(value) if isinstance(value, list) else value))
    print(json.dumps(""))
except PrivetError as error:
    print(json.dumps(str(error)))
"""


def look(device: Device, name: str, *, patiently: bool = True) -> dict[str, Any]:
    """Probe a setting on the device, again when an answer comes later; lists stand for tuples."""
    found: dict[str, Any] = device.ask(LOOK, name, *(["patiently"] if patiently else []))
    return found


def enforce(device: Device, name: str, value: Any) -> str:
    """Apply the steps of a value on the device; return the error's sentence, empty when there was none."""
    error: str = device.ask(ENFORCE, name, json.dumps(value))
    return error
