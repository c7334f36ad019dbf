"""An owner asks for deletion: the genuine is done, down to the raw file, once, and answered; the rest does nothing."""

import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.core import deletion
from agent.core.deletion import Receipt, Request
from agent.core.secret import Secret
from agent.system import certifying, sealing
from provisioning.collector.deletion import done
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import Fleet
from tests.collector.device import HOME, KEY, Sender, said, values

PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def meadow(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet; its authorities are made once."""
    return Fleet.create(tmp_path_factory.mktemp("fleet") / "fleet", "meadow")


class Owner:
    """Whoever asks: a device of a fleet with its key and certificate, and the ack keys of a stream."""

    def __init__(self, fleet: Fleet, device: str = "r7k2", named: str = "") -> None:
        self.device = device
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8
        self.key = Secret(key.private_bytes(PEM, form, serialization.NoEncryption()))
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        self.chain = fleet.sign_csr(request.public_bytes(PEM), named or device, 30)
        self.receipt_key = b""
        self.name = b""

    def ask(self, sender: Sender, boot: int, at: int = 1_795_489_000, **other: object) -> tuple[str, bytes]:
        """Make a request as the device does; `other` are facts that lie."""
        place = deletion.stream("meadow", sender.device, sender.purpose, boot)
        made = sealing.new_epoch(place, [HOME])
        self.receipt_key = made.acks["home"].reveal()
        plain = deletion.proof_plain(sender.device, sender.purpose, "home", boot, at)
        known = sender.acks.get("home")
        facts: dict[str, object] = {
            "fleet": "meadow", "device": sender.device, "purpose": sender.purpose, "recipient": "home", "boot": boot,
            "at": at, "key": deletion.wrapped_of(made.body, "home"),
            "proof": hmac.digest(known.reveal(), plain, hashlib.sha256) if known else b"",
        }  # fmt: skip
        payload = deletion.request_plain(Request(**{**facts, **other}))  # type: ignore[arg-type]
        self.name = deletion.name_of(payload)
        signed = certifying.sign(self.key, payload)
        return sender.topic, deletion.join_request(signed, self.chain)

    def believes(self, answers: list[tuple[str, bytes]]) -> Receipt:
        """Take the one receipt among answers, as the device does."""
        (payload,) = [payload for topic, payload in answers if topic == f"privet/1/meadow/{self.device}/ack"]
        receipt = deletion.split_receipt(payload)
        assert receipt is not None
        mac = hmac.digest(self.receipt_key, deletion.receipt_plain(self.device, receipt), hashlib.sha256)
        assert hmac.compare_digest(mac, receipt.mac)
        assert receipt.id == self.name
        return receipt


@pytest.fixture
def collector(tmp_path: Path, meadow: Fleet) -> Collector:
    """A collector that knows the fleet's root."""
    told: list[str] = []
    made = Collector("meadow", "home", KEY, Store(tmp_path / "store.db"), told.append, meadow.trust_anchor())
    made.said = told  # type: ignore[attr-defined]
    return made


def files(folder: Path) -> bytes:
    """Return every byte of the store's files."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("store.db*")))


def started(collector: Collector, **where: object) -> tuple[Sender, list[tuple[str, bytes]]]:
    """Let a device send four records; return its sender and the messages."""
    sender = Sender([HOME], **where)  # type: ignore[arg-type]
    messages = [sender.epoch(), *(sender.send(number) for number in (180, 190, 200))]
    collector.receive(messages)
    return sender, messages


def test_what_is_asked_for_is_gone_from_the_raw_file(collector: Collector, meadow: Fleet, tmp_path: Path):
    """Records, keys and places of that device and purpose up to that start, and of nobody else; the receipt says so."""
    sender, messages = started(collector)
    other, _ = started(collector, purpose="warnings")
    foreign, _ = started(collector, device="other")
    planted = [payload[-40:] for _, payload in messages]
    assert all(piece in files(tmp_path) for piece in planted), "the search finds what is there"
    owner = Owner(meadow)
    receipt = owner.believes(collector.receive([owner.ask(sender, 1)]))
    assert (receipt.deleted, receipt.kept) == (3, 0)
    assert not [piece for piece in planted if piece in files(tmp_path)]
    assert {(r.place.device, r.place.purpose) for r in collector.readings()} == {
        (other.device, "warnings"), ("other", foreign.purpose),
    }  # fmt: skip
    assert [(row["device"], row["purpose"], row["deleted"]) for row in done(collector.store)] == [
        ("r7k2", "comfort", 3)
    ]


def test_twin_deleting_alone_leaves_it_in_the_file(collector: Collector, meadow: Fleet, tmp_path: Path):
    """Known bad: without the scrubbing the same search finds the deleted bytes in the file or its log."""
    collector.store.scrub = lambda: None  # type: ignore[method-assign]
    sender, messages = started(collector)
    owner = Owner(meadow)
    assert owner.believes(collector.receive([owner.ask(sender, 1)])).deleted == 3
    assert any(payload[-40:] in files(tmp_path) for _, payload in messages)


def test_what_comes_late_is_not_taken(collector: Collector, meadow: Fleet):
    """Repeated records and keys of a deleted start do nothing; a new start that was agreed to is taken and answered."""
    sender, messages = started(collector)
    owner = Owner(meadow)
    collector.receive([owner.ask(sender, 1)])
    assert collector.receive([*messages, sender.send(210)]) == []
    assert values(collector) == []
    again = Sender([HOME], boot=2)
    assert again.released(collector.receive([again.epoch(), again.send(220)])) == 2
    assert len(values(collector)) == 1


def test_the_same_request_again_deletes_nothing_and_is_answered_alike(collector: Collector, meadow: Fleet):
    """Also after the owner agreed again: a replay never reaches what came later."""
    sender, _ = started(collector)
    owner = Owner(meadow)
    message = owner.ask(sender, 1)
    first = collector.receive([message])
    again = Sender([HOME], boot=2)
    collector.receive([again.epoch(), again.send(220)])
    assert collector.receive([message]) == first
    assert len(values(collector)) == 1
    assert len(done(collector.store)) == 1


def test_power_that_goes_before_the_file_is_clean_is_made_up_for(collector: Collector, meadow: Fleet, tmp_path: Path):
    """Nothing is answered before nothing is left in the file; the request that comes again ends it."""
    sender, messages = started(collector)
    owner = Owner(meadow)
    message = owner.ask(sender, 1)
    scrub = collector.store.scrub

    def cut() -> None:
        raise KeyboardInterrupt

    collector.store.scrub = cut  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        collector.receive([message])
    assert any(payload[-40:] in files(tmp_path) for _, payload in messages)
    collector.store.scrub = scrub  # type: ignore[method-assign]
    assert owner.believes(collector.receive([message])).deleted == 3
    assert not any(payload[-40:] in files(tmp_path) for _, payload in messages)


@pytest.mark.parametrize(
    "lie",
    ["another device's key", "another fleet", "a name it has not", "a changed request", "no proof", "another's topic"],
)
def test_who_may_not_ask_changes_nothing(collector: Collector, meadow: Fleet, tmp_path: Path, lie: str):
    """Forged, of another device, without the ack key, moved: the operator is told, nobody is answered, all is there."""
    sender, _ = started(collector)
    owner = Owner(meadow)
    topic, payload = owner.ask(sender, 1)
    if lie == "another device's key":
        payload = Owner(meadow, "other").ask(sender, 1)[1]
    elif lie == "another fleet":
        payload = Owner(Fleet.create(tmp_path / "rogue", "meadow")).ask(sender, 1)[1]
    elif lie == "a name it has not":
        payload = Owner(meadow, "r7k2", named="r7k3").ask(sender, 1)[1]
    elif lie == "a changed request":
        genuine, payload = payload, payload.replace(b"\x64boot\x01", b"\x64boot\x02")
        assert payload != genuine
    elif lie == "no proof":
        payload = owner.ask(sender, 1, proof=b"")[1]
    else:
        topic = topic.replace("r7k2", "other")
    assert collector.receive([(topic, payload)]) == []
    assert len(said(collector)) == 1
    assert len(values(collector)) == 3
    assert done(collector.store) == []


def test_a_request_to_another_recipient_is_none_of_ours(collector: Collector, meadow: Fleet):
    """All recipients hear it; whoever is not named does nothing and says nothing."""
    sender, _ = started(collector)
    assert collector.receive([Owner(meadow).ask(sender, 1, recipient="maker")]) == []
    assert said(collector) == []
    assert len(values(collector)) == 3


def test_without_the_fleets_root_nothing_is_believed(make: object, meadow: Fleet):
    """A collector that was not given it says so."""
    collector = make()  # type: ignore[operator]
    sender, _ = started(collector)
    assert collector.receive([Owner(meadow).ask(sender, 1)]) == []
    assert "root certificate" in said(collector)[0]
    assert len(values(collector)) == 3


def test_any_bytes_do_nothing(collector: Collector, meadow: Fleet):
    """A genuine request that is cut short anywhere, or of which a signed byte is another, is put aside."""
    sender, _ = started(collector)
    owner = Owner(meadow)
    topic, payload = owner.ask(sender, 1)
    signed = len(payload) - len(owner.chain) - 3
    for at in range(signed - 1, 0, -61):
        collector.receive([(topic, payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]), (topic, payload[:at])])
    assert (len(values(collector)), done(collector.store)) == (3, [])
    owner.believes(collector.receive([(topic, payload)]))


def test_where_nothing_is_kept_a_request_is_answered_too(collector: Collector, meadow: Fleet):
    """The records may still be under way: they are not taken when they come."""
    sender = Sender([HOME])
    messages = [sender.epoch(), sender.send(180)]
    owner = Owner(meadow)
    assert owner.believes(collector.receive([owner.ask(sender, 1)])).deleted == 0
    assert collector.receive(messages) == []
    assert values(collector) == []
