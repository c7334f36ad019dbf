"""The sandbox of each unit is real: acts without business there are refused in it, and work outside of it."""

import json
import sys
from collections.abc import Iterator

import pytest

from tests.boot import acts
from tests.boot.lab import THERE, Booted, Lab
from tests.boot.shipped import active

LISTEN = "import socket, time; held = socket.create_server((%r, 443)); print(flush=True); time.sleep(1000)"

Table = dict[str, dict[str, str]]


def tried(device: Booted, name: str, text: str) -> dict[str, str]:
    """Start a unit that tries every act; return what became of each."""
    unit = f"acts-{name}.service"
    device.write(f"/etc/systemd/system/{unit}", text)
    device.must(["systemctl", "daemon-reload"])
    device.run(["systemctl", "start", unit], seconds=120)
    said = device.read(acts.RESULT.format(name))
    assert said, device.journal("-u", unit)
    return dict(json.loads(said))


def victims(device: Booted) -> list[bytes]:
    """Return the processes that acts are aimed at."""
    return device.run(["pgrep", "-u", "nobody", "sleep"]).stdout.split()


@pytest.fixture(scope="module")
def table(lab: Lab, shipped_layer: str) -> Iterator[Table]:
    """Try every act once outside, by a plain service of root's, and once in the sandbox of each unit."""
    with lab.device("installed", shipped_layer, name="sandbox") as device:
        device.start()
        active(device)
        device.spawn(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sleep", "1000"])
        victim = device.until(lambda: victims(device), 10, "a victim")
        listening = device.watcher([sys.executable, "-c", LISTEN % THERE[0]])
        assert listening.stdout is not None
        listening.stdout.readline()
        acts.lay(device.write, victim[0].decode(), THERE[0])
        found = {"outside": tried(device, "outside", acts.OUTSIDE)}
        for unit in acts.FORBIDDEN:
            text = device.read(acts.file_of(unit))
            made = acts.unit_of(text, acts.RESULT.format(unit), cage=unit == "privet-courier")
            found[unit] = tried(device, unit, made)
        yield found


def test_outside_they_all_work(table: Table):
    """The trials are known to work: outside every act is done, but for those that only a virtual machine can show."""
    refused = {name: said for name, said in table["outside"].items() if said != "done"}
    print("to be shown in a virtual machine:", refused)
    assert set(refused) <= acts.VM_ONLY


@pytest.mark.parametrize("unit", sorted(acts.FORBIDDEN))
def test_forbidden_acts_are_refused(table: Table, unit: str):
    """At least 25 acts that the unit's job does not need are refused in its sandbox and work outside of it."""
    shown = {name for name in acts.FORBIDDEN[unit] if table["outside"][name] == "done"}
    done = {name for name in acts.FORBIDDEN[unit] if table[unit][name] == "done"}
    print(f"{unit}: {len(shown)} refused here and done outside", sorted(done))
    assert done == set()
    assert len(shown) >= 25


@pytest.mark.parametrize("unit", sorted(acts.FORBIDDEN))
def test_what_the_job_needs_works(table: Table, unit: str):
    """In the same sandbox the unit can do what it is for."""
    assert {name: table[unit][name] for name in acts.NEEDED[unit] if table[unit][name] != "done"} == {}
