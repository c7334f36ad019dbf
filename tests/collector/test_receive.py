"""The collector: what it stores and what it answers, without a broker."""

import json
import stat
import time
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from agent.core import cose
from agent.core.cbor import encode
from provisioning.collector import open as opening
from provisioning.collector.open import Gap, Place
from tests.collector.device import HOME, Make, Sender, values

KNOWN = json.loads((Path(__file__).resolve().parents[1] / "vectors/sealed.json").read_text())
VECTORS, CONSENTED = KNOWN["telemetry"], KNOWN["consented"]


def test_known_answers_open():
    """The vectors of the format open here with the keys given, from bytes to readings, and the answer is theirs."""
    (home,) = [r for r in VECTORS["recipients"] if r["id"] == "home"]
    key = MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(home["mlkem_seed"])),
        x25519.X25519PrivateKey.from_private_bytes(bytes.fromhex(home["x25519_private"])),
    )
    topic = f"privet/1/{VECTORS['fleet']}/{VECTORS['device']}/up/{VECTORS['purpose']}"
    envelope = opening.read_message(VECTORS["fleet"], topic, bytes.fromhex(VECTORS["key"]["payload"]))
    assert envelope.wrapped is not None
    keys = opening.open_key(envelope.place, envelope.epoch, "home", envelope.wrapped["home"], key)
    assert keys.opening.reveal().hex() == VECTORS["epoch_key"]
    assert keys.acknowledging.reveal().hex() == home["ack_key"]
    assert keys.consent is None
    again = opening.read_message(VECTORS["fleet"], topic, bytes.fromhex(CONSENTED["key"]["payload"]))
    assert again.wrapped is not None
    told = opening.open_key(again.place, again.epoch, "home", again.wrapped["home"], key)
    known = bytes.fromhex(CONSENTED["consents"]["home"])
    assert told.consent == (int.from_bytes(known[:8], "big"), known[8:40], known[40:])
    for record in VECTORS["records"]:
        sealed = opening.read_message(VECTORS["fleet"], topic, bytes.fromhex(record["payload"]))
        assert opening.open_record(VECTORS["fleet"], sealed, keys).hex() == record["plain"]
        assert sealed.body.hex() == record["body"]
    first, second, third = (opening.read_plain(bytes.fromhex(r["plain"])) for r in VECTORS["records"])
    assert isinstance(first, tuple)
    assert first[0].name == "temperature"
    assert isinstance(second, Gap)
    assert isinstance(third, tuple)
    assert (third[0].name, third[0].unit, third[0].at) == ("warning", "", 1_790_655_360)
    assert third[0].value == "A person can sign in over SSH with a password again"
    for answer in [a for a in VECTORS["acknowledgements"] if a["recipient"] == "home"]:
        made = opening.acknowledgement(envelope.place, answer["seq"], "home", keys.acknowledging)
        assert made.hex() == answer["payload"]


def test_a_second_library_reads_the_same(make: Make):
    """A record opened by cbor2 and the cipher alone, straight from FORMAT.md, holds what the collector read."""
    sender, collector = Sender([HOME]), make()
    topic, payload = sender.epoch()[0], sender.send(215)[1]
    _, boot, seq, body = cbor2.loads(payload)
    protected, unprotected, ciphertext = body.value
    external = cbor2.dumps(["privet up 1", "meadow", "r7k2", "comfort", boot, 1, seq])
    aad = cbor2.dumps(["Encrypt0", protected, external])
    plain = ChaCha20Poly1305(sender.key.reveal()).decrypt(unprotected[5], ciphertext, aad)
    assert cbor2.loads(plain) == [{-3: 1_795_489_000, 0: "temperature", 1: "Cel", 2: Decimal("21.5")}]
    assert topic.endswith("/up/comfort")
    assert collector.receive([(topic, payload)]) == []  # its key record was not sent


def test_what_is_sent_is_read_and_released(make: Make):
    """Readings come out with name, unit, value and time; the answer releases all of it, and only after it is stored."""
    sender, collector = Sender([HOME]), make()
    answers = collector.receive([sender.epoch(), sender.send(215, 216), sender.send(-7)])
    assert sender.released(answers) == 3
    assert len(answers) == 1
    read = list(collector.readings())
    assert [(r.name, r.unit, str(r.value), r.at) for r in read] == [
        ("temperature", "Cel", "21.5", 1_795_489_000),
        ("temperature", "Cel", "21.6", 1_795_489_060),
        ("temperature", "Cel", "-0.7", 1_795_489_000),
    ]
    assert [r.value for r in make().readings(read[1].arrival)] == [Decimal("-0.7")]


def test_any_order_gives_the_same(make: Make):
    """A key record and three records in every order: all are stored once, and the last answer releases all four."""
    for boot, order in enumerate(permutations(range(4)), 1):
        sender, collector = Sender([HOME], boot=boot), make()
        messages = [sender.epoch(), sender.send(1), sender.send(2), sender.send(3)]
        answers = [answer for n in order for answer in collector.receive([messages[n]])]
        assert sender.released(answers) == 4
        assert collector.tally.stored == 4


def test_a_hole_is_never_acknowledged_over(make: Make):
    """With record 3 missing, nothing above 2 is released until it comes; then everything is."""
    sender, collector = Sender([HOME]), make()
    messages = [sender.epoch(), *(sender.send(n) for n in range(9))]
    assert sender.released(collector.receive(messages[:2] + messages[3:])) == 2
    place = Place(device="r7k2", purpose="comfort", boot=1)
    assert collector.store.holes() == ((place, 3, 4),)
    assert sender.released(collector.receive([messages[2]])) == 10
    assert collector.store.holes() == ()


def test_a_boot_without_its_beginning_is_not_acknowledged(make: Make):
    """Records behind a lost key record of epoch 1 release nothing, though a later epoch opens; the answer is 0."""
    sender, collector = Sender([HOME]), make()
    sender.epoch()
    sender.send(1)
    answers = collector.receive([sender.epoch(), sender.send(2)])
    assert [cose.split_ack(payload).seq for _, payload in answers] == [0]
    assert sender.released(answers) == 0
    assert values(collector) == [Decimal("0.2")]


def test_a_gap_closes_a_hole(make: Make):
    """What the device owns up to having lost is passed over, in this boot and in an earlier one, also in two pieces."""
    old, collector = Sender([HOME]), make()
    messages = [old.epoch(), *(old.send(n) for n in range(9))]
    assert old.released(collector.receive([messages[0], messages[9]])) == 1
    new = Sender([HOME], boot=2, before=old)
    answers = collector.receive([new.epoch(), new.gap(1, 5, 9), new.gap(1, 2, 4)])
    assert new.released(answers) == 3
    assert old.released(answers) == 10
    assert [(p.boot, g.first, g.last, g.count) for p, g in collector.store.gaps()] == [(1, 2, 4, 3), (1, 5, 9, 5)]


def test_a_gap_without_end_closes_a_boot(make: Make):
    """A device that cannot know where its loss ends owns up to all numbers there are; that boot is then complete."""
    old, collector = Sender([HOME]), make()
    collector.receive([old.epoch()])
    new = Sender([HOME], boot=2, before=old)
    answers = collector.receive([new.epoch(), new.seal(cose.gap_plain(1, 2, 1, cose.MAX_SEQ, 0))])
    assert old.released(answers) == opening.MOST_SEQ
    assert collector.receive([new.send(1)])


def test_a_gap_told_again_counts_once(make: Make):
    """Told twice, within a larger one, and about records that had come: what is missing is what did not come."""
    sender, collector = Sender([HOME]), make()
    place = Place(device="r7k2", purpose="comfort", boot=1)
    messages = [sender.epoch(), *(sender.send(n) for n in range(9))]
    gaps = [sender.gap(1, 3, 5), sender.gap(1, 3, 5), sender.gap(1, 2, 10), sender.gap(1, 4, 6)]
    answers = collector.receive([messages[0], messages[3], *gaps])
    assert sender.released(answers) == 14
    assert [(g.first, g.last) for _, g in collector.store.gaps()] == [(2, 10)]
    assert collector.store.missing(place) == 8
    collector.receive([messages[8]])
    assert collector.store.missing(place) == 7


def test_a_gap_of_another_sender_closes_nothing(make: Make):
    """A boot that somebody made up cannot give up another's records; it waits for one of the same sender."""
    sender, stranger, collector = Sender([HOME]), Sender([HOME], boot=2), make()
    later = Sender([HOME], boot=3)
    answers = collector.receive([stranger.epoch(), stranger.gap(1, 2, 5), sender.epoch()])
    assert sender.released(answers) == 1
    key = sender.epoch()
    later.acks = dict(sender.acks)
    answers = collector.receive([later.epoch(), later.gap(1, 2, 5), key])
    assert sender.released(answers) == 5


def test_texts_are_read(make: Make):
    """A warning travels as a SenML text, without a unit."""
    sender, collector = Sender([HOME]), make()
    collector.receive([sender.epoch(), sender.seal(encode([{-3: 5, 0: "warning", 3: "SSH was loosened"}]))])
    assert [(r.name, r.unit, r.value, r.at) for r in collector.readings()] == [("warning", "", "SSH was loosened", 5)]


def test_repetition_changes_nothing_and_is_answered_again(make: Make):
    """The same messages ten times: stored once, and each time the acknowledgement comes again."""
    sender, collector = Sender([HOME]), make()
    messages = [sender.epoch(), sender.send(1), sender.send(2)]
    for _ in range(10):
        assert sender.released(collector.receive(messages)) == 3
    assert collector.tally.stored == 3
    assert collector.tally.duplicates == 27
    assert len(values(collector)) == 2


def test_a_new_process_knows_it_all(make: Make):
    """After a restart the same store opens its records, answers repetitions and goes on with the open epoch."""
    sender = Sender([HOME])
    messages = [sender.epoch(), sender.send(1)]
    make().receive(messages)
    again = make()
    assert sender.released(again.receive([messages[1]])) == 2
    assert sender.released(again.receive([sender.send(2)])) == 3
    assert values(again) == [Decimal("0.1"), Decimal("0.2")]


def test_the_store_shows_nothing_and_is_closed_to_others(make: Make, tmp_path: Path):
    """The file is of mode 0600 in a directory of 0700, and holds neither names, values nor keys in the clear."""
    sender, collector = Sender([HOME]), make()
    collector.receive([sender.epoch(), sender.send(215)])
    folder = tmp_path / "store"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.read_bytes()
        assert b"temperature" not in content
        assert sender.key.reveal() not in content


def test_an_operator_can_accept_a_hole(make: Make):
    """A hole that nobody can fill is passed over by an operator's word, and stays visible among the gaps."""
    sender, collector = Sender([HOME]), make()
    messages = [sender.epoch(), sender.send(1), sender.send(2)]
    collector.receive([messages[0], messages[2]])
    place = Place(device="r7k2", purpose="comfort", boot=1)
    assert sender.released(collector.accept_hole(place, 2, 2)) == 3
    assert collector.store.gaps()[0][1].count == 0


def test_forgetting_removes_content_and_not_numbers(make: Make):
    """What is over its time is gone from the file, and a late repetition does not bring it back."""
    sender, collector = Sender([HOME]), make()
    messages = [sender.epoch(), sender.send(1)]
    collector.receive(messages)
    with collector.store.transaction():
        assert collector.store.forget(int(time.time()) + 1) == 1
    assert sender.released(collector.receive(messages)) == 2
    assert values(collector) == []
