"""Settings on the machine: what the installed package finds there, and what it changes, through the real door."""

import json
from typing import Any

from tests.device.enforced import ENFORCE, LOOK
from tests.vm.guest import Guest

PACKAGE = 'import sys\nsys.path.insert(0, "/usr/lib/privet")\n'


def look(guest: Guest, name: str) -> dict[str, Any]:
    """Probe a setting, again when an answer comes later; lists stand for tuples."""
    found: dict[str, Any] = json.loads(guest.must(["python3", "-BSc", PACKAGE + LOOK, name, "patiently"]))
    return found


def enforce(guest: Guest, name: str, value: Any) -> str:
    """Apply the steps of a value; return the error's sentence, empty when there was none."""
    said = guest.must(["python3", "-BSc", PACKAGE + ENFORCE, name, json.dumps(value)])
    error: str = json.loads(said)
    return error
