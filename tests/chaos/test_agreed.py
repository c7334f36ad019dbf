"""Consent from the owner's answer to the collector, with the real guard: as FORMAT.md says, and by nobody's clock."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest

from agent.core import catalogue
from agent.core.catalogue import read_fields, read_purposes
from agent.core.telemetry import Recipient
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import issue_policy
from provisioning.profile.notices import Notices
from provisioning.profile.sign import payload_of
from tests.chaos.test_consents import House
from tests.house import ROOT
from tests.second import Reader, declared


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A device with two recipients; nobody was agreed to yet."""
    made = House(tmp_path)
    yield made
    made.kept.stop()


def policy(house: House) -> dict[str, Any]:
    """Return the policy in force as it was signed."""
    return payload_of(bytes(house.kept.house.books.store.get("policy")))


def test_the_second_decoder_finds_the_consent_that_the_format_names(house: House, tmp_path: Path):
    """Time, words and declaration in the key record are those of the owner's answer and of the signed policy's rows."""
    reader = Reader("collector")
    house.home.public = reader.public
    house.declare()
    house.say("given")
    house.measure("18")
    for topic, payload in house.queued():
        reader.opened(topic, payload)
    ((place, (at, words, about)),) = reader.consents.items()
    assert place[:2] == ("d1", "climate")
    answer = house.kept.house.books.consents["climate", "collector"]
    assert (at, words.hex()) == (answer.at, answer.notice)
    assert about == declared(policy(house), "climate", "collector")
    assert about != declared(policy(house), "climate", "maker")


def test_the_known_declaration_is_that_of_the_rows():
    """The digest in the known key record of the format is that of the policy's rows beside it, by either reader."""
    told = json.loads((ROOT / "tests/vectors/sealed.json").read_text())["consented"]
    table = {
        **told["policy"],
        "recipients": [{**r, "key": bytes.fromhex(r["key"])} for r in told["policy"]["recipients"]],
    }
    for row in table["recipients"]:
        known = bytes.fromhex(told["consents"][row["id"]])[40:]
        (purpose,) = read_purposes(table)
        assert known == declared(table, "comfort", row["id"])
        assert known == catalogue.declared(purpose, read_fields(table), Recipient(**row), texts=False)


def test_a_changed_declaration_opens_an_epoch_of_its_own(house: House):
    """What no words tell (a field's place in the policy) still never goes on under the former declaration."""
    house.say("given")
    house.measure("18")

    def change(table: dict[str, Any]) -> None:
        table.update(sequence=house.sequence + 1, recipients=now["recipients"], purposes=now["purposes"])
        table["fields"] = now["fields"][::-1]

    now = policy(house)
    house.kept.house.take_policy(house.kept.signed(change))
    house.say("given")
    house.measure("19")
    keys = [payload for _, payload in house.queued() if isinstance(cbor2.loads(payload)[3], list)]
    assert len(keys) == 2


def test_an_answer_is_later_than_every_one_before(house: House):
    """Given, taken back and given again within one second, with the clock put back: the collector takes the last."""
    house.say("given")
    first = house.kept.house.books.consents["climate", "maker"].at
    house.say("withdrawn", "maker")
    house.kept.system.wall -= 5
    house.say("given", "maker")
    assert house.kept.house.books.consents["climate", "maker"].at == first + 2


def test_notices_are_those_of_the_signed_policies(tmp_path: Path):
    """Of every policy the fleet ever signed; one that another key signed declares nothing, a newer one is seen."""
    fleet = Fleet.create(tmp_path / "fleet", "home")
    fleet.safe.seal(broker_host="broker.example", broker_port="8883")
    notices = Notices(fleet)
    assert notices("climate", "collector") is None
    fleet.safe.write("recipient-collector.pub", fleet.add_recipient("collector"))
    issued = issue_policy(fleet, ROOT / "device_profiles" / "base.toml")
    table = payload_of(issued.signed)
    for row in table["purposes"]:
        for one in row["recipients"]:
            assert notices(row["id"], one) == frozenset([declared(table, row["id"], one)])
    (path,) = (tmp_path / "fleet").glob("policies/*/*/*.cbor")
    rogue = Fleet.create(tmp_path / "rogue", "home")
    rogue.safe.seal(broker_host="broker.example", broker_port="8883")
    rogue.safe.write("recipient-collector.pub", rogue.add_recipient("collector"))
    path.with_name("7.cbor").write_bytes(issue_policy(rogue, ROOT / "device_profiles" / "base.toml").signed)
    purpose = table["purposes"][0]
    assert len(notices(purpose["id"], purpose["recipients"][0]) or ()) == 1
    path.with_name("8.cbor").write_bytes(path.read_bytes())
    assert Notices(fleet)(purpose["id"], purpose["recipients"][0]) == notices(purpose["id"], purpose["recipients"][0])


def test_a_collector_takes_what_the_real_guard_was_allowed_and_nothing_else(house: House, tmp_path: Path):
    """It knows the declaration by the rows of the policy; a declaration it does not know, it leaves to the device."""
    table = policy(house)
    known = {declared(table, "climate", "collector")}
    old = house.home.collector
    home = house.home.collector = Collector(
        "home", "collector", old._key, Store(tmp_path / "asking.db"), print, notices=lambda *_: frozenset(known)
    )
    house.say("given", "collector")
    house.measure("18")
    house.talk(house.home)
    assert (house.home.read(), house.waiting) == (["18"], set())
    house.declare(country="FR")  # the maker's country: nothing of the collector's own notice
    house.measure("19")
    house.talk(house.home)
    assert (house.home.read(), house.waiting) == (["18", "19"], set())
    known.clear()
    house.kept.house.outbox.lanes["climate"].key = None
    house.measure("20")
    house.talk(house.home)
    assert house.home.read() == ["18", "19"]
    assert home.tally.unnoticed > 0
    assert house.waiting
    known.add(declared(table, "climate", "collector"))
    house.talk(house.home)
    assert (house.home.read(), house.waiting) == (["18", "19", "20"], set())
