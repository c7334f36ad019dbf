"""The collector: what it refuses, and what it survives."""

import os
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import cose
from agent.core.cbor import encode
from agent.core.errors import BadInput, PrivetError, Tampered
from provisioning.collector import open as opening
from provisioning.collector.open import Gap, Place
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from tests.collector.device import HOME, KEY, Make, Sender, number, said, values


@pytest.mark.parametrize(
    ("wrong", "topic"),
    [
        ("another device", "privet/1/meadow/other/up/comfort"),
        ("another purpose", "privet/1/meadow/r7k2/up/security"),
        ("another fleet", "privet/1/wood/r7k2/up/comfort"),
    ],
)
def test_a_record_is_bound_to_its_place(make: Make, wrong: str, topic: str):
    """A genuine record moved to another topic opens nowhere, even where that place has an epoch of its own."""
    sender, collector = Sender([HOME]), make()
    fleet, device, purpose = topic.split("/")[2:4] + topic.split("/")[5:]
    victim = Sender([HOME], device=device, purpose=purpose)
    collector.receive([sender.epoch(), victim.epoch()])
    before = collector.tally.refused
    answers = collector.receive([(topic, sender.send(1)[1])])
    assert answers == [], (wrong, fleet)
    assert collector.tally.refused == before + 1
    assert len(said(collector)) == collector.tally.refused
    assert values(collector) == []


def test_a_key_record_under_another_number_is_refused(make: Make):
    """Believed, it would stand for a record that never came and release it: the broker could make a device forget."""
    sender, collector = Sender([HOME]), make()
    key, first, lost = sender.epoch(), sender.send(1), sender.send(2)
    collector.receive([key, first])
    forged = cose.message(1, 3, key[1][len(cose.message(1, 1, b"")) :])
    assert sender.released(collector.receive([(key[0], forged)])) == 0
    assert "another number" in said(collector)[-1]
    assert sender.released(collector.receive([lost])) == 3


def test_two_keys_for_one_epoch_are_refused(make: Make):
    """A second key record for the same place is told as a clone or a forger, and the first holds."""
    sender, twin, collector = Sender([HOME]), Sender([HOME]), make()
    collector.receive([sender.epoch()])
    assert collector.receive([twin.epoch(), twin.send(1)]) == []
    assert collector.tally.forked == 1
    assert sender.released(collector.receive([sender.send(2)])) == 2


def test_two_records_with_one_number_are_told(make: Make):
    """A cloned card that repeats a number with other content is found out; the first record stays."""
    sender, collector = Sender([HOME]), make()
    collector.receive([sender.epoch(), sender.send(1)])
    sender.seq -= 1
    assert collector.receive([sender.send(2)]) == []
    assert collector.tally.forked == 1
    assert "cloned" in said(collector)[-1]
    assert values(collector) == [Decimal("0.1")]


def test_what_is_not_for_us_is_left_alone(make: Make):
    """A boot sealed to others is neither stored nor answered, nor complained about."""
    sender, collector = Sender([("maker", HOME[1])]), make()
    assert collector.receive([sender.epoch(), sender.send(1)]) == []
    assert collector.tally.foreign == 2
    assert said(collector) == []


@pytest.mark.parametrize(
    "rows",
    [
        [{0: "n", 1: "Cel", 2: 1, 4: True}],
        [{0: "n", 1: "Cel"}],
        [{0: "n", 2: 1, 3: "x"}],
        [{0: 1, 2: 1}],
        [{0: "n", 2: 1}, {-3: 5, 0: "n", 2: 1}],
        [{0: "n", 2: "1"}],
        [{0: "n", 2: number(1, 5)}],
        [{0: "n", 2: number(-99, 5)}],
        [{0: "n", 2: 1, 6: "later"}],
        ["x"],
        {0: "n"},
        ["gap", 1, 5, 1, 4, 0],
        ["gap", 1, 5, 2, 6, 0],
        ["gap", 1, 0, 1, 4, 0],
    ],
)
def test_odd_contents_are_refused(rows: object):
    """Labels we do not use, a row without a value or with two, numbers and ranges out of bounds: BadInput."""
    with pytest.raises(BadInput):
        opening.read_plain(encode(rows))


def test_an_odd_record_of_the_device_itself_is_kept(make: Make):
    """What opens but is not understood is stored, told and acknowledged: refused, the device would send it for ever."""
    sender, collector = Sender([HOME]), make()
    answers = collector.receive([sender.epoch(), sender.seal(b"\x01"), sender.send(1)])
    assert sender.released(answers) == 3
    assert len(said(collector)) == 1
    assert values(collector) == [Decimal("0.1")]


def test_a_full_disk_acknowledges_nothing(make: Make):
    """When the store cannot take a batch, the error is told and no answer leaves; given again, it is stored."""
    sender, collector = Sender([HOME]), make()
    messages = [sender.epoch(), *(sender.send(n) for n in range(200))]
    pages = collector.store.base.link.execute("PRAGMA page_count").fetchone()[0]
    collector.store.base.link.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(PrivetError, match="did not take"):
        collector.receive(messages)
    collector.store.base.link.execute("PRAGMA max_page_count = 1000000")
    assert sender.released(collector.receive(messages)) == 201


def test_a_killed_collector_has_what_it_acknowledged(place: Path | str):
    """A child is killed right after it answered: every record it answered for is in the store."""
    sender = Sender([HOME])
    messages = [sender.epoch(), *(sender.send(n) for n in range(50))]
    child = os.fork()
    if child == 0:
        collector = Collector("meadow", "home", KEY, Store(place), print)
        released = sender.released(collector.receive(messages))
        os.kill(os.getpid(), 9 if released == 51 else 15)
    assert os.waitpid(child, 0)[1] == 9
    store = Store(place)
    assert len(list(store.records(kind=None))) == 51
    assert store.reach(Place(device="r7k2", purpose="comfort", boot=1)) == 51
    store.close()


TOPICS = st.sampled_from(["privet/1/meadow/r7k2/up/comfort", "privet/1/meadow/r7k2/up/", "", "x"]) | st.text(
    max_size=40
)
CBORS: st.SearchStrategy[Any] = st.recursive(
    st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=10) | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(-5, 9) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Give one store for all examples of a law."""
    store = Store(tmp_path_factory.mktemp("shared") / "telemetry.db")
    yield store
    store.close()


BOOTS = count(1)


@given(st.lists(st.tuples(TOPICS, st.binary(max_size=120) | CBORS.map(cbor2.dumps)), max_size=4))
def test_no_message_makes_it_fail(shared: Store, messages: list[tuple[str, bytes]]):
    """Any topics with any bytes are put aside, counted, and told in one sentence each; nothing is stored."""
    heard: list[str] = []
    collector = Collector("meadow", "home", KEY, shared, heard.append)
    assert collector.receive(messages) == []
    assert collector.tally.refused == len(messages) == len(heard)
    assert all("\n" not in sentence for sentence in heard)


@given(st.integers(0, 4000), st.integers(0, 7))
def test_no_flipped_bit_is_believed(shared: Store, at: int, bit: int):
    """One bit of a key record or record changed: refused, kept waiting, or the very same meaning; never another one."""
    sender = Sender([HOME], device=f"bit{next(BOOTS)}")
    messages = [sender.epoch(), sender.send(215)]
    which, length = (0, len(messages[0][1])) if at % 2 else (1, len(messages[1][1]))
    damaged = bytearray(messages[which][1])
    damaged[at // 2 % length] ^= 1 << bit
    messages[which] = (messages[which][0], bytes(damaged))
    collector = Collector("meadow", "home", KEY, shared, lambda _: None)
    assert sender.released(collector.receive(messages)) <= which
    assert values(collector) == []


@given(CBORS.map(cbor2.dumps) | st.binary(max_size=60))
def test_no_content_makes_the_reader_fail(plain: bytes):
    """What a device may seal is readings, a gap, or BadInput."""
    try:
        content = opening.read_plain(plain)
    except BadInput:
        return
    assert isinstance(content, Gap | tuple)


def test_a_record_with_the_nonce_of_another_is_refused():
    """A record renumbered on the way is found before it is opened."""
    sender = Sender([HOME])
    sender.epoch()
    topic, payload = sender.send(1)
    body = payload[len(cose.message(1, 2, b"")) :]
    with pytest.raises(Tampered):
        opening.read_message("meadow", topic, cose.message(1, 3, body))
