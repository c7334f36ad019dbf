"""A policy changes who receives: the new recipient gets all from then on, an old key releases what was before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from agent.core.errors import PrivetError
from agent.core.telemetry import Sample
from agent.system.queue import START
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from tests.guard.conftest import Kept


class Receiver:
    """A collector with a key pair of its own."""

    def __init__(self, folder: Path, name: str, label: str) -> None:
        lattice, curve = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
        self.name = name
        self.public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        self.store = Store(folder / f"{label}.db")
        self.collector = Collector("home", name, MLKEM768X25519PrivateKey(lattice, curve), self.store, print)

    def read(self) -> list[str]:
        """Return the values it has, in order."""
        return [f"{reading.value:.0f}" for reading in self.collector.readings()]


class Scene:
    """A device with the real guard, whose recipients change."""

    def __init__(self, folder: Path) -> None:
        self.kept = Kept(folder)
        self.kept.start()
        self.sequence = 1

    def receive_by(self, *receivers: Receiver) -> None:
        """Take a policy with these recipients of room climate, and agree to it."""
        self.sequence += 1

        def change(table: dict[str, Any]) -> None:
            rows = [{**table["recipients"][0], "id": one.name, "key": one.public} for one in receivers]
            purposes = [{**p, "recipients": sorted(one.name for one in receivers)} for p in table["purposes"]]
            table.update(sequence=self.sequence, recipients=rows, purposes=purposes)

        self.kept.house.take_policy(self.kept.signed(change))
        self.kept.agree("climate")

    def measure(self, *numbers: str) -> None:
        """Hand in readings, one a record."""
        for number in numbers:
            self.kept.house.outbox.take([Sample(name="temperature", number=number, at=self.kept.system.wall)], told)
            self.kept.house.outbox.flush()

    def talk(self, *receivers: Receiver) -> None:
        """Let the device send for a minute, and these receivers answer."""
        outbox = self.kept.house.outbox
        out: list[tuple[str, bytes]] = []
        outbox.connected(lambda number, topic, payload: out.append((f"privet/1/home/d1/{topic}", payload)))
        for _ in range(60):
            self.kept.system.tick(1)
            outbox.pump()
            outbox.unsent.clear()
            for receiver in receivers:
                for _, answer in receiver.collector.receive(out):
                    self.kept.house.heard(["received", "ack", answer])
            out.clear()

    @property
    def waiting(self) -> set[int]:
        """The starts whose records wait."""
        return {row.boot for row in self.kept.house.outbox.lanes["climate"].queue.pending(START, 999)}


def told(failure: PrivetError | None) -> None:
    """Every reading of these tests is accepted."""
    assert failure is None


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A device that is set up."""
    made = Scene(tmp_path)
    yield made
    made.kept.stop()


@pytest.mark.parametrize("name", ["collector", "other"])
def test_a_new_recipient_gets_all_from_then_on(scene: Scene, tmp_path: Path, name: str):
    """Under the same name with another key, or under another name: the new one waits for nothing of the old one's.

    What waits for one who is named no more is destroyed; what waits for the same one's old key, that key still opens.
    """
    old, new = Receiver(tmp_path, "collector", "old"), Receiver(tmp_path, name, "new")
    scene.receive_by(old)
    scene.measure("18", "19")
    before = scene.waiting
    scene.receive_by(new)
    scene.measure("20", "21")
    scene.talk(new)
    assert new.read() == ["20", "21"]
    same = name == "collector"
    assert scene.waiting == (before if same else set())
    scene.measure("22")
    scene.talk(new)
    assert new.read() == ["20", "21", "22"]
    scene.talk(old, new)
    assert old.read() == (["18", "19"] if same else [])
    assert scene.waiting == set()


def test_one_more_recipient(scene: Scene, tmp_path: Path):
    """The first keeps its ack key and has no hole; the second begins with its policy, and both must have it."""
    old, new = Receiver(tmp_path, "collector", "old"), Receiver(tmp_path, "other", "new")
    scene.receive_by(old)
    scene.measure("18", "19")
    scene.receive_by(old, new)
    scene.measure("20")
    scene.talk(old)
    assert len(scene.waiting) == 1
    scene.talk(new)
    assert scene.waiting == set()
    assert old.read() == ["18", "19", "20"]
    assert new.read() == ["20"]
    table = scene.kept.house.books.store.get("acks/climate")
    assert len({rows["collector"][0] for rows in table.values()}) == 1


def test_an_old_recipient_cannot_answer_for_the_new_one(scene: Scene, tmp_path: Path):
    """Under the same name, the old key's acknowledgement frees nothing that was sealed to the new key."""
    old, new = Receiver(tmp_path, "collector", "old"), Receiver(tmp_path, "collector", "new")
    scene.receive_by(old)
    scene.measure("18")
    scene.receive_by(new)
    scene.measure("19")
    scene.talk(old)
    assert old.read() == ["18"]
    assert len(scene.waiting) == 1
