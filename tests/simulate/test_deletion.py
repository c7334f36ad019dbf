"""Consent taken back on a simulated device, through a real broker that is away meanwhile, to a real collector."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from provisioning.simulate.device import Device
from tests.simulate.one import PURPOSE, One


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[One]:
    """One device in a fleet of its own, connected, whose readings have arrived."""
    made = One(tmp_path_factory.mktemp("r"))
    try:
        made.work(4)
        yield made
    finally:
        made.close()


def raw(folder: Path) -> bytes:
    """Return every byte of the collector's store."""
    return b"".join(path.read_bytes() for path in sorted((folder / "collector").glob("store.db*")))


def test_a_broker_that_is_away_loses_no_request(run: One) -> None:
    """Withdrawn while the broker is dead, the guard begun anew: the request goes out when it is back."""
    (device,) = run.crowd.devices
    marks = marks_of(run.folder / "collector" / "store.db")
    assert len(marks) >= 4 and all(mark in raw(run.folder) for mark in marks)
    run.stage.broker.kill()
    device.running.control(Root(), {"op": "consent", "purpose": PURPOSE, "state": "withdrawn"})
    for _ in range(20):
        run.crowd.turn(0.05)
    assert [row["confirmed"] for row in device.running.deletions.standing()] == [0]
    again(run, device)
    run.stage.broker.start()
    run.stage.until(lambda: not device.running.deletions.open(), run.crowd.turn, 60, "the recipient's receipt")
    told = device.running.deletions.told(PURPOSE, "collector")
    assert told is not None and told["deleted"] >= 3 and told["kept"] == 0
    assert not [mark for mark in marks if mark in raw(run.folder)]


def marks_of(store: Path) -> list[bytes]:
    """Return the ends of all records as they stand sealed in the collector's store."""
    with closing(sqlite3.connect(store)) as base:
        return [bytes(body[-40:]) for (body,) in base.execute("SELECT body FROM record")]


def again(run: One, device: Device) -> None:
    """End the guard and begin it anew, with a courier of its own."""
    device.stop()
    device.boot()
    device.enrol(run.stage.fleet)


class Root:
    """The owner at the control socket, as far as the guard asks."""

    uid, gid, pid = 0, 0, 1

    @property
    def peer(self) -> "Root":
        """Who is at the other end."""
        return self
