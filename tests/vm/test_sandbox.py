"""Acts that only a kernel of one's own can judge: refused in the sandbox of each unit, done by root outside of it."""

import json
from collections.abc import Iterator

import pytest

from tests.boot import acts
from tests.vm.figures import tell
from tests.vm.guest import Guest
from tests.vm.saved import Saved

Table = dict[str, dict[str, str]]


def tried(guest: Guest, name: str, text: str) -> dict[str, str]:
    """Start a unit that tries the acts; return what became of each."""
    unit = f"acts-{name}.service"
    guest.write(f"/etc/systemd/system/{unit}", text)
    guest.must(["systemctl", "daemon-reload"])
    guest.must(["systemctl", "start", unit])
    return dict(json.loads(guest.read(acts.RESULT.format(name))))


@pytest.fixture(scope="module")
def table(settled: Saved, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Try the acts once outside, by a plain service of root's, and once in the sandbox of each unit."""
    with settled.resume(tmp_path_factory.mktemp("sandbox") / "disk") as machine:
        guest = Guest(machine)
        guest.set_clock()
        acts.lay(guest.write, "1", "127.0.0.1")
        guest.write(acts.GIVEN, json.dumps({"acts": sorted(acts.VM_ONLY), "victim": "1", "neighbour": "127.0.0.1"}))
        found = {"outside": tried(guest, "outside", acts.OUTSIDE)}
        for unit in acts.FORBIDDEN:
            text = guest.read(acts.file_of(unit))
            made = acts.unit_of(text, acts.RESULT.format(unit), cage=unit == "privet-courier")
            found[unit] = tried(guest, unit, made)
        yield found


def test_outside_they_all_work(table: Table):
    """The twin: root in the machine, outside of any sandbox, does every one of them."""
    assert {name: said for name, said in table["outside"].items() if said != "done"} == {}
    assert set(table["outside"]) == acts.VM_ONLY


@pytest.mark.parametrize("unit", sorted(acts.FORBIDDEN))
def test_forbidden_acts_are_refused(table: Table, unit: str):
    """Every act that the unit's job does not need is refused to it by the kernel, and the trial itself was made."""
    forbidden = acts.FORBIDDEN[unit] & acts.VM_ONLY
    tell(f"{unit}: {len(forbidden)} acts that only a real kernel judges are refused: {table[unit]}")
    assert len(forbidden) == len(acts.VM_ONLY)
    assert {name for name in forbidden if table[unit][name] == "done"} == set()
