"""A station on real block devices: from card to card, told to end, and as a command."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from agent.core.slot import SIZE
from provisioning.card.seeds import Seeds
from provisioning.card.station import Station
from provisioning.card.targets.found import Disk, look
from provisioning.card.targets.opening import named_disk
from provisioning.card.targets.rules import Wanted
from provisioning.fleet.identity import Fleet
from tests.card import pi, rig
from tests.fleet.site.lab import CARD, PROGRAM, ask, card, slot_place, waiver, whole
from tests.fleet.site.loops import Loops
from tests.house import ROOT


def test_a_station_from_card_to_card(made: Path, readers: Loops, tmp_path: Path):
    """Put in, written, read back, told, taken out, the next one; what stands elsewhere is left alone."""
    batch = pi.batch(tmp_path / "batch", Fleet.open(made / "fleet"), 3)
    first, aside = card(readers, "one", readers.own()), card(readers, "aside")
    untouched, out = aside.path.read_bytes(), set[int]()
    want = Wanted(ports=(first.name,), waivers=frozenset({(first.name, CARD)}))
    told: list[dict[str, Any]] = []

    def seen() -> tuple[Disk, ...]:
        return tuple(disk for disk in look() if disk.sequence not in out)

    with (
        Seeds(batch) as seeds,
        pi.Base(os.open(made / "privet.img", os.O_RDONLY), "x", pi.Slot(slot_place(made), SIZE)) as base,
    ):
        station = Station(base, seeds, want, seen, told.append)
        for number, name in enumerate(("one", "two", "three")):
            loop = first if number == 0 else card(readers, name, first.name)
            turned(station, told, "done", number + 1)
            assert loop.path.read_bytes() == whole(made, loop.path.read_bytes()[slot_place(made) :][:SIZE])
            out.add(named_disk(first.name).sequence)
            turned(station, told, "removed", number + 1)
            loop.detach()
    assert [event["event"] for event in told] == ["inserted", "done", "removed"] * 3
    assert sorted(event["device"] for event in told if event["event"] == "done") == ["d-0000", "d-0001", "d-0002"]
    assert aside.path.read_bytes() == untouched


def turned(station: Station, told: list[dict[str, Any]], event: str, count: int) -> None:
    """Let a station look until something has happened so often."""
    for _ in range(600):
        station.turn()
        if sum(one["event"] == event for one in told) == count:
            return
        assert not [one for one in told if one["event"] == "failed"], told
        station.stop.wait(0.05)
    raise AssertionError(told)


def test_a_station_that_is_told_to_end(made: Path, readers: Loops):
    """Ctrl-C in the midst of a card: it ends in order, tells what came of the card, and no half of it starts."""
    loop = card(readers, "one")
    words = (
        made / "privet.img",
        "--station",
        "--port",
        loop.name,
        *waiver(loop),
        "--fleet",
        str(made / "fleet"),
        "--json",
    )
    with subprocess.Popen((*PROGRAM, "flash", *words), stdout=subprocess.PIPE, text=True, cwd=ROOT) as station:
        assert station.stdout is not None
        lines = [json.loads(station.stdout.readline())]
        station.send_signal(signal.SIGINT)
        lines += [json.loads(line) for line in station.stdout]
    assert (station.returncode, lines[0]["event"]) == (0, "inserted")
    assert lines[-1]["good"] + lines[-1]["failed"] == 1
    content = loop.path.read_bytes()
    old = content.startswith(rig.boot_record() + rig.OLD)
    assert old or not rig.startable(content) or content == whole(made, content[slot_place(made) :][:SIZE])


def test_a_station_as_a_command(made: Path, readers: Loops, tmp_path: Path):
    """Two readers, two cards, one of them refused; it ends by itself after one good card, and tells each event."""
    batch = pi.batch(tmp_path / "batch", Fleet.open(made / "fleet"), 2)
    one, two = card(readers, "one"), card(readers, "two")
    ports = ("--port", one.name, "--port", two.name)
    words = (made / "privet.img", "--station", *ports, "--batch", batch)
    assert ask(made, "flash", *words, "--no-read-back")[0] == 77
    assert ask(made, "flash", made / "privet.img", "--station", "--batch", batch)[0] == 77
    code, lines = ask(made, "flash", *words, "--count", "1", *waiver(one))
    assert code == 0, lines
    events = {(line.get("target"), line.get("event")) for line in lines}
    assert {(one.name, "inserted"), (one.name, "done")} <= events
    if (two.name, "inserted") in events:
        assert (two.name, "failed") in events
    assert lines[-1]["good"] == 1
    assert one.path.read_bytes()[:512] == (made / "privet.img").read_bytes()[:512]
