"""Crowds at the control socket of a real device: root and the owner are heard whatever the others do."""

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.device.lab import Lab
from tests.device.people import asked, become, peopled, resident
from tests.device.whole import Whole

pytestmark = pytest.mark.alone  # they want all of the machine that there is

# Holds as many connections as it can, in the given way, and makes new ones for those that were cut.
FLOOD = """
import selectors, socket, sys, time
way, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
said = {"idle": b"", "drip": b" ", "garbage": b"[" * 900 + b"\\n", "chatter": b'{"op": "status"}\\n' * 400,
        "huge": b"x" * 65000}[way]
end, made, served, cut, wires = time.monotonic() + seconds, 0, 0, 0, []
print("begun", flush=True)
while time.monotonic() < end:
    while len(wires) < count and time.monotonic() < end:
        wire = socket.socket(socket.AF_UNIX)
        wire.setblocking(False)
        try:
            wire.connect("/run/privet/control.sock")
        except BlockingIOError:
            wire.close()
            break
        made += 1
        wires.append(wire)
    for wire in list(wires):
        try:
            wire.send(said)
        except BlockingIOError:
            pass
        except OSError:
            cut += 1
            wire.close()
            wires.remove(wire)
            continue
        try:
            while wire.recv(65536):
                served += 1
        except BlockingIOError:
            pass
        except OSError:
            cut += 1
            wire.close()
            wires.remove(wire)
    time.sleep(0.01)
print(made, served, cut, len(wires))
"""
# Asks as root again and again, as the command does, and prints how long each answer took.
TIMES = """
import json, sys, time
from agent.cli.call import call
took = []
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    begun = time.monotonic()
    assert call("control", {"op": "version"})["role"] == "owner"
    took.append(time.monotonic() - begun)
    time.sleep(0.05)
print(json.dumps(took))
"""


@pytest.fixture(scope="module")
def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Give a device with a running guard, and people with every role."""
    with lab.device() as device:
        made = Whole(device, tmp_path_factory.mktemp("whole"))
        peopled(made)
        yield made


def flood(whole: Whole, name: str, way: str, count: int, seconds: float) -> subprocess.Popen[bytes]:
    """Start somebody who floods the control socket."""
    words = ["-c", FLOOD, way, str(count), str(seconds)]
    # It leaves the guard some of the processor, as a service of its own has it under systemd.
    child = whole.device.spawn(["nice", "-n", "19", *become(whole.device, name, *whole.device.python(*words))])
    assert child.stdout is not None and child.stdout.readline() == b"begun\n"
    return child


@pytest.mark.parametrize("way", ["idle", "drip", "garbage", "chatter", "huge"])
def test_root_is_heard_through_a_thousand_clients(whole: Whole, way: str) -> None:
    """Two accounts hold a thousand connections: root and the owner are answered, root within a second."""
    whole.until(lambda: whole.ask("version")["ok"], 10, "the guard")
    before = resident(whole)
    crowd = [flood(whole, name, way, 250, 6) for name in ("nobody", "pi", "nobody", "pi")]
    time.sleep(0.5)
    took = whole.device.ask(TIMES, "4")
    owner = asked(whole.device, "anna", "control", [b'{"op": "version"}\n'])
    assert json.loads(owner[0])["ok"] is True
    ends = [child.communicate(timeout=60)[0].split() for child in crowd]
    made, cut = (sum(int(end[place]) for end in ends) for place in (0, 2))
    assert made > 200 and cut > 0, ends  # the flood came, and the guard cut some of it
    assert max(took) < 5, sorted(took)[-5:]
    grown = resident(whole) - before
    print(f"{way}: {made} connections, {cut} cut; root asked {len(took)} times, {max(took):.3f} s at most; {grown} KiB")
    assert grown < 12000
    assert len(took) > 3
