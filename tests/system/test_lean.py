"""The guard runs without `typing`: what stands in its place is enough for every part that it loads."""

import subprocess
import sys

from tests.house import ROOT

LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["_hashlib"] = None
from agent.system import lean
sys.modules["typing"] = lean
import agent.guard.run
from agent import registry
from agent.system.simulated import SimulatedSystem, raspberry
device = SimulatedSystem(image=raspberry.board)
for setting in registry.settings().values():
    reading = registry.provider(setting.provider).probe(device, setting.params)
    assert reading.cause or reading.live is not None, setting.id
assert sys.modules["typing"] is lean and "unicodedata" not in sys.modules
print(len([name for name in sys.modules if name.startswith("agent.")]))
"""


def test_the_guard_needs_no_typing() -> None:
    """Every kind of setting is loaded and looks at a device; nothing loads the real module, or names of the world."""
    argv = [sys.executable, "-IBS", "-c", LOADED, str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_the_shipped_guard_begins_with_it() -> None:
    """What the unit starts puts it there before anything of ours is loaded."""
    text = (ROOT / "provisioning" / "package" / "privet-guard").read_text(encoding="utf-8")
    assert text.index('sys.modules["typing"] = lean') < text.index("agent.guard.run")
