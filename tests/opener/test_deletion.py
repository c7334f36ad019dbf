"""An owner takes a purpose back: what was opened of it goes before there is a receipt."""

from pathlib import Path

import pytest

from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.opener.run import Memory, Opener, Outlets
from tests.collector.device import HOME, KEY, Sender
from tests.collector.test_deletion import Owner
from tests.courier.rig import Site
from tests.opener.conftest import connected
from tests.opener.home import OwnMosquitto


@pytest.mark.parametrize("there", [True, False], ids=["", "the own broker is away"])
def test_what_was_opened_goes_with_the_deletion(site: Site, tmp_path: Path, there: bool):
    """Announcements and figures are taken back, then there is a receipt; while they cannot be, there is none."""
    pages = tmp_path / "pages"
    pages.mkdir()
    with OwnMosquitto(tmp_path / "own") as own:
        broker = connected(own, site)
        memory, said = Memory(tmp_path / "opener"), list[str]()
        made: list[Opener] = []
        collector = Collector(
            "meadow", "home", KEY, Store(tmp_path / "store.db"), said.append, site.fleet.trust_anchor(),
            lambda place: (made[0].forget(place.device, place.purpose), None)[1],
        )  # fmt: skip
        opener = Opener(
            collector, Outlets("meadow", ("home_assistant", "prometheus"), broker, pages), memory, said.append
        )
        made.append(opener)
        sender, owner = Sender([HOME]), Owner(site.fleet)
        collector.receive([sender.epoch(), sender.send(215)])
        while opener.handed < 1:
            opener.turn()
        assert (pages / "privet.prom").exists() and memory.kept["home_assistant"]
        if not there:
            own.kill()
            broker.close()
        answers = collector.receive([owner.ask(sender, 1)])
        if there:
            assert owner.believes(answers).deleted == 1
            assert not (pages / "privet.prom").exists() and memory.kept["home_assistant"] == {}
        else:
            assert answers == [] and "your own broker" in said[-1]
        broker.close()
        memory.close()
        collector.store.close()
