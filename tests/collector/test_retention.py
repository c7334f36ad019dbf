"""Retention by a collector that runs."""

from pathlib import Path

from provisioning.collector.open import Place
from provisioning.collector.retention import EVERY, Retention
from provisioning.collector.store import PACK, Store

LONG_AGO = 1_700_000_000


def test_what_is_over_its_time_goes_by_itself(place: Path | str):
    """At the start and once an hour, each purpose by its own span; one without a span stays; it is said once."""
    store, now = Store(place), [0.0]
    said: list[str] = []
    with store.transaction():
        for purpose in ("comfort", "energy", "other"):
            store.add(Place(device="r7k2", purpose=purpose, boot=1), 1, 1, PACK, LONG_AGO, b"old")
    retention = Retention(store, {"comfort": 30, "energy": 36500}, said.append, lambda: now[0])
    retention.turn()
    assert [one.place.purpose for one in store.records()] == ["energy", "other"]
    assert said == ["records over their time were forgotten: comfort 1"]
    with store.transaction():
        store.add(Place(device="r7k2", purpose="comfort", boot=1), 2, 1, PACK, LONG_AGO, b"late")
    retention.turn()  # not yet
    assert len(list(store.records())) == 3
    now[0] = EVERY + 1
    retention.turn()
    assert [one.place.purpose for one in store.records()] == ["energy", "other"]
    store.close()
