"""Asking for our verdict the cold way: a fresh process on the device that has never seen it before."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.device.lab import Device, LabError

# The guard runs without the power to look into other processes: then the kernel hides what they have open.
CONFINED = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")

LATER = (
    0.3  # seconds between writing a server's files and starting it, many times what a busy machine takes to read them
)

PROBE = """
import json, sys, time
from agent import registry
from agent.core.assess import assess
from agent.core.order import ANY
from agent.system.real import RealSystem

system = RealSystem()
settings = registry.settings()
found = {}
for name in sys.argv[1:]:
    setting = settings[name]
    provider = registry.provider(setting.provider)
    reading = provider.probe(system, setting.params)
    while (said := getattr(provider, "answered", lambda *_: None)(system, setting.params)) is not None:
        reading = provider.probe(system, setting.params) if said else reading
        time.sleep(0.05)
    finding = assess(setting, setting.strictest(), reading, (), system.clock())
    found[name] = [finding.status, reading.live, reading.kept, reading.cause]
print(json.dumps(found))
"""

ENFORCE = """
import json, sys, time
from agent import registry
from agent.guard.executor import apply
from agent.system.real import RealSystem

system = RealSystem()
setting = registry.settings()[sys.argv[1]]
provider = registry.provider(setting.provider)
params = provider.prepare(system, setting.params) if hasattr(provider, "prepare") else setting.params
option = json.loads(sys.argv[2])
steps = provider.steps(params, tuple(option) if isinstance(option, list) else option)
apply(system, steps)
again = provider.prepare(system, setting.params) if hasattr(provider, "prepare") else setting.params
reading = provider.probe(system, setting.params)
for _ in range(100):  # as the guard does when what it watches moves: a daemon may not have read its files yet
    if reading.live is not None:
        break
    time.sleep(0.05)
    reading = provider.probe(system, setting.params)
print(json.dumps([reading.live, reading.kept, reading.cause, again == setting.params]))
"""


@dataclass(frozen=True)
class Verdict:
    """What the agent said of one setting, judged against its strictest option."""

    status: str
    live: Any
    kept: Any
    cause: str


def verdicts(device: Device, *names: str, confined: Sequence[str] = ()) -> dict[str, Verdict]:
    """Ask a fresh process about settings; `confined` is a program that starts it with less power."""
    done = device.run([*confined, *device.python("-c", PROBE, *names)])
    if done.returncode != 0:
        raise LabError(f"the probe failed on {device.name}: {done.stderr.decode()[-2000:]}")
    return {name: Verdict(*found) for name, found in json.loads(done.stdout).items()}


def verdict(device: Device, name: str, confined: Sequence[str] = ()) -> Verdict:
    """Ask a fresh process about one setting."""
    return verdicts(device, name, confined=confined)[name]
