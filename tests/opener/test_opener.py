"""The opener between two real brokers: what arrives, what is never lost, what is taken back, what nobody else sees."""

import json
from collections.abc import Iterable, Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.core.cbor import encode
from agent.core.errors import Refused, Unreachable
from provisioning.opener.effects import Effect, Publish
from provisioning.opener.run import Memory, Outlets
from tests.broker.party import Party
from tests.collector.device import Sender, pack
from tests.courier.rig import FLEET, Site
from tests.opener.conftest import House
from tests.opener.home import Neighbour, holding

ALL = ("home_assistant", "node_red", "prometheus", "telegraf")
MARKER = "the-marker-5f2c91"
CONFIG = f"homeassistant/sensor/{FLEET}_r7k2/comfort-temperature/config"
NODE_RED = f"privet-open/node-red/{FLEET}/r7k2/comfort/temperature"


def figures(neighbour: Neighbour) -> list[float]:
    """Return the numbers that Node-RED's topic got."""
    return [json.loads(payload)["value"] for topic, payload, _ in neighbour.got if topic == NODE_RED]


def text(words: str) -> bytes:
    """Return a pack with one text."""
    return encode([{0: "warning", -3: 1_795_489_000, 3: words}])


def retained(house: House, expected: Iterable[str]) -> list[str]:
    """Return what a neighbour that comes now is given at once."""
    late = Neighbour(house.own.port)
    late.wait(lambda: len(late.got) >= len(list(expected)))
    late.close()
    return late.topics()


def test_figures_reach_every_neighbour(house: House, neighbour: Neighbour):
    """One sealed record becomes a sensor, an object, lines and a page; the device is told that it is stored."""
    opener = house.open(*ALL)
    house.sends(house.sender.epoch(), house.sender.send(215, 216))
    house.turns(lambda: opener.handed == 2)
    neighbour.wait(lambda: len(neighbour.got) >= 6)
    assert neighbour.topics().count(CONFIG) == 1
    assert figures(neighbour) == [21.5, 21.6]
    lines = [payload for topic, payload, _ in neighbour.got if topic == f"privet-open/telegraf/{FLEET}/r7k2/comfort"]
    assert len(lines) == 1 and lines[0].count(b"temperature=21.") == 2
    (value,) = [
        one.value
        for family in text_string_to_metric_families((house.pages / "privet.prom").read_text())
        for one in family.samples
        if one.name == "privet_reading"
    ]
    assert value == 21.6
    house.turns(lambda: house.released() == 2)
    assert house.said == []


def test_the_device_is_told_though_no_neighbour_listens(house: House, neighbour: Neighbour):
    """The own broker is down: readings are stored, the device lets go, they are handed on when it is back, all of them.

    The trouble is said, each cause once; what Home Assistant was told before is told again.
    """
    opener = house.open("home_assistant", "node_red")
    house.sends(house.sender.epoch(), house.sender.send(1))
    house.turns(lambda: opener.handed == 1)
    house.own.kill()
    house.sends(house.sender.send(2), house.sender.send(3))
    house.turns(lambda: house.released() == 4 and bool(house.said))
    assert not house.own.alive and opener.handed == 1
    assert len(set(house.said)) == len(house.said)
    assert all("your own broker is not reached" in text for text in house.said)
    house.own.start()
    back = Neighbour(house.own.port)
    house.turns(lambda: opener.handed == 3)
    back.wait(lambda: len(figures(back)) == 2)
    assert figures(back) == [0.2, 0.3]
    assert CONFIG in back.topics()
    back.close()


@pytest.mark.parametrize("early", [False, True], ids=["", "known-bad"])
def test_a_crash_before_the_note_repeats_and_loses_nothing(house: House, neighbour: Neighbour, early: bool):
    """Published but not noted: it comes once more after the restart. Noted but not published would be lost for good."""
    opener = house.open("node_red")
    house.sends(house.sender.epoch(), house.sender.send(1))
    house.turns(lambda: opener.handed == 1)
    before = house.memory.path.read_bytes()
    if early:
        house.own.kill()
    house.sends(house.sender.send(2), house.sender.send(3))
    house.turns(lambda: house.released() == 4 and (early or opener.handed == 3))
    house.closes()
    note = json.loads(before)
    if early:
        note["after"] += 2
        house.own.start()
    house.memory.path.write_text(json.dumps(note))
    after = Neighbour(house.own.port)
    opener = house.open("node_red")
    house.sends(house.sender.send(4))
    house.turns(lambda: opener.handed == (1 if early else 3))
    after.wait(lambda: 0.4 in figures(after))
    assert figures(after) == ([0.4] if early else [0.2, 0.3, 0.4])
    after.close()


def test_only_announcements_stay_and_they_are_taken_back(house: House):
    """Who comes later gets what announces a sensor and no figure; after forget nothing, also from the broker's disk."""
    opener = house.open(*ALL)
    house.sends(house.sender.epoch(), house.sender.send(215), house.sender.seal(text(MARKER)))
    house.turns(lambda: opener.handed == 2)
    assert sorted(retained(house, [CONFIG, "warning"])) == sorted([CONFIG, CONFIG.replace("temperature", "warning")])
    assert (house.pages / "privet.prom").exists()
    assert opener.forget("somebody-else") == opener.forget("", "heart") == 0
    assert len(retained(house, [CONFIG, "warning"])) == 2
    assert opener.forget("r7k2") == 3
    house.own.restart()
    house.sends(house.sender.send(1))
    fresh = Neighbour(house.own.port)
    house.turns(lambda: opener.handed == 3)
    fresh.wait(lambda: bool(figures(fresh)))
    assert [topic for topic, _, kept in fresh.got if kept] == []
    assert holding(house.own.directory, MARKER) == []
    fresh.close()


class Cut(Outlets):
    """Outlets whose process dies when everything was published and nothing was noted after it."""

    def do(self, effects: Sequence[Effect]) -> None:
        """Do it all, then end."""
        super().do(effects)
        if any(isinstance(one, Publish) and one.retain for one in effects):
            raise KeyboardInterrupt


def test_what_was_announced_before_a_crash_is_found(house: House, neighbour: Neighbour):
    """The note of an announcement is on the disk before the broker has it: forgetting after a restart empties it."""
    opener = house.open("home_assistant")
    opener.to = Cut(FLEET, ("home_assistant",), opener.to.own, house.pages)
    house.sends(house.sender.epoch(), house.sender.send(1))
    with pytest.raises(KeyboardInterrupt):
        house.turns(lambda: opener.handed == 1)
    neighbour.wait(lambda: CONFIG in neighbour.topics())
    assert json.loads(house.memory.path.read_bytes())["after"] == 0
    assert house.open().forget("") == 1
    neighbour.wait(lambda: (CONFIG, b"", False) in neighbour.got)


def test_two_openers_do_not_share_a_memory(house: House):
    """One that took back what another goes on to announce would have taken back nothing."""
    house.open("node_red")
    with pytest.raises(Refused, match="end it first"):
        Memory(house.directory / "opener")
    house.closes()
    Memory(house.directory / "opener").close()


class Torn(Outlets):
    """Outlets whose first message of a reading gets lost with the connection."""

    fired = False

    def do(self, effects: Sequence[Effect]) -> None:
        """Fail once, when there is a reading."""
        if not self.fired and any(isinstance(one, Publish) and not one.retain for one in effects):
            self.fired = True
            raise Unreachable("the connection broke")
        super().do(effects)


def test_what_a_broken_connection_swallowed_comes_again(house: House, neighbour: Neighbour):
    """The note moves after the broker took it, not before: nothing is skipped, and the announcement comes, too."""
    opener = house.open("home_assistant", "node_red")
    torn = opener.to = Torn(FLEET, ("home_assistant", "node_red"), opener.to.own, house.pages)
    house.sends(house.sender.epoch(), house.sender.send(1))
    house.turns(lambda: opener.handed == 1)
    neighbour.wait(lambda: figures(neighbour) == [0.1])
    assert torn.fired and CONFIG in neighbour.topics() and house.said == ["the connection broke"]


def test_the_store_keeps_what_is_not_handed_on_only(house: House):
    """Letting go forgets what neighbours have, never what they have not."""
    opener = house.open("node_red")
    house.sends(house.sender.epoch(), house.sender.send(1))
    house.turns(lambda: opener.handed == 1)
    opener.let_go()
    assert list(house.collector.readings()) == []
    house.own.kill()
    house.sends(house.sender.send(2))
    house.turns(lambda: house.released() == 3)
    opener.let_go()
    assert [one.value for one in house.collector.readings()] != []


@pytest.mark.parametrize("plain", [False, True], ids=["", "known-bad"])
def test_the_broker_of_the_fleet_never_sees_plain_text(site: Site, house: House, neighbour: Neighbour, plain: bool):
    """Nothing that passes it, or that it keeps for one who is away, holds the marker the neighbour reads.

    The twin publishes it there in plain text: the search finds it.
    """
    away = Party(house.fleet_broker, site.service("two"), "service.two")
    away.hears(f"privet/1/{FLEET}/+/up/+")
    opener = house.open("node_red")
    house.sends(house.sender.epoch(), house.sender.seal(text(MARKER)))
    if plain:
        house.sends((house.sender.topic, text(MARKER)))
    house.turns(lambda: opener.handed == 1)
    neighbour.wait(lambda: any(MARKER.encode() in payload for _, payload, _ in neighbour.got))
    while len(away.heard) < 2 + plain:
        away.turn()
    away.close()
    house.closes()
    assert any(MARKER.encode() in payload for _, payload in away.heard) == plain
    assert not holding(house.directory / "opener", MARKER)


def test_a_purpose_for_others_stays_shut(house: House, neighbour: Neighbour):
    """Sealed to somebody else it is neither opened nor acknowledged nor handed on; what is ours beside it is."""
    house.site.fleet.add_recipient("clinic")
    other = Sender([("clinic", house.site.fleet.recipient_public("clinic"))], purpose="heart")
    opener = house.open(*ALL)
    house.sends(other.epoch(), other.seal(text(MARKER)), house.sender.epoch(), house.sender.send(1))
    house.turns(lambda: opener.handed == 1)
    house.turns(lambda: house.collector.tally.foreign == 2)
    neighbour.wait(lambda: bool(figures(neighbour)))
    assert not any("heart" in topic or MARKER.encode() in payload for topic, payload, _ in neighbour.got)
    assert other.released(house.acknowledged, "clinic") == 0


def test_names_of_a_captured_device_go_nowhere(house: House, neighbour: Neighbour):
    """A field called like a topic of others is kept out, said once; the others go on."""
    opener = house.open(*ALL)
    rows = [{0: "#", -3: 1_795_489_000, 3: MARKER}, {0: "../../homeassistant/x/config", 3: MARKER}]
    house.sends(house.sender.epoch(), house.sender.seal(encode(rows)), house.sender.seal(pack(1)))
    house.turns(lambda: opener.handed == 3)
    neighbour.wait(lambda: bool(figures(neighbour)))
    assert opener.odd == 2 and len(house.said) == 1
    assert not any(MARKER.encode() in payload for _, payload, _ in neighbour.got)
